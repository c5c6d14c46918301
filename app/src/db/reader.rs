//! Decides how something is read outside a transaction: whose data it must show is stated, where it is read is not.

use cirque_shared::metrics::Counter;
use sea_query::SelectStatement;
use tokio::time::Instant;

use super::dialect::{Dialect, built};
use super::held::{Rows, Statement};
use super::{Db, Error, Pools, Position, Row, sqlite};

/// Whose data a read must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// What the session must see; what was there a moment ago, without one.
    Usual,
    /// Everything that is committed.
    Fresh,
    /// The latest that anybody has.
    Latest,
    /// What this server has.
    On(usize),
}

/// Reads outside a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'d> {
    pub(super) db: &'d Db,
    pub(super) intent: Intent,
    pub(super) statements: &'d Counter,
}

impl Reader<'_> {
    /// Which database answers.
    pub fn dialect(self) -> Dialect {
        self.db.dialect()
    }

    /// How far the database has come: a read by the same [`Reader`] after this shows everything up to there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn position(self) -> Result<Position, Error> {
        match (&self.db.pools, self.intent) {
            (Pools::Postgres(servers), Intent::On(server)) => servers.position(server).await,
            _ => Ok(Position::START),
        }
    }

    /// All rows of `select`. Callers bound it with a limit.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn all(self, select: &SelectStatement) -> Result<Vec<Row>, Error> {
        self.rows(select, Rows::All).await
    }

    /// The first row of `select`, if it has any.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn first(self, select: &SelectStatement) -> Result<Option<Row>, Error> {
        Ok(self.rows(select, Rows::First).await?.into_iter().next())
    }

    async fn rows(self, select: &SelectStatement, rows: Rows) -> Result<Vec<Row>, Error> {
        self.statements.inc();
        let (sql, values) = self.dialect().build(select);
        let _running = self.db.slow.begin(&sql, "read");
        match &self.db.pools {
            Pools::Sqlite { readers, .. } => {
                let began = Instant::now();
                let mut connection = readers.acquire().await?;
                self.db.metrics.read_wait.observe(began.elapsed());
                let _leash = sqlite::Leash::on(&mut connection, self.db.statement_timeout).await?;
                let query = sqlx::query_with(built(sql), values);
                let found = match rows {
                    Rows::All => query.fetch_all(&mut *connection).await?,
                    Rows::First => query.fetch_optional(&mut *connection).await?.into_iter().collect(),
                };
                Ok(found.into_iter().map(Row::from).collect())
            }
            Pools::Postgres(servers) => {
                // On the heap: the futures of handlers hold many of these.
                let statement = Statement { sql, values, rows };
                let found = match self.intent {
                    Intent::Usual => Box::pin(servers.read(false, statement)).await?,
                    Intent::Fresh => Box::pin(servers.read(true, statement)).await?,
                    Intent::Latest => Box::pin(servers.read_latest(statement)).await?,
                    Intent::On(server) => Box::pin(servers.ask(server, statement)).await?,
                };
                Ok(found.into_iter().map(Row::from).collect())
            }
        }
    }
}
