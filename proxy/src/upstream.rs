//! A named pool of backends: who is available, who is asked next, and the one place where that changes.

pub(crate) mod availability;
pub(crate) mod backend;
pub(crate) mod health;
pub(crate) mod idle;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cirque_shared::request_id::random;
use tokio::time::Instant;

use crate::balance::{self, Candidate};
use crate::config;
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::operator::{Duty, Orders};
use availability::{Availability, Change, Event, Limits};
use backend::{Backend, Blocked, Lease};

/// A pool as one configuration describes it, and the only writer of its backends' availability.
///
/// A reload makes a new one around the backends that stay. Requests that began with the old one end with it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) config: config::Upstream,
    pub(crate) backends: Vec<Member>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    clock: Clock,
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

/// A backend that was chosen for an attempt.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Which; it counts as in flight until this is dropped.
    pub(crate) lease: Lease,
    /// Whether this attempt decides about an ejected backend.
    pub(crate) is_trial: bool,
    /// Whether the backend was taken although it is not available.
    pub(crate) is_fail_open: bool,
}

/// Why no backend was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBackend {
    /// None is available, and the upstream does not fail open.
    NoneAvailable,
    /// All were tried for this request.
    AllTried,
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
        let member = |config_of: &config::Backend| {
            let same_id = before.iter().find(|member| member.config.id == config_of.id);
            let backend = match same_id {
                Some(member) if member.backend.is(config_of) => Arc::clone(&member.backend),
                Some(member) => Arc::new(Backend::new(config_of, Arc::clone(&member.backend.metrics))),
                None => {
                    Arc::new(Backend::new(config_of, Arc::new(metrics.backend(&config.name, &config_of.id))))
                }
            };
            let weight = orders.of(&config.name, &config_of.id).weight.unwrap_or(config_of.weight);
            Member { backend, config: config_of.clone(), weight }
        };
        let backends = config.backends.iter().map(member).collect();
        let clock = previous.map(|previous| previous.clock.clone());
        let metrics = match previous {
            Some(previous) => Arc::clone(&previous.metrics),
            None => Arc::new(metrics.upstream(&config.name)),
        };
        let clock = clock.unwrap_or_else(|| Clock { started: Instant::now(), turn: Arc::default() });
        Self { config, backends, metrics, clock }
    }

    /// Puts the operator's orders into force.
    pub(crate) fn obey(&self, orders: &Orders, now: Instant) {
        for (index, member) in self.backends.iter().enumerate() {
            let duty = orders.of(&self.config.name, &member.config.id).duty;
            self.apply(index, Event::Ordered(duty), now);
        }
    }

    /// Chooses a backend that is not among `tried` and counts it as in flight.
    pub(crate) fn choose(&self, tried: &[usize], now: Instant) -> Result<Chosen, NoBackend> {
        let now_ms = self.millis(now);
        let untried = |index: &usize| !tried.contains(index);
        let available = |index: &usize| self.backends[*index].is_available(now_ms);
        // Trials lost to other requests; looked at once each, so that the search ends.
        let mut lost = Vec::new();
        while let Some(index) = self.pick(|index| untried(index) && !lost.contains(index) && available(index))
        {
            let is_trial = self.backends[index].needs_trial(now_ms);
            if !is_trial || self.apply(index, Event::TrialBegan, now).is_some() {
                return Ok(self.chosen(index, is_trial, false));
            }
            lost.push(index);
        }
        if !(0..self.backends.len()).any(|index| untried(&index)) {
            return Err(NoBackend::AllTried);
        }
        if !self.config.fail_open {
            return Err(NoBackend::NoneAvailable);
        }
        // Better a backend that may be broken than a certain refusal (Envoy's panic mode).
        let in_service = |index: &usize| untried(index) && !self.backends[*index].is_out();
        let index = self.pick(in_service).ok_or(NoBackend::NoneAvailable)?;
        self.metrics.fail_open.inc();
        Ok(self.chosen(index, false, true))
    }

    /// How many backends a further attempt could go to: those available, and all of them when the pool fails
    /// open and `despite_doubt` says that anything is better than what there is.
    pub(crate) fn n_untried(&self, tried: &[usize], now: Instant, despite_doubt: bool) -> usize {
        let now_ms = self.millis(now);
        let doubtful = despite_doubt && self.config.fail_open;
        let backends = self.backends.iter().enumerate();
        let wanted = |(index, backend): &(usize, &Member)| {
            !tried.contains(index) && (doubtful && !backend.is_out() || backend.is_available(now_ms))
        };
        backends.filter(wanted).count()
    }

    /// Takes in what happened to a backend; the only door to its availability.
    ///
    /// Returns what changed; every change is logged and counted here.
    pub(crate) fn apply(&self, index: usize, event: Event, now: Instant) -> Option<Change> {
        let _turn = self.turn();
        let member = &self.backends[index];
        let now_ms = self.millis(now);
        let others = self.backends.iter().enumerate();
        let limits = Limits {
            fall: self.config.probe.fall,
            rise: self.config.probe.rise,
            outlier: member.config.outlier,
            others_available: others.filter(|(other, b)| *other != index && b.is_available(now_ms)).count(),
        };
        let mut facts = lock(&member.facts);
        let change = facts.apply(event, now, &limits);
        member.publish(self.blocked(&facts));
        drop(facts);
        if let Some(change) = change {
            self.announce(member, change);
        }
        change
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

    fn pick(&self, wanted: impl Fn(&usize) -> bool) -> Option<usize> {
        let candidate = |index: usize| {
            let backend = &self.backends[index];
            wanted(&index).then(|| Candidate {
                index,
                in_flight: backend.in_flight(),
                weight: backend.weight,
            })
        };
        balance::pick(self.config.balance, self.backends.len(), candidate, random())
    }

    fn chosen(&self, index: usize, is_trial: bool, is_fail_open: bool) -> Chosen {
        Chosen { lease: Backend::lease(&self.backends[index].backend, index), is_trial, is_fail_open }
    }

    fn announce(&self, backend: &Backend, change: Change) {
        let (upstream, id) = (self.config.name.as_str(), backend.id.as_str());
        backend.metrics.up.set(i64::from(backend.is_available(self.millis(Instant::now()))));
        match change {
            Change::Down => tracing::warn!(upstream, backend = id, cause = "probe", "backend is down"),
            Change::Up => tracing::info!(upstream, backend = id, cause = "probe", "backend is up"),
            Change::Ejected => {
                tracing::warn!(upstream, backend = id, cause = "outlier", "backend is ejected");
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

    /// Milliseconds since the pool was made, from 1: what the backends publish.
    fn millis(&self, at: Instant) -> u64 {
        let since: Duration = at.saturating_duration_since(self.clock.started);
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
