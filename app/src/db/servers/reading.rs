//! Decides what is done for one read: ask whom it was decided to ask, and another when that one fails.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::choice::{Choice, Need, Why};
use super::standing::{Finding, Reason};
use super::{Server, Servers, monitor};
use crate::db::held::Statement;
use crate::db::{Error, Held, Position, Session};

/// How many servers are asked before the primary.
const TRIES: usize = 3;
/// How often a replica is asked whether it has come far enough.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// A read that a replica is busy with.
struct InFlight<'s>(&'s Server);

impl<'s> InFlight<'s> {
    fn at(server: &'s Server) -> Self {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(server)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Servers {
    /// The rows of `statement`, from whoever has what must be seen. `is_fresh` asks for everything.
    pub(in crate::db) async fn read(
        &self,
        is_fresh: bool,
        statement: Statement,
    ) -> Result<Vec<PgRow>, Error> {
        if !self.are_many() {
            return self.fetch(&self.0.servers[0].readers(), statement).await.map_err(Error::from);
        }
        let session = Session::current();
        let need = match (&session, is_fresh) {
            (_, true) => Need::All,
            _ if !self.have_replicas() => Need::All,
            (Some(session), false) => session.need(),
            (None, false) => Need::Any,
        };
        let pinned = || session.as_ref().and_then(Session::pinned);
        let mut has_failed = false;
        for _ in 0..TRIES {
            let server = match (self.choose(need, pinned()), need) {
                (Choice::Replica(server), _) => server,
                (Choice::Await(server), Need::At(place)) => {
                    if self.comes_to(server, place).await {
                        continue;
                    }
                    return self.ask_primary(Why::OwnWrites, statement).await;
                }
                (Choice::Primary(_) | Choice::Await(_), _) if has_failed => break,
                (Choice::Await(_), _) => return self.ask_primary(Why::OwnWrites, statement).await,
                (Choice::Primary(why), _) => return self.ask_primary(why, statement).await,
            };
            match self.ask_one(server, statement.clone()).await {
                Ok(rows) => {
                    if let Some(session) = &session {
                        session.pin(server);
                    }
                    self.metrics().read_from_replica(matches!(need, Need::At(_)));
                    return Ok(rows);
                }
                // It was stopped to let the replica replay what happened, and would be again.
                Err(Error::Busy(_)) => return self.ask_primary(Why::Failed, statement).await,
                // It was found deaf meanwhile.
                Err(Error::Unreachable(sqlx::Error::PoolClosed)) => has_failed = true,
                Err(Error::Unreachable(_)) => {
                    self.fail(server);
                    has_failed = true;
                }
                Err(error) => return Err(error),
            }
        }
        self.ask_primary(Why::Failed, statement).await
    }

    /// The rows of `statement` from whoever has the latest there is; when that one goes meanwhile, from the next.
    pub(in crate::db) async fn read_latest(&self, statement: Statement) -> Result<Vec<PgRow>, Error> {
        let Some(first) = self.latest() else { return Err(Error::NoPrimary) };
        match self.ask(first, statement.clone()).await {
            Err(error @ Error::Unreachable(_)) if self.are_many() => match self.best_replica() {
                Some(next) if next != first => self.ask(next, statement).await,
                _ => Err(error),
            },
            found => found,
        }
    }

    /// The rows of `statement` from this server and no other.
    pub(in crate::db) async fn ask(&self, server: usize, statement: Statement) -> Result<Vec<PgRow>, Error> {
        if !self.are_many() {
            return self.fetch(&self.0.servers[0].readers(), statement).await.map_err(Error::from);
        }
        self.metrics().asked_for_latest(*self.0.primary.borrow() == Some(server));
        self.ask_one(server, statement).await
    }

    async fn ask_one(&self, server: usize, statement: Statement) -> Result<Vec<PgRow>, Error> {
        let asked = &self.0.servers[server];
        let _in_flight = InFlight::at(asked);
        let pool = asked.readers();
        self.while_it_hears(server, self.fetch(&pool, statement)).await
    }

    async fn fetch(&self, pool: &PgPool, statement: Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        let began = Instant::now();
        let mut held = Held::acquire(pool, &self.0.metrics.abandoned).await?;
        self.0.metrics.read_wait.observe(began.elapsed());
        held.fetch(statement).await
    }

    /// Waits for `work` at `server` until it was found deaf.
    pub(super) async fn while_it_hears<T>(
        &self,
        server: usize,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        let mut deaf = self.0.servers[server].deaf.subscribe();
        let gone = async {
            if deaf.wait_for(|is_deaf| *is_deaf).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = work => done.map_err(Error::from),
            () = gone => Err(Error::Unreachable(sqlx::Error::PoolClosed)),
        }
    }

    async fn ask_primary(&self, why: Why, statement: Statement) -> Result<Vec<PgRow>, Error> {
        let mut _room = None;
        if why.is_fallback() {
            let limit = self.0.rules.acquire_timeout;
            match tokio::time::timeout(limit, self.0.fallback.acquire()).await {
                Ok(Ok(room)) => _room = Some(room),
                Ok(Err(_)) | Err(_) => {
                    self.metrics().fallback_refused.inc();
                    return Err(Error::Saturated);
                }
            }
        }
        let server = self.primary()?;
        let _in_flight = InFlight::at(&self.0.servers[server]);
        self.metrics().read_from_primary(why.word());
        let pool = self.0.servers[server].readers();
        self.on_primary(server, self.fetch(&pool, statement)).await
    }

    /// Whether `server` comes as far as `place` within `replica_wait`.
    async fn comes_to(&self, server: usize, place: Position) -> bool {
        let deadline = Instant::now() + self.0.rules.replica_wait;
        let asking = async {
            loop {
                match self.position(server).await {
                    Ok(position) if position.includes(place) => {
                        self.0.servers[server].now().position = position;
                        return true;
                    }
                    Ok(_) => tokio::time::sleep(ASKED_EVERY).await,
                    Err(_) => return false,
                }
            }
        };
        let has_come = tokio::time::timeout_at(deadline, asking).await.unwrap_or(false);
        self.metrics().waited(has_come);
        has_come
    }

    /// A read found the replica deaf: it is out at once, not only after the next look at it.
    fn fail(&self, server: usize) {
        self.0.servers[server].note_hearing(true);
        monitor::judge(
            self,
            server,
            Finding::Bad(Reason::Unreachable),
            "a read found its connection broken".to_owned(),
        );
        self.0.servers[server].look.notify_one();
    }
}
