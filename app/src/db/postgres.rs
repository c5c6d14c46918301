//! Decides how PostgreSQL is connected to: one pool that only reads, one that writes, each with limits the server keeps.

use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

use super::Error;
use super::error::is_missing_database;
use crate::config::{Database, PostgresUrl};

/// Prepared statements kept per connection: lists differ by filters, order, fields and number of ids.
const STATEMENTS: usize = 256;

/// A connection that rested for longer is tried before it is used, because a server may have gone meanwhile.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// How long a transaction may rest between two statements before the server ends it, in milliseconds.
const IDLE_IN_TRANSACTION: &str = "60000";

pub(super) async fn connect(config: &Database, url: &PostgresUrl) -> Result<(PgPool, PgPool), Error> {
    let millis = |duration: Duration| duration.as_millis().to_string();
    let mut options = url.options().statement_cache_capacity(STATEMENTS).options([
        ("statement_timeout", millis(config.statement_timeout).as_str()),
        ("lock_timeout", millis(config.busy_timeout).as_str()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
    ]);
    if options.get_application_name().is_none() {
        options = options.application_name("cirque");
    }
    let writers = pool(config, config.max_writers)
        .connect_with(options.clone())
        .await
        .map_err(|error| cannot_open(config, error))?;
    // A slip in a reader's statement must not be able to write.
    let readers = read_only(options);
    Ok((pool(config, config.max_readers).connect_lazy_with(readers), writers))
}

fn read_only(options: PgConnectOptions) -> PgConnectOptions {
    options.options([("default_transaction_read_only", "on")])
}

fn pool(config: &Database, connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, rested| Box::pin(tried(connection, rested)))
}

/// Whether the connection may be used; one that rested for long is asked first, the others cost no round trip.
async fn tried(connection: &mut PgConnection, rested: PoolConnectionMetadata) -> Result<bool, sqlx::Error> {
    Ok(rested.idle_for < TRIED_AFTER || connection.ping().await.is_ok())
}

/// What is told over a channel, on a connection of its own that belongs to no request.
#[derive(Debug)]
pub struct Wakeups(PgListener);

impl Wakeups {
    pub(super) async fn listen(writers: &PgPool, channel: &str) -> Result<Self, Error> {
        let options = (*writers.connect_options()).clone();
        let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(channel).await?;
        Ok(Self(listener))
    }

    /// Waits for a notice.
    ///
    /// # Errors
    ///
    /// See [`Error`]; the connection is gone then.
    pub async fn next(&mut self) -> Result<(), Error> {
        // Without a notice the connection was lost and made anew: something may have been told meanwhile.
        self.0.try_recv().await?;
        Ok(())
    }
}

fn cannot_open(config: &Database, source: sqlx::Error) -> Error {
    let location = config.location.clone();
    if is_missing_database(&source) {
        return Error::Missing(location);
    }
    Error::Open { location, source: Box::new(source) }
}
