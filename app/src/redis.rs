//! Decides what a node asks of Redis and how long it waits: Redis is a help and never the truth, and never in the way.
//!
//! | use | without Redis |
//! | --- | --- |
//! | kept answers, shared by the nodes (`cache::shared`) | each node's own memory, then the database |
//! | one node makes an answer, the others wait for it | each node makes it once |
//! | rates counted together (`limit`) | each node counts by itself |
//! | notices of new jobs (`queue::Bell`) | the database's notices, and asking now and then |
//! | who tells alerts (`alerts`) | a lease in the database, then turns |
//!
//! One connection carries all commands, in any order; listening has connections of its own. While Redis is slow or
//! down ([`circuit`]) no request asks it: a probe beside them finds out when it is back. Keys that one script needs
//! have the part that decides their place in braces, so that they are together in a cluster too; every key has an
//! expiry, and nobody asks for keys by pattern.

mod circuit;
mod connect;
mod ear;
mod keeper;
mod memory;
mod sentinel;
mod trouble;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, RedisError, Script, Value};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::circuit::{Circuit, Heard};
use self::connect::Link;
use self::trouble::Meaning;
use crate::config;
use crate::metrics::RedisMetrics;

pub use self::circuit::{Reason, State};
pub use ::redis::cmd;

/// Commands that wait for their answers at once; more are not sent.
const MOST: usize = 512;

/// What Redis is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Kept answers.
    Cache,
    /// Who makes an answer.
    Flight,
    /// Rates.
    Limits,
    /// Notices of new jobs.
    Wakeup,
    /// Who tells alerts.
    Alerts,
}

impl Use {
    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Flight => "flight",
            Self::Limits => "limits",
            Self::Wakeup => "wakeup",
            Self::Alerts => "alerts",
        }
    }
}

/// Why there is no answer. Whoever asked goes on without.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It is slow or down, so it was not asked.
    #[error("Redis is {word} ({reason})", word = .0.word(), reason = .0.reason())]
    Away(State),
    /// Too many wait already.
    #[error("too many commands wait for Redis")]
    Crowded,
    /// There was none in time.
    #[error("Redis did not answer within {0:?}")]
    Late(Duration),
    /// It was an error.
    #[error("Redis refused a command")]
    Error(#[from] RedisError),
}

/// The way to Redis. Cheap to clone; the last one that is dropped closes its connections.
#[derive(Clone)]
pub struct Redis(Arc<Handle>);

struct Handle {
    inner: Arc<Inner>,
    _stop: DropGuard,
    stop: CancellationToken,
}

struct Inner {
    config: config::Redis,
    circuit: Mutex<Circuit>,
    /// Whether requests may ask; follows the circuit.
    is_up: AtomicBool,
    link: RwLock<Option<Link>>,
    places: Semaphore,
    metrics: RedisMetrics,
    /// Raised when another server may lead: connections are made anew.
    moved: watch::Sender<u64>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({:?})", self.state())
    }
}

