//! Decides which connection serves an intent: callers say `read` or `write`, and never name a pool.

pub mod dialect;
mod error;
pub mod migrations;
mod position;
mod postgres;
mod row;
mod slow;
mod sqlite;

use std::sync::Arc;

use cirque_shared::metrics::Counter;
use sea_query::{DeleteStatement, InsertStatement, SelectStatement, UpdateStatement};
use sea_query_sqlx::SqlxBinder;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};

pub use dialect::Dialect;
pub use error::Error;
pub use position::Position;
pub use postgres::Wakeups;
pub use row::{Cells, Row};

use self::dialect::built;
use self::slow::Slow;
use crate::config::{Database, Location};
use crate::metrics::DatabaseMetrics;

/// The database, by intent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
    metrics: Arc<DatabaseMetrics>,
    slow: Slow,
}

/// Connections for reading and for writing.
#[derive(Clone, Debug)]
enum Pools {
    Sqlite { readers: SqlitePool, writer: SqlitePool },
    Postgres { readers: PgPool, writers: PgPool },
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
                let (readers, writers) = postgres::connect(config, url).await?;
                Pools::Postgres { readers, writers }
            }
        };
        let slow = Slow { threshold: config.slow_statement, count: metrics.slow.clone() };
        Ok(Self { pools, metrics, slow })
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.pools.dialect()
    }

    /// To read what may be a moment old.
    pub fn read(&self) -> Reader<'_> {
        Reader { pools: &self.pools, statements: &self.metrics.reads, slow: &self.slow }
    }

    /// To ask what has changed; counted apart, because it happens beside requests.
    pub fn watch(&self) -> Reader<'_> {
        Reader { pools: &self.pools, statements: &self.metrics.watches, slow: &self.slow }
    }

    /// To write: a transaction. In SQLite it holds the write lock from its start; in PostgreSQL rows that are read
    /// to be changed are locked with [`SelectStatement::lock_exclusive`]. Dropping it undoes it.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when another process kept the lock longer than `busy_timeout`.
    pub async fn write(&self) -> Result<Writer<'_>, Error> {
        let transaction = match &self.pools {
            Pools::Sqlite { writer, .. } => Held::Sqlite(writer.begin_with(dialect::BEGIN_WRITE).await?),
            Pools::Postgres { writers, .. } => Held::Postgres(writers.begin().await?),
        };
        Ok(Writer { transaction, statements: &self.metrics.writes, slow: &self.slow })
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
        let mut writer = self.write().await?;
        if let Held::Postgres(transaction) = &mut writer.transaction {
            sqlx::query(dialect::MUCH_TIME).execute(&mut **transaction).await?;
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
            Pools::Postgres { writers, .. } => Wakeups::listen(writers, channel).await.map(Some),
        }
    }

    /// Brings the gauges of the pools up to date; called before they are read.
    pub fn observe(&self) {
        let ((read, reading), (write, writing)) = match &self.pools {
            Pools::Sqlite { readers, writer } => {
                ((readers.size(), readers.num_idle()), (writer.size(), writer.num_idle()))
            }
            Pools::Postgres { readers, writers } => {
                ((readers.size(), readers.num_idle()), (writers.size(), writers.num_idle()))
            }
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
            Pools::Postgres { readers, writers } => {
                readers.close().await;
                writers.close().await;
            }
        }
    }
}

impl Pools {
    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }
}

/// Reads outside a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'d> {
    pools: &'d Pools,
    statements: &'d Counter,
    slow: &'d Slow,
}

impl Reader<'_> {
    /// Which database answers.
    pub fn dialect(self) -> Dialect {
        self.pools.dialect()
    }

    /// How far the server has come: a read after this shows everything up to there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    // Where replicas are, this asks.
    #[expect(clippy::unused_async)]
    pub async fn position(self) -> Result<Position, Error> {
        Ok(Position::START)
    }

    /// All rows of `select`. Callers bound it with a limit.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn all(self, select: &SelectStatement) -> Result<Vec<Row>, Error> {
        self.statements.inc();
        let (sql, values) = self.dialect().build(select);
        let _running = self.slow.begin(&sql, "read");
        Ok(match self.pools {
            Pools::Sqlite { readers, .. } => {
                let rows = sqlx::query_with(built(sql), values).fetch_all(readers).await?;
                rows.into_iter().map(Row::from).collect()
            }
            Pools::Postgres { readers, .. } => {
                let rows = sqlx::query_with(built(sql), values).fetch_all(readers).await?;
                rows.into_iter().map(Row::from).collect()
            }
        })
    }

    /// The first row of `select`, if it has any.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn first(self, select: &SelectStatement) -> Result<Option<Row>, Error> {
        self.statements.inc();
        let (sql, values) = self.dialect().build(select);
        let _running = self.slow.begin(&sql, "read");
        Ok(match self.pools {
            Pools::Sqlite { readers, .. } => {
                sqlx::query_with(built(sql), values).fetch_optional(readers).await?.map(Row::from)
            }
            Pools::Postgres { readers, .. } => {
                sqlx::query_with(built(sql), values).fetch_optional(readers).await?.map(Row::from)
            }
        })
    }
}

