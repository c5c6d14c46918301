//! Decides which connection serves an intent: callers say `read` or `write`, and never name a pool.

pub mod dialect;
mod error;
pub mod migrations;
mod row;
mod sqlite;

use std::sync::Arc;

use cirque_shared::metrics::Counter;
use sea_query::{InsertStatement, SelectStatement, UpdateStatement};
use sea_query_sqlx::SqlxBinder;
use sqlx::{Sqlite, SqlitePool, Transaction};

pub use error::Error;
pub use row::{Cells, Row};
pub use sqlite::Open;

use crate::config::Database;
use crate::metrics::DatabaseMetrics;

/// The database, by intent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    readers: SqlitePool,
    writer: SqlitePool,
    metrics: Arc<DatabaseMetrics>,
}

impl Db {
    /// Connects. [`Open::Existing`] refuses a database that is not there, [`Open::Create`] makes it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Open`], naming the database.
    pub async fn open(config: &Database, open: Open, metrics: Arc<DatabaseMetrics>) -> Result<Self, Error> {
        let (readers, writer) = sqlite::connect(config, open).await?;
        Ok(Self { readers, writer, metrics })
    }

    /// To read what may be a moment old.
    pub fn read(&self) -> Reader<'_> {
        Reader { pool: &self.readers, statements: &self.metrics.reads }
    }

    /// To write: a transaction that holds the write lock from its start. Dropping it undoes it.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when another process kept the lock longer than `busy_timeout`.
    pub async fn write(&self) -> Result<Writer<'_>, Error> {
        let transaction = self.writer.begin_with(dialect::BEGIN_WRITE).await?;
        Ok(Writer { transaction, statements: &self.metrics.writes })
    }

    /// As [`Db::write`], for a transaction that is larger than the usual memory of a connection.
    ///
    /// # Errors
    ///
    /// As [`Db::write`].
    pub async fn write_much(&self) -> Result<Writer<'_>, Error> {
        sqlx::query(dialect::MUCH_MEMORY).execute(&self.writer).await?;
        self.write().await
    }

    /// Brings the gauges of the pools up to date; called before they are read.
    pub fn observe(&self) {
        self.metrics.observe_pool("read", self.readers.size(), self.readers.num_idle());
        self.metrics.observe_pool("write", self.writer.size(), self.writer.num_idle());
    }

    /// Closes every connection, waiting for the statements that run.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Reads outside a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'d> {
    pool: &'d SqlitePool,
    statements: &'d Counter,
}

impl Reader<'_> {
    /// All rows of `select`. Callers bound it with a limit.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn all(self, select: &SelectStatement) -> Result<Vec<Row>, Error> {
        self.statements.inc();
        let (sql, values) = select.build_sqlx(dialect::BUILDER);
        let rows = sqlx::query_with(dialect::built(sql), values).fetch_all(self.pool).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    /// The first row of `select`, if it has any.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn first(self, select: &SelectStatement) -> Result<Option<Row>, Error> {
        self.statements.inc();
        let (sql, values) = select.build_sqlx(dialect::BUILDER);
        Ok(sqlx::query_with(dialect::built(sql), values).fetch_optional(self.pool).await?.map(Row))
    }
}

/// Reads and writes in one transaction, which [`Writer::commit`] makes lasting.
#[derive(Debug)]
pub struct Writer<'d> {
    transaction: Transaction<'d, Sqlite>,
    statements: &'d Counter,
}

/// A statement that changes rows.
pub trait Change: SqlxBinder {}
impl Change for InsertStatement {}
impl Change for UpdateStatement {}

impl Writer<'_> {
    /// Carries out `change` and says how many rows it touched.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn execute(&mut self, change: &impl Change) -> Result<u64, Error> {
        self.statements.inc();
        let (sql, values) = change.build_sqlx(dialect::BUILDER);
        let done = sqlx::query_with(dialect::built(sql), values).execute(&mut *self.transaction).await?;
        Ok(done.rows_affected())
    }

    /// The first row of `select` as this transaction sees it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn first(&mut self, select: &SelectStatement) -> Result<Option<Row>, Error> {
        self.statements.inc();
        let (sql, values) = select.build_sqlx(dialect::BUILDER);
        Ok(sqlx::query_with(dialect::built(sql), values)
            .fetch_optional(&mut *self.transaction)
            .await?
            .map(Row))
    }

    /// Makes the transaction lasting.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing was written then.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }

    pub(crate) fn connection(&mut self) -> &mut sqlx::SqliteConnection {
        &mut self.transaction
    }
}
