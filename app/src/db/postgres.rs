//! Decides how a PostgreSQL server is connected to: a pool that only reads, one that writes, each with limits it keeps.

use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use tokio::sync::watch;

use super::error::is_missing_database;
use super::{Error, dialect};
use crate::config::{Database, PostgresUrl};

/// Prepared statements kept per connection: lists differ by filters, order, fields and number of ids.
const STATEMENTS: usize = 256;

/// A connection that rested for longer is tried before it is used, because a server may have gone meanwhile.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// How long a transaction may rest between two statements before the server ends it, in milliseconds.
const IDLE_IN_TRANSACTION: &str = "60000";

/// Connections of one server for reading, made when they are needed. A slip in a reader's statement must not be able to
/// write.
pub(super) fn readers(config: &Database, url: &PostgresUrl) -> PgPool {
    let options = options(config, url).options([("default_transaction_read_only", "on")]);
    pool(config, config.max_readers).connect_lazy_with(options)
}

/// Connections of one server for writing, made when they are needed.
pub(super) fn writers(config: &Database, url: &PostgresUrl) -> PgPool {
    pool(config, config.max_writers).connect_lazy_with(options(config, url))
}

fn options(config: &Database, url: &PostgresUrl) -> PgConnectOptions {
    let millis = |duration: Duration| duration.as_millis().to_string();
    let options = url.options().statement_cache_capacity(STATEMENTS).options([
        ("statement_timeout", millis(config.statement_timeout).as_str()),
        ("lock_timeout", millis(config.busy_timeout).as_str()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
    ]);
    if options.get_application_name().is_none() { options.application_name("cirque") } else { options }
}

/// How long it is asked why a server could not be reached.
const WHY: Duration = Duration::from_secs(1);

/// Connects once, to say at the start what stands in the way.
pub(super) async fn try_out(config: &Database, writers: &PgPool) -> Result<(), Error> {
    let error = match writers.acquire().await {
        Ok(_) => return Ok(()),
        // The pool tried again and again; what was wrong each time, it does not say.
        Err(error @ sqlx::Error::PoolTimedOut) => {
            match tokio::time::timeout(WHY, writers.connect_options().connect()).await {
                Ok(Err(why)) => why,
                Ok(Ok(_)) | Err(_) => error,
            }
        }
        Err(error) => error,
    };
    Err(cannot_open(config, error))
}

fn pool(config: &Database, connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(told(connection)))
        .before_acquire(|connection, rested| Box::pin(tried(connection, rested)))
}

/// Tells the server to notice when we leave.
async fn told(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if connection.server_version_num().is_some_and(|version| version >= dialect::NOTICE_SINCE) {
        connection.execute(dialect::NOTICE_GONE_CLIENTS).await?;
    }
    Ok(())
}

/// Whether the connection may be used; one that rested for long is asked first, the others cost no round trip.
async fn tried(connection: &mut PgConnection, rested: PoolConnectionMetadata) -> Result<bool, sqlx::Error> {
    Ok(rested.idle_for < TRIED_AFTER || connection.ping().await.is_ok())
}

/// What is told over a channel, on a connection of its own that belongs to no request.
#[derive(Debug)]
pub struct Wakeups {
    listener: PgListener,
    /// Who must stay the primary, where there are several servers: only it tells.
    primary: Option<Primary>,
}

/// Who is the primary from moment to moment, and who was at first.
pub(super) type Primary = (watch::Receiver<Option<usize>>, usize);

impl Wakeups {
    pub(super) async fn listen(
        writers: &PgPool,
        channel: &str,
        primary: Option<Primary>,
    ) -> Result<Self, Error> {
        let options = (*writers.connect_options()).clone();
        let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(channel).await?;
        Ok(Self { listener, primary })
    }

    /// Waits for a notice.
    ///
    /// # Errors
    ///
    /// See [`Error`]; the connection is gone then, or another server is the primary.
    pub async fn next(&mut self) -> Result<(), Error> {
        let primary = self.primary.as_mut();
        let another = async {
            match primary {
                Some((now, at_first)) => now.wait_for(|now| *now != Some(*at_first)).await.map(drop),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Without a notice the connection was lost and made anew: something may have been told meanwhile.
            told = self.listener.try_recv() => {
                told?;
                Ok(())
            }
            _ = another => Err(Error::NoPrimary),
        }
    }
}

pub(super) fn cannot_open(config: &Database, source: sqlx::Error) -> Error {
    let location = config.location.clone();
    if is_missing_database(&source) {
        return Error::Missing(location);
    }
    Error::Open { location, source: Box::new(source) }
}
