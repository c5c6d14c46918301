//! Decides which PostgreSQL server carries out what is asked: replicas read, the primary writes, and either may go.
//!
//! | the read must see | a replica that has it | only replicas that lack it | no replica |
//! | --- | --- | --- | --- |
//! | what was there within `max_lag` | answers | | the primary, so many at once |
//! | its caller's writes | answers | the primary, after `replica_wait` at the longest | the primary, so many at once |
//! | everything | the primary | the primary | the primary |
//!
//! What the servers are is found by [`monitor`], beside requests; a request only looks at what was found.

pub(super) mod choice;
mod lag;
mod monitor;
mod primary;
mod reading;
mod report;
mod standing;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::choice::{Candidate, Choice, Need};
use self::lag::Track;
use self::primary::Role;
use self::standing::Standing;
use super::postgres::Wakeups;
use super::{Error, Held, Position, postgres};
use crate::config::{Database, PostgresUrl};
use crate::metrics::{DatabaseMetrics, ReplicaMetrics};

pub use self::report::Report;

/// All servers of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Vec<Server>,
    rules: Rules,
    /// Who is the primary; written by [`monitor`] only.
    primary: watch::Sender<Option<usize>>,
    seen: Mutex<Seen>,
    turn: AtomicUsize,
    /// Room for reads that the primary takes over from replicas.
    fallback: Semaphore,
    metrics: Arc<DatabaseMetrics>,
    over: CancellationToken,
}

/// What is configured.
#[derive(Clone, Copy, Debug)]
struct Rules {
    max_lag: Duration,
    replica_wait: Duration,
    acquire_timeout: Duration,
}

/// What was found of the primary.
#[derive(Debug)]
struct Seen {
    track: Track,
    /// The latest timeline of any primary.
    timeline: u32,
}

/// One server.
#[derive(Debug)]
struct Server {
    /// `host:port`.
    name: String,
    readers: Renewable,
    /// Of servers that may become the primary.
    writers: Option<Renewable>,
    /// Whether it is one of `replicas`.
    is_read: bool,
    now: Mutex<Now>,
    /// What was wrong with it at the last look, for people; empty when nothing was.
    trouble: Mutex<String>,
    in_flight: AtomicUsize,
    /// Whether what was asked of it will not be answered; written by `note_hearing` only.
    deaf: watch::Sender<bool>,
    /// Asks for a look at it before its time.
    look: Notify,
}

/// What was found of a server.
#[derive(Clone, Copy, Debug)]
struct Now {
    role: Role,
    /// Looks in a row that found no answer in time.
    misses: u32,
    standing: Standing,
    position: Position,
    lag: Option<Duration>,
}

impl Server {
    fn new(config: &Database, url: &PostgresUrl, is_read: bool, may_write: bool) -> Self {
        let now = Now {
            role: Role::Unknown,
            misses: 0,
            standing: Standing::unknown(Instant::now()),
            position: Position::START,
            lag: None,
        };
        Self {
            name: url.host(),
            readers: Renewable::new(postgres::readers(config, url)),
            writers: may_write.then(|| Renewable::new(postgres::writers(config, url))),
            is_read,
            now: Mutex::new(now),
            trouble: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            deaf: watch::Sender::new(false),
            look: Notify::new(),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> PgPool {
        self.readers.pool()
    }

    fn writers(&self) -> Result<PgPool, Error> {
        self.writers.as_ref().map(Renewable::pool).ok_or(Error::NoPrimary)
    }

    /// Notes whether it answers; when it does again, connections of before may still hang, so there are new ones.
    fn note_hearing(&self, is_deaf: bool) {
        let was_deaf = self.deaf.send_replace(is_deaf);
        if was_deaf && !is_deaf {
            self.readers.renew();
            if let Some(writers) = &self.writers {
                writers.renew();
            }
        }
    }
}

/// A pool that another one takes the place of when its connections may hang.
#[derive(Debug)]
struct Renewable(RwLock<PgPool>);

impl Renewable {
    fn new(pool: PgPool) -> Self {
        Self(RwLock::new(pool))
    }

    fn pool(&self) -> PgPool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(&self) {
        let mut pool = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let another = pool.options().clone().connect_lazy_with((*pool.connect_options()).clone());
        let old = std::mem::replace(&mut *pool, another);
        drop(pool);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(CLOSING, old.close()).await;
        });
    }
}

/// How long the connections of a server that went may take to close.
const CLOSING: Duration = Duration::from_secs(5);

impl Servers {
    /// Finds the servers, and who of them is what.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] when there is no primary and, unless `must_write`, no replica either.
    pub(super) async fn open(
        config: &Database,
        url: &PostgresUrl,
        must_write: bool,
        metrics: Arc<DatabaseMetrics>,
    ) -> Result<Self, Error> {
        let writing: Vec<&PostgresUrl> = std::iter::once(url).chain(&config.successors).collect();
        let only_reading = config.replicas.iter().filter(|url| !writing.contains(url));
        let servers: Vec<Server> = writing
            .iter()
            .map(|url| Server::new(config, url, config.replicas.contains(url), true))
            .chain(only_reading.map(|url| Server::new(config, url, true, false)))
            .collect();
        let is_one = servers.len() == 1;
        let rules = Rules {
            max_lag: config.max_lag,
            replica_wait: config.replica_wait,
            acquire_timeout: config.acquire_timeout,
        };
        let this = Self(Arc::new(Inner {
            servers,
            rules,
            primary: watch::Sender::new(is_one.then_some(0)),
            seen: Mutex::new(Seen { track: Track::new(config.max_lag), timeline: 0 }),
            turn: AtomicUsize::new(0),
            fallback: Semaphore::new(config.max_fallback),
            metrics,
            over: CancellationToken::new(),
        }));
        if is_one {
            postgres::try_out(config, &this.0.servers[0].writers()?).await?;
        } else {
            monitor::first_look(&this, config, must_write).await?;
            monitor::start(&this);
        }
        Ok(this)
    }

