//! Decides which connection serves an intent: callers say `read` or `write`, and never name a pool.

pub mod dialect;
mod error;
mod held;
pub mod migrations;
mod position;
mod postgres;
mod reader;
mod row;
mod servers;
mod session;
mod slow;
mod sqlite;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;

pub use dialect::Dialect;
pub use error::Error;
pub use position::Position;
pub use postgres::Wakeups;
pub use reader::Reader;
pub use row::{Cells, Row};
pub use servers::Report;
pub use servers::choice::Need;
pub use session::Session;
pub use writer::{Change, Writer};

use self::held::Held;
use self::reader::Intent;
use self::servers::Servers;
use self::slow::Slow;
use crate::config::{Database, Location};
use crate::metrics::DatabaseMetrics;

/// The database, by intent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
    metrics: Arc<DatabaseMetrics>,
    slow: Slow,
    /// Time for one statement, for databases that do not keep it themselves.
    statement_timeout: Duration,
}

/// Connections for reading and for writing.
#[derive(Clone, Debug)]
enum Pools {
    Sqlite { readers: SqlitePool, writer: SqlitePool },
    Postgres(Servers),
}

/// Whether a database that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must be there.
    Existing,
    /// An embedded one is created, with the folders above it; a server's must be there.
    Create,
}

impl Db {
    /// Connects. [`Open::Existing`] refuses a database that is not there, [`Open::Create`] makes an embedded one.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Open`], naming the database.
    pub async fn open(config: &Database, open: Open, metrics: Arc<DatabaseMetrics>) -> Result<Self, Error> {
        let pools = match &config.location {
            Location::Sqlite(path) => {
                let (readers, writer) = sqlite::connect(config, path, open).await?;
                Pools::Sqlite { readers, writer }
            }
            Location::Postgres(url) => {
                let must_write = open == Open::Create;
                Pools::Postgres(Servers::open(config, url, must_write, Arc::clone(&metrics)).await?)
            }
        };
        let writers = if matches!(pools, Pools::Sqlite { .. }) { 1 } else { config.max_writers };
        metrics.limit_pools(config.max_readers, writers);
        let slow = Slow { threshold: config.slow_statement, count: metrics.slow.clone() };
        Ok(Self { pools, metrics, slow, statement_timeout: config.statement_timeout })
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match &self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
        }
    }

    /// To read what may be a moment old, but shows what the caller's session must see ([`Session`]).
    pub fn read(&self) -> Reader<'_> {
        Reader { db: self, intent: Intent::Usual, statements: &self.metrics.reads }
    }

    /// To read everything that is committed: where acting on what was there a moment ago would be wrong.
    pub fn read_fresh(&self) -> Reader<'_> {
        Reader { db: self, intent: Intent::Fresh, statements: &self.metrics.reads }
    }

    /// To read the latest there is: everything, and while no server takes writes, what the best replica has.
    pub fn read_latest(&self) -> Reader<'_> {
        Reader { db: self, intent: Intent::Latest, statements: &self.metrics.reads }
    }

    /// To ask what has changed, as [`Db::read_latest`], but all of one server; counted apart, because it happens beside
    /// requests.
    pub fn watch(&self) -> Reader<'_> {
        let latest = match &self.pools {
            Pools::Postgres(servers) => servers.latest(),
            Pools::Sqlite { .. } => None,
        };
        let intent = latest.map_or(Intent::Fresh, Intent::On);
        Reader { db: self, intent, statements: &self.metrics.watches }
    }

    /// To write: a transaction. In SQLite it holds the write lock from its start; in PostgreSQL rows that are read
    /// to be changed are locked with [`sea_query::SelectStatement::lock_exclusive`]. Dropping it undoes it.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when another process kept the lock longer than `busy_timeout`.
    pub async fn write(&self) -> Result<Writer<'_>, Error> {
        Writer::begin(self, self.statement_timeout).await
    }

    /// As [`Db::write`], for a transaction that is larger and longer than the usual limits of a connection.
    ///
    /// # Errors
    ///
    /// As [`Db::write`].
    pub async fn write_much(&self) -> Result<Writer<'_>, Error> {
        if let Pools::Sqlite { writer, .. } = &self.pools {
            sqlx::query(dialect::MUCH_MEMORY).execute(writer).await?;
        }
        let mut writer = Writer::begin(self, Duration::ZERO).await?;
        if let writer::Open::Postgres(_, _, held) = &mut writer.transaction {
            sqlx::query(dialect::MUCH_TIME).execute(held.connection()?).await?;
        }
        Ok(writer)
    }

    /// What other processes tell over `channel`; `None` where the database carries no such notices.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn wakeups(&self, channel: &str) -> Result<Option<Wakeups>, Error> {
        match &self.pools {
            Pools::Sqlite { .. } => Ok(None),
            Pools::Postgres(servers) => servers.wakeups(channel).await.map(Some),
        }
    }

    /// Brings the gauges of the pools up to date; called before they are read.
    pub fn observe(&self) {
        let [(read, reading), (write, writing)] = match &self.pools {
            Pools::Sqlite { readers, writer } => {
                [(readers.size(), readers.num_idle()), (writer.size(), writer.num_idle())]
            }
            Pools::Postgres(servers) => servers.connections(),
        };
        self.metrics.observe_pool("read", read, reading);
        self.metrics.observe_pool("write", write, writing);
    }

    /// Closes every connection, waiting for the statements that run.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(servers) => servers.close().await,
        }
    }

    /// Whether reads may be answered by servers that are behind.
    pub fn has_replicas(&self) -> bool {
        matches!(&self.pools, Pools::Postgres(servers) if servers.have_replicas())
    }

    /// How the servers stand, where there are several.
    pub fn report(&self) -> Option<Report> {
        match &self.pools {
            Pools::Postgres(servers) if servers.are_many() => Some(servers.report()),
            _ => None,
        }
    }
}
