//! Decides what becomes of a statement that nobody waits for any more: it ends, and its connection is used again or closed.
//!
//! The driver leaves a statement running when its future is dropped. Here its connection gets a moment to come to the end
//! of it; after that it is closed, and the server, which looks now and then whether its client is there, gives up.

use std::time::Duration;

use cirque_shared::metrics::Counter;
use sea_query_sqlx::SqlxValues;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;

use super::dialect::built;

/// How long a statement may go on that nobody waits for: most end by themselves within it, and keep their connection.
const MOMENT: Duration = Duration::from_millis(100);
/// How long closing a connection may take.
const CLOSING: Duration = Duration::from_secs(1);

/// A statement, and how much of its answer is wanted.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: SqlxValues,
    pub(super) rows: Rows,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    All,
    First,
}

/// A connection to PostgreSQL in the hands of one user.
#[derive(Debug)]
pub(super) struct Held {
    connection: Option<PoolConnection<Postgres>>,
    /// A statement is under way.
    is_busy: bool,
    /// A transaction is open.
    is_open: bool,
    abandoned: Counter,
}

impl Held {
    /// One of `pool`, as soon as there is one.
    pub(super) async fn acquire(pool: &PgPool, abandoned: &Counter) -> Result<Self, sqlx::Error> {
        let connection = Some(pool.acquire().await?);
        Ok(Self { connection, is_busy: false, is_open: false, abandoned: abandoned.clone() })
    }

    /// The same, in a transaction.
    pub(super) async fn begin(pool: &PgPool, abandoned: &Counter) -> Result<Self, sqlx::Error> {
        let mut held = Self::acquire(pool, abandoned).await?;
        held.is_open = true;
        held.busy()?.execute("BEGIN").await?;
        held.is_busy = false;
        Ok(held)
    }

    /// The rows of `statement`.
    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        let Statement { sql, values, rows } = statement;
        let query = sqlx::query_with(built(sql), values);
        let found = match rows {
            Rows::All => query.fetch_all(self.busy()?).await,
            Rows::First => query.fetch_optional(self.busy()?).await.map(|row| row.into_iter().collect()),
        };
        self.is_busy = false;
        found
    }

    /// Carries out `statement`; how many rows it touched.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        let query = sqlx::query_with(built(statement.sql), statement.values);
        let done = query.execute(self.busy()?).await;
        self.is_busy = false;
        Ok(done?.rows_affected())
    }

    /// Makes the transaction lasting.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.busy()?.execute("COMMIT").await?;
        self.is_busy = false;
        self.is_open = false;
        Ok(())
    }

    /// The connection itself, for what goes on in one piece.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    fn busy(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.is_busy = true;
        self.connection()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take().filter(|_| self.is_busy || self.is_open) else {
            return;
        };
        // Without a runtime there is nobody to wait for the end; the process is about to end itself.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(abandon(connection, self.is_open, self.abandoned.clone()));
        }
    }
}

async fn abandon(mut connection: PoolConnection<Postgres>, is_open: bool, abandoned: Counter) {
    let end = async {
        if is_open { connection.execute("ROLLBACK").await.map(drop) } else { connection.ping().await }
    };
    if let Ok(Ok(())) = tokio::time::timeout(MOMENT, end).await {
        return;
    }
    abandoned.inc();
    let _ = tokio::time::timeout(CLOSING, connection.close()).await;
}
