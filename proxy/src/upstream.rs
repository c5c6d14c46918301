//! A named pool of backends: who is available, who is asked next, and the one place where that changes.

pub(crate) mod availability;
pub(crate) mod backend;
pub(crate) mod choice;
pub(crate) mod health;
pub(crate) mod idle;
mod outcome;
mod probe;
mod queue;
pub(crate) mod recent;
mod shown;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::balance::{Chooser, Seat};
use crate::config;
use crate::config::policy::{Balance, HashBy};
use crate::metrics::{BackendMetrics, Metrics, UpstreamMetrics};
use crate::operator::{Duty, Orders};
use availability::{Availability, Change, Event, Limits, outlier};
use backend::{Backend, Blocked};
use queue::Queue;

pub(crate) use choice::{Chosen, NoBackend};
pub(crate) use outcome::fault_of;

/// A pool as one configuration describes it, and the only writer of its backends' availability.
///
/// A reload makes a new one around the backends that stay. Requests that began with the old one end with it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) config: config::Upstream,
    pub(crate) backends: Vec<Member>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    /// Who is chosen among: the usual ones, and the backups.
    tiers: [Chooser; 2],
    /// Whether any backend has a limit of requests at once.
    is_limited: bool,
    clock: Clock,
    queue: Arc<Queue>,
}

/// A backend with its place in a pool.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) backend: Arc<Backend>,
    pub(crate) config: config::Backend,
    /// The operator's, else the configuration's.
    pub(crate) weight: u32,
}

/// What a pool shares with the pools before and after it, under the same name.
#[derive(Clone, Debug)]
struct Clock {
    /// What the milliseconds that backends publish are counted from.
    started: Instant,
    /// Held while availability changes: two backends never leave in the same moment as each other's last resort.
    turn: Arc<Mutex<()>>,
}