    /// Whether any of them is there to be read from.
    pub(super) fn have_replicas(&self) -> bool {
        self.0.servers.iter().any(|server| server.is_read)
    }

    /// Whether there is any choice.
    pub(super) fn are_many(&self) -> bool {
        self.0.servers.len() > 1
    }

    fn metrics(&self) -> &ReplicaMetrics {
        &self.0.metrics.replicas
    }

    /// Who is the primary.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrimary`] while nobody is.
    fn primary(&self) -> Result<usize, Error> {
        (*self.0.primary.borrow()).ok_or(Error::NoPrimary)
    }

    /// Who has the latest there is: the primary, and while nobody is that, the replica that has come furthest.
    pub(super) fn latest(&self) -> Option<usize> {
        let primary = *self.0.primary.borrow();
        primary.or_else(|| self.best_replica())
    }

    /// Which replica that is read from has come furthest.
    fn best_replica(&self) -> Option<usize> {
        let readable = |server: &&Candidate| server.is_admitted;
        let place = |one: &&Candidate| (one.position.timeline(), one.position.lsn());
        self.candidates().iter().filter(readable).max_by_key(place).map(|one| one.server)
    }

    fn candidates(&self) -> Vec<Candidate> {
        let primary = *self.0.primary.borrow();
        let servers = self.0.servers.iter().enumerate();
        let replicas = servers.filter(|(index, server)| server.is_read && Some(*index) != primary);
        let look = |(server, found): (usize, &Server)| {
            let now = *found.now();
            Candidate {
                server,
                is_admitted: now.standing.is_admitted(),
                position: now.position,
                lag: now.lag,
                in_flight: found.in_flight.load(Ordering::Relaxed),
            }
        };
        replicas.map(look).collect()
    }

    fn choose(&self, need: Need, pinned: Option<usize>) -> Choice {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        choice::choose(&self.candidates(), need, pinned, self.0.rules.replica_wait, turn)
    }

    /// A transaction on the primary, and which server that is.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrimary`] while nobody is the primary, at once; [`Error`] otherwise.
    pub(super) async fn begin(&self) -> Result<(Held, usize), Error> {
        let server = self.primary()?;
        let pool = self.0.servers[server].writers()?;
        let began = Instant::now();
        let begun = self.on_primary(server, Held::begin(&pool, &self.0.metrics.abandoned)).await?;
        self.0.metrics.write_wait.observe(began.elapsed());
        Ok((begun, server))
    }

    /// Waits for `work` on the primary, as long as `server` is that.
    pub(super) async fn on_primary<T>(
        &self,
        server: usize,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        if !self.are_many() {
            return Ok(work.await?);
        }
        let mut primary = self.0.primary.subscribe();
        let gone = async {
            if primary.wait_for(|now| *now != Some(server)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let done = tokio::select! {
            done = work => done.map_err(Error::from),
            () = gone => Err(Error::NoPrimary),
        };
        match done {
            Err(error @ (Error::Unreachable(_) | Error::ReadOnly(_))) => {
                self.0.servers[server].look.notify_one();
                Err(error)
            }
            done => done,
        }
    }

    /// Where the primary is now, for whoever has just written there.
    pub(super) async fn written_at(&self, server: usize) -> Position {
        let timeline = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).timeline;
        // A place that no replica reaches: then only the primary answers who wrote.
        let nowhere = Position::new(timeline, u64::MAX);
        let Ok(pool) = self.0.servers[server].writers() else { return nowhere };
        let asked = self.on_primary(server, monitor::position(&pool)).await;
        asked.unwrap_or(nowhere)
    }

    /// How far `server` has come.
    pub(super) async fn position(&self, server: usize) -> Result<Position, Error> {
        if !self.are_many() {
            return Ok(Position::START);
        }
        let pool = self.0.servers[server].readers();
        self.while_it_hears(server, monitor::position(&pool)).await
    }

    /// What is told over `channel`, as long as the primary stays.
    pub(super) async fn wakeups(&self, channel: &str) -> Result<Wakeups, Error> {
        let server = self.primary()?;
        let pool = self.0.servers[server].writers()?;
        let primary = self.are_many().then(|| (self.0.primary.subscribe(), server));
        Wakeups::listen(&pool, channel, primary).await
    }

    /// A pool of whoever has the latest there is, for reading.
    pub(super) fn latest_pool(&self) -> Result<PgPool, Error> {
        self.latest().map(|server| self.0.servers[server].readers()).ok_or(Error::NoPrimary)
    }

    /// Connections of the pools together, and how many of them are idle: those for reading, and those for writing.
    pub(super) fn connections(&self) -> [(u32, usize); 2] {
        let sum = |pools: &mut dyn Iterator<Item = PgPool>| {
            pools.fold((0, 0), |(size, idle), pool| (size + pool.size(), idle + pool.num_idle()))
        };
        let servers = &self.0.servers;
        [
            sum(&mut servers.iter().map(Server::readers)),
            sum(&mut servers.iter().filter_map(|server| server.writers().ok())),
        ]
    }

    /// Closes every connection, waiting for the statements that run.
    pub(super) async fn close(&self) {
        self.0.over.cancel();
        for server in &self.0.servers {
            server.readers().close().await;
            if let Ok(writers) = server.writers() {
                writers.close().await;
            }
        }
    }
}