/// Reads and writes in one transaction, which [`Writer::commit`] makes lasting.
#[derive(Debug)]
pub struct Writer<'d> {
    transaction: Held<'d>,
    statements: &'d Counter,
    slow: &'d Slow,
}

#[derive(Debug)]
enum Held<'d> {
    Sqlite(Transaction<'d, Sqlite>),
    Postgres(Transaction<'d, Postgres>),
}

/// A statement that changes rows.
pub trait Change: SqlxBinder {}
impl Change for InsertStatement {}
impl Change for UpdateStatement {}
impl Change for DeleteStatement {}

impl Writer<'_> {
    /// Which database it writes to.
    pub fn dialect(&self) -> Dialect {
        match &self.transaction {
            Held::Sqlite(_) => Dialect::Sqlite,
            Held::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Carries out `change` and says how many rows it touched.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn execute(&mut self, change: &impl Change) -> Result<u64, Error> {
        self.statements.inc();
        let (sql, values) = self.dialect().build(change);
        let _running = self.slow.begin(&sql, "write");
        Ok(match &mut self.transaction {
            Held::Sqlite(held) => {
                sqlx::query_with(built(sql), values).execute(&mut **held).await?.rows_affected()
            }
            Held::Postgres(held) => {
                sqlx::query_with(built(sql), values).execute(&mut **held).await?.rows_affected()
            }
        })
    }

    /// Carries out a `change` with a `RETURNING` clause and hands out its first row.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn returning(&mut self, change: &impl Change) -> Result<Option<Row>, Error> {
        let (sql, values) = self.dialect().build(change);
        self.fetch_optional(sql, values).await
    }

    /// Carries out a `change` with a `RETURNING` clause and hands out all its rows. Callers bound the change.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn returning_all(&mut self, change: &impl Change) -> Result<Vec<Row>, Error> {
        let (sql, values) = self.dialect().build(change);
        self.fetch_all(sql, values).await
    }

    /// All rows of `select` as this transaction sees them. Callers bound it with a limit.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn all(&mut self, select: &SelectStatement) -> Result<Vec<Row>, Error> {
        let (sql, values) = self.dialect().build(select);
        self.fetch_all(sql, values).await
    }

    async fn fetch_all(
        &mut self,
        sql: String,
        values: sea_query_sqlx::SqlxValues,
    ) -> Result<Vec<Row>, Error> {
        self.statements.inc();
        let _running = self.slow.begin(&sql, "write");
        Ok(match &mut self.transaction {
            Held::Sqlite(held) => {
                let rows = sqlx::query_with(built(sql), values).fetch_all(&mut **held).await?;
                rows.into_iter().map(Row::from).collect()
            }
            Held::Postgres(held) => {
                let rows = sqlx::query_with(built(sql), values).fetch_all(&mut **held).await?;
                rows.into_iter().map(Row::from).collect()
            }
        })
    }

    /// The first row of `select` as this transaction sees it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn first(&mut self, select: &SelectStatement) -> Result<Option<Row>, Error> {
        let (sql, values) = self.dialect().build(select);
        self.fetch_optional(sql, values).await
    }

    async fn fetch_optional(
        &mut self,
        sql: String,
        values: sea_query_sqlx::SqlxValues,
    ) -> Result<Option<Row>, Error> {
        self.statements.inc();
        let _running = self.slow.begin(&sql, "write");
        let query = built(sql);
        Ok(match &mut self.transaction {
            Held::Sqlite(held) => {
                sqlx::query_with(query, values).fetch_optional(&mut **held).await?.map(Row::from)
            }
            Held::Postgres(held) => {
                sqlx::query_with(query, values).fetch_optional(&mut **held).await?.map(Row::from)
            }
        })
    }

    /// Lets the ids that the database gives out go on behind those that were written into `table` by hand.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn settle_ids(&mut self, table: &'static str) -> Result<(), Error> {
        if let Held::Postgres(held) = &mut self.transaction {
            sqlx::query(built(dialect::settle_ids(table))).execute(&mut **held).await?;
        }
        Ok(())
    }

    /// Makes the transaction lasting.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing was written then.
    pub async fn commit(self) -> Result<(), Error> {
        match self.transaction {
            Held::Sqlite(held) => held.commit().await?,
            Held::Postgres(held) => held.commit().await?,
        }
        Ok(())
    }
}