impl Redis {
    /// Connects once, for whoever wants to know whether a node could: what an operator should know of its memory, if
    /// anything.
    ///
    /// # Errors
    ///
    /// What stands in the way, in words and without secrets.
    pub async fn try_out(config: &config::Redis) -> Result<Option<&'static str>, String> {
        let link = connect::open(config)
            .await
            .map_err(|trouble| format!("{} ({})", trouble.detail, trouble.reason.word()))?;
        let asked = async { (link.probe().await, link.memory().await) };
        match tokio::time::timeout(config.connect_timeout + config.timeout, asked).await {
            Ok((Ok(()), memory)) => Ok(memory.ok().and_then(|info| memory::warning(&info))),
            Ok((Err(error), _)) => Err(cirque_shared::report::chain(&error)),
            Err(_) => Err("it connects, and then does not answer in time".to_owned()),
        }
    }

    /// Begins to connect; what is asked before that is done is not answered. To be called in a runtime.
    pub fn start(config: config::Redis, metrics: RedisMetrics) -> Self {
        let stop = CancellationToken::new();
        let circuit = Mutex::new(Circuit::new(config.slow_after, Instant::now()));
        let inner = Arc::new(Inner {
            config,
            circuit,
            is_up: AtomicBool::new(false),
            link: RwLock::default(),
            places: Semaphore::new(MOST),
            metrics,
            moved: watch::Sender::new(0),
        });
        inner.metrics.stands(&State::WORDS, inner.circuit().state().word());
        tokio::spawn(keeper::run(Arc::clone(&inner), stop.clone()));
        if matches!(inner.config.layout, config::redis::Layout::Sentinel { .. }) {
            tokio::spawn(sentinel::follow(Arc::clone(&inner), stop.clone()));
        }
        Self(Arc::new(Handle { inner, stop: stop.clone(), _stop: stop.drop_guard() }))
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.0.inner.circuit().state()
    }

    /// Whether it is asked now.
    pub fn is_up(&self) -> bool {
        self.0.inner.is_up.load(Ordering::Acquire)
    }

    /// The whole name of a key.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.0.inner.config.prefix)
    }

    /// Asks, and waits no longer than `redis.timeout`.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`]; whoever asked goes on without.
    pub async fn ask<T: FromRedisValue>(&self, purpose: Use, command: &Cmd) -> Result<T, NoAnswer> {
        let value = self.0.inner.ask(purpose, command).await?;
        Ok(redis::from_redis_value(value).map_err(RedisError::from)?)
    }

    /// Runs a script over `keys`, which are in one place. It is sent by its digest, and whole where that is not known.
    ///
    /// # Errors
    ///
    /// As [`Redis::ask`].
    pub async fn run<T: FromRedisValue>(
        &self,
        purpose: Use,
        script: &Program,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<T, NoAnswer> {
        let call = |how: &str, what: &str| {
            let mut command = cmd(how);
            command.arg(what).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        match self.ask(purpose, &call("EVALSHA", script.script.get_hash())).await {
            Err(NoAnswer::Error(error)) if trouble::lacks_script(&error) => {
                self.ask(purpose, &call("EVAL", &script.text)).await
            }
            answer => answer,
        }
    }

    /// Calls `heard` whenever somebody publishes on `channel`, over a connection of its own, until the last handle is
    /// dropped; and once after each new connection, because something may have been missed before it.
    pub fn listen(&self, channel: &str, heard: impl Fn() + Send + Sync + 'static) {
        let (inner, stop) = (Arc::clone(&self.0.inner), self.0.stop.clone());
        let channel = self.key(channel);
        let heard = Arc::new(move |_: &[u8]| heard());
        tokio::spawn(async move { ear::listen(&inner, ear::At::Data, &channel, heard, &stop).await });
    }
}

/// A script and its digest.
#[derive(Debug)]
pub struct Program {
    text: String,
    script: Script,
}

impl Program {
    /// Of this text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { script: Script::new(&text), text }
    }
}

impl Inner {
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> Option<Link> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Written by [`keeper`] only.
    fn set_link(&self, link: Option<Link>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    async fn ask(&self, purpose: Use, command: &Cmd) -> Result<Value, NoAnswer> {
        let word = purpose.word();
        let link = if self.is_up.load(Ordering::Acquire) { self.link() } else { None };
        let Some(link) = link else {
            self.metrics.skipped(word);
            return Err(NoAnswer::Away(self.circuit().state()));
        };
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.skipped(word);
            return Err(NoAnswer::Crowded);
        };
        let began = Instant::now();
        let answer = tokio::time::timeout(self.config.timeout, link.query(command)).await;
        let took = began.elapsed();
        let (heard, outcome) = match &answer {
            Ok(Ok(_)) => (Heard::Answer(took), "ok"),
            Ok(Err(error)) => match trouble::meaning(error) {
                Meaning::Useless(reason) => (Heard::Nothing(reason), "failed"),
                Meaning::Refused if trouble::lacks_script(error) => (Heard::Answer(took), "unknown_script"),
                Meaning::Refused => (Heard::Answer(took), "refused"),
            },
            Err(_) => (Heard::Nothing(Reason::Silent), "late"),
        };
        self.metrics.asked(word, outcome, took);
        self.hear(heard, false, "");
        match answer {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(NoAnswer::Late(self.config.timeout)),
        }
    }

    /// Notes what was heard; says it when that changes how Redis stands.
    fn hear(&self, heard: Heard, is_probe: bool, detail: &str) {
        let turn = {
            let mut circuit = self.circuit();
            let turn = circuit.hear(heard, is_probe, Instant::now());
            if turn.is_some() {
                self.is_up.store(circuit.state() == State::Up, Ordering::Release);
            }
            turn
        };
        if heard == Heard::Nothing(Reason::NotPrimary) && !is_probe {
            self.moved.send_modify(|times| *times += 1);
        }
        let Some(turn) = turn else { return };
        let (state, reason, after) = (turn.to.word(), turn.to.reason(), turn.after.as_secs_f64());
        self.metrics.stands(&State::WORDS, state);
        self.metrics.turned(state, reason);
        match turn.to {
            State::Up if turn.from == State::Down(Reason::Starting) => {
                tracing::info!(redis.state = state, "redis is up");
            }
            State::Up => tracing::info!(redis.state = state, seconds = after, "redis is up again"),
            State::Slow | State::Down(_) => tracing::warn!(
                redis.state = state,
                reason,
                error.chain = detail,
                "redis is of no use, the node goes on without it"
            ),
        }
    }
}
