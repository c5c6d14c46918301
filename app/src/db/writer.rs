//! Decides how something is written: in one transaction on the primary, which takes effect as a whole or not at all.

use std::time::Duration;

use sea_query::{DeleteStatement, InsertStatement, SelectStatement, UpdateStatement};
use sea_query_sqlx::{SqlxBinder, SqlxValues};
use sqlx::{Sqlite, Transaction};
use tokio::time::Instant;

use super::dialect::{Dialect, built};
use super::held::{Held, Rows, Statement};
use super::servers::Servers;
use super::sqlite::Leash;
use super::{Db, Error, Pools, Row, Session, dialect};

/// Reads and writes in one transaction, which [`Writer::commit`] makes lasting.
#[derive(Debug)]
pub struct Writer<'d> {
    db: &'d Db,
    pub(super) transaction: Open<'d>,
}

/// A transaction.
#[derive(Debug)]
pub(super) enum Open<'d> {
    Sqlite(Transaction<'d, Sqlite>, Leash),
    /// On this server.
    Postgres(&'d Servers, usize, Held),
}

/// A statement that changes rows.
pub trait Change: SqlxBinder {}
impl Change for InsertStatement {}
impl Change for UpdateStatement {}
impl Change for DeleteStatement {}

impl<'d> Writer<'d> {
    /// Begins a transaction whose statements take no longer than usual, or as long as they like.
    pub(super) async fn begin(db: &'d Db, longest: Duration) -> Result<Self, Error> {
        let transaction = match &db.pools {
            Pools::Sqlite { writer, .. } => {
                let began = Instant::now();
                let mut transaction = writer.begin_with(dialect::BEGIN_WRITE).await?;
                db.metrics.write_wait.observe(began.elapsed());
                let leash = Leash::on(&mut transaction, longest).await?;
                Open::Sqlite(transaction, leash)
            }
            Pools::Postgres(servers) => {
                let (held, server) = Box::pin(servers.begin()).await?;
                Open::Postgres(servers, server, held)
            }
        };
        Ok(Self { db, transaction })
    }

    /// Which database it writes to.
    pub fn dialect(&self) -> Dialect {
        self.db.dialect()
    }

    /// Carries out `change` and says how many rows it touched.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn execute(&mut self, change: &impl Change) -> Result<u64, Error> {
        self.db.metrics.writes.inc();
        let (sql, values) = self.dialect().build(change);
        let _running = self.db.slow.begin(&sql, "write");
        match &mut self.transaction {
            Open::Sqlite(held, _) => {
                Ok(sqlx::query_with(built(sql), values).execute(&mut **held).await?.rows_affected())
            }
            Open::Postgres(servers, server, held) => {
                let statement = Statement { sql, values, rows: Rows::All };
                Box::pin(servers.on_primary(*server, held.execute(statement))).await
            }
        }
    }

    /// Carries out a `change` with a `RETURNING` clause and hands out its first row.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn returning(&mut self, change: &impl Change) -> Result<Option<Row>, Error> {
        let (sql, values) = self.dialect().build(change);
        Ok(self.fetch(sql, values, Rows::First).await?.into_iter().next())
    }

    /// Carries out a `change` with a `RETURNING` clause and hands out all its rows. Callers bound the change.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn returning_all(&mut self, change: &impl Change) -> Result<Vec<Row>, Error> {
        let (sql, values) = self.dialect().build(change);
        self.fetch(sql, values, Rows::All).await
    }

    /// All rows of `select` as this transaction sees them. Callers bound it with a limit.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn all(&mut self, select: &SelectStatement) -> Result<Vec<Row>, Error> {
        let (sql, values) = self.dialect().build(select);
        self.fetch(sql, values, Rows::All).await
    }

    /// The first row of `select` as this transaction sees it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn first(&mut self, select: &SelectStatement) -> Result<Option<Row>, Error> {
        let (sql, values) = self.dialect().build(select);
        Ok(self.fetch(sql, values, Rows::First).await?.into_iter().next())
    }

    async fn fetch(&mut self, sql: String, values: SqlxValues, rows: Rows) -> Result<Vec<Row>, Error> {
        self.db.metrics.writes.inc();
        let _running = self.db.slow.begin(&sql, "write");
        match &mut self.transaction {
            Open::Sqlite(held, _) => {
                let query = sqlx::query_with(built(sql), values);
                let found = match rows {
                    Rows::All => query.fetch_all(&mut **held).await?,
                    Rows::First => query.fetch_optional(&mut **held).await?.into_iter().collect(),
                };
                Ok(found.into_iter().map(Row::from).collect())
            }
            Open::Postgres(servers, server, held) => {
                let statement = Statement { sql, values, rows };
                let found = Box::pin(servers.on_primary(*server, held.fetch(statement))).await?;
                Ok(found.into_iter().map(Row::from).collect())
            }
        }
    }

    /// Lets the ids that the database gives out go on behind those that were written into `table` by hand.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn settle_ids(&mut self, table: &'static str) -> Result<(), Error> {
        if let Open::Postgres(_, _, held) = &mut self.transaction {
            sqlx::query(built(dialect::settle_ids(table))).execute(held.connection()?).await?;
        }
        Ok(())
    }

    /// Makes the transaction lasting. The session that this is called in sees it from now on.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Nothing was written then, unless the server went while it was told to: [`Error::Unreachable`] and
    /// [`Error::NoPrimary`] leave that open.
    pub async fn commit(self) -> Result<(), Error> {
        match self.transaction {
            Open::Sqlite(held, _leash) => held.commit().await?,
            Open::Postgres(servers, server, held) => {
                Box::pin(servers.on_primary(server, held.commit())).await?;
                if let Some(session) = Session::current().filter(|_| servers.are_many()) {
                    session.note_write(Box::pin(servers.written_at(server)).await);
                }
            }
        }
        Ok(())
    }
}