impl Upstream {
    /// A pool in which every backend is available until shown otherwise, or as it was in `previous`.
    pub(crate) fn new(
        config: config::Upstream,
        orders: &Orders,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Self {
        let before = previous.map_or(&[][..], |previous| &previous.backends);
        let metrics_of_pool = match previous {
            Some(previous) => Arc::clone(&previous.metrics),
            None => Arc::new(metrics.upstream(&config.name)),
        };
        let queue = match previous {
            Some(previous) => Arc::clone(&previous.queue),
            None => Arc::new(Queue::new(metrics_of_pool.queue_length.clone())),
        };
        let clock = previous.map(|previous| previous.clock.clone());
        let clock = clock.unwrap_or_else(|| Clock { started: Instant::now(), turn: Arc::default() });
        // Who comes new into a running edge starts slowly; at the start all are new alike.
        let new_since = previous.map(|_| clock.millis(Instant::now()));
        let make = |config_of: &config::Backend, metrics: Arc<BackendMetrics>| {
            Arc::new(Backend::new(config_of, &config.reach, metrics, Arc::clone(&queue), new_since))
        };
        let member = |config_of: &config::Backend| {
            let same_id = before.iter().find(|member| member.config.id == config_of.id);
            let backend = match same_id {
                Some(member) if member.backend.is(config_of, &config.reach) => Arc::clone(&member.backend),
                Some(member) => make(config_of, Arc::clone(&member.backend.metrics)),
                None => make(config_of, Arc::new(metrics.backend(&config.name, &config_of.id))),
            };
            let weight = orders.of(&config.name, &config_of.id).weight.unwrap_or(config_of.weight);
            Member { backend, config: config_of.clone(), weight }
        };
        let backends: Vec<Member> = config.backends.iter().map(member).collect();
        let tiers = [false, true].map(|is_backup| {
            let sharing = backends
                .iter()
                .enumerate()
                .filter(|(_, member)| member.config.backup == is_backup && member.weight > 0);
            let seats: Vec<Seat<'_>> = sharing
                .map(|(index, member)| Seat { index, id: &member.config.id, weight: member.weight })
                .collect();
            Chooser::new(config.balance, &seats)
        });
        let is_limited = backends.iter().any(|member| member.config.max_conns.is_some());
        Self { config, backends, metrics: metrics_of_pool, tiers, is_limited, clock, queue }
    }

    /// What requests are recognised by, when that decides where they go.
    pub(crate) fn hash_by(&self) -> Option<&HashBy> {
        (self.config.balance == Balance::Hash).then_some(&self.config.hash_by)
    }

    /// Puts the operator's orders into force.
    pub(crate) fn obey(&self, orders: &Orders, now: Instant) {
        for (index, member) in self.backends.iter().enumerate() {
            let duty = orders.of(&self.config.name, &member.config.id).duty;
            self.apply(index, Event::Ordered(duty), now);
        }
    }

    /// Takes in what happened to a backend; the only door to its availability.
    ///
    /// Returns what changed; every change is logged and counted here.
    pub(crate) fn apply(&self, index: usize, event: Event, now: Instant) -> Option<Change> {
        let _turn = self.turn();
        let member = &self.backends[index];
        let now_ms = self.millis(now);
        let mut others = self.backends.iter().enumerate();
        let limits = Limits {
            fall: self.config.probe.fall,
            rise: self.config.probe.rise,
            fails: member.config.fails,
            outlier: self.config.outlier,
            has_others: others.any(|(other, b)| other != index && b.weight > 0 && b.is_available(now_ms)),
            has_room: !matches!(event, Event::AttemptFailed { .. }) || self.may_eject(index, now),
        };
        let mut facts = lock(&member.facts);
        let change = facts.apply(event, now, &limits);
        member.publish(self.blocked(&facts));
        drop(facts);
        if let Some(change) = change {
            self.follow(member, change, now_ms);
        }
        change
    }

    /// Whether this backend may be ejected beside those that are.
    fn may_eject(&self, index: usize, now: Instant) -> bool {
        let others = self.backends.iter().enumerate().filter(|(other, _)| *other != index);
        let ejected = others.filter(|(_, member)| lock(&member.facts).outlier.is_out(now)).count();
        outlier::has_room(ejected, self.backends.len(), self.config.outlier.max_ejected)
    }

    /// A backend's facts, for the admin interface.
    pub(crate) fn facts(&self, index: usize) -> Availability {
        lock(&self.backends[index].facts).clone()
    }

    /// How many backends may receive a request now.
    pub(crate) fn n_available(&self, now: Instant) -> usize {
        let now_ms = self.millis(now);
        self.backends.iter().filter(|backend| backend.is_available(now_ms)).count()
    }

    /// What else a change brings about.
    fn follow(&self, member: &Member, change: Change, now_ms: u64) {
        match change {
            Change::Up | Change::Admitted | Change::Ordered(Duty::Active) => member.returned(now_ms),
            Change::Ejected(_) | Change::WouldEject(_) => member.tally.forget(),
            Change::Down
            | Change::Spared(_)
            | Change::TrialBegan
            | Change::TrialAbandoned
            | Change::Ordered(_) => {}
        }
        self.announce(member, change);
        // Whoever waits for room may find it there now.
        self.queue.freed();
    }

    fn announce(&self, backend: &Backend, change: Change) {
        let (upstream, id) = (self.config.name.as_str(), backend.id.as_str());
        backend.metrics.up.set(i64::from(backend.is_available(self.millis(Instant::now()))));
        match change {
            Change::Down => tracing::warn!(upstream, backend = id, cause = "probe", "backend is down"),
            Change::Up => tracing::info!(upstream, backend = id, cause = "probe", "backend is up"),
            Change::Ejected(why) => {
                let reason = why.name();
                backend.metrics.member.ejected(reason, false);
                tracing::warn!(upstream, backend = id, cause = "outlier", reason, "backend is ejected");
            }
            Change::WouldEject(why) => {
                let reason = why.name();
                backend.metrics.member.ejected(reason, true);
                tracing::warn!(upstream, backend = id, cause = "outlier", reason, "backend would be ejected");
                return;
            }
            Change::Spared(why) => {
                let reason = why.name();
                backend.metrics.member.spared(reason);
                tracing::warn!(upstream, backend = id, cause = "outlier", reason, "backend is spared");
                return;
            }
            Change::Admitted => {
                tracing::info!(upstream, backend = id, cause = "outlier", "backend is admitted")
            }
            Change::Ordered(duty) => {
                let to = duty.name();
                tracing::info!(upstream, backend = id, cause = "operator", to, "backend was ordered");
            }
            Change::TrialBegan | Change::TrialAbandoned => return,
        }
        backend.metrics.transition(change.name());
    }

    fn blocked(&self, facts: &Availability) -> Blocked {
        if facts.duty != Duty::Active {
            return Blocked::Out;
        }
        match facts.blocked_until() {
            None => Blocked::Not,
            Some(None) => Blocked::ForNow,
            // Rounded up: nobody may think it is time before it is.
            Some(Some(until)) => Blocked::Until(self.millis(until) + 1),
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.clock.turn)
    }

    fn millis(&self, at: Instant) -> u64 {
        self.clock.millis(at)
    }
}

impl Clock {
    /// Milliseconds since the pool was made, from 1: what the backends publish.
    fn millis(&self, at: Instant) -> u64 {
        let since: Duration = at.saturating_duration_since(self.started);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 2) + 1
    }
}

impl std::ops::Deref for Member {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.backend
    }
}

/// Nothing under these locks can leave a value half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
