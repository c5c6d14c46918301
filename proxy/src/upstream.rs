//! A named pool of backends: who is available, who is asked next, and the one place where that changes.

pub(crate) mod availability;
pub(crate) mod backend;
pub(crate) mod health;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cirque_shared::request_id::random;
use tokio::time::Instant;

use crate::balance::{self, Candidate};
use crate::config;
use crate::metrics::UpstreamMetrics;
use availability::{Availability, Change, Event, Limits};
use backend::{Backend, Lease};

/// A pool, and the only writer of its backends' availability.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) config: config::Upstream,
    pub(crate) backends: Vec<std::sync::Arc<Backend>>,
    pub(crate) metrics: UpstreamMetrics,
    facts: Mutex<Vec<Availability>>,
    started: Instant,
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
    /// A pool in which every backend is available until shown otherwise.
    pub(crate) fn new(config: config::Upstream, metrics: &crate::metrics::Metrics) -> Self {
        let backends: Vec<_> = config
            .backends
            .iter()
            .map(|backend| {
                std::sync::Arc::new(Backend::new(backend.clone(), metrics.backend(&config.name, &backend.id)))
            })
            .collect();
        let facts = Mutex::new(backends.iter().map(|_| Availability::default()).collect());
        let metrics = metrics.upstream(&config.name);
        Self { config, backends, metrics, facts, started: Instant::now() }
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
        let index = self.pick(untried).ok_or(NoBackend::AllTried)?;
        self.metrics.fail_open.inc();
        Ok(self.chosen(index, false, true))
    }

    /// How many backends a further attempt could go to: those available, and all of them when the pool fails
    /// open and `despite_doubt` says that anything is better than what there is.
    pub(crate) fn n_untried(&self, tried: &[usize], now: Instant, despite_doubt: bool) -> usize {
        let now_ms = self.millis(now);
        let doubtful = despite_doubt && self.config.fail_open;
        let backends = self.backends.iter().enumerate();
        let wanted = |(index, backend): &(usize, &std::sync::Arc<Backend>)| {
            !tried.contains(index) && (doubtful || backend.is_available(now_ms))
        };
        backends.filter(wanted).count()
    }

    /// Takes in what happened to a backend; the only door to its availability.
    ///
    /// Returns what changed; every change is logged and counted here.
    pub(crate) fn apply(&self, index: usize, event: Event, now: Instant) -> Option<Change> {
        let mut facts = self.lock();
        let backend = &self.backends[index];
        let now_ms = self.millis(now);
        let others = self.backends.iter().enumerate();
        let limits = Limits {
            fall: self.config.probe.fall,
            rise: self.config.probe.rise,
            outlier: backend.config.outlier,
            others_available: others.filter(|(other, b)| *other != index && b.is_available(now_ms)).count(),
        };
        let change = facts[index].apply(event, now, &limits);
        // Rounded up: nobody may think it is time before it is.
        let blocked_until =
            facts[index].blocked_until().map(|until| until.map(|until| self.millis(until) + 1));
        backend.publish(blocked_until);
        if let Some(change) = change {
            self.announce(backend, change);
        }
        change
    }

    /// A backend's facts, for the admin interface.
    pub(crate) fn facts(&self, index: usize) -> Availability {
        self.lock()[index].clone()
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
                weight: backend.config.weight,
            })
        };
        balance::pick(self.config.balance, self.backends.len(), candidate, random())
    }

    fn chosen(&self, index: usize, is_trial: bool, is_fail_open: bool) -> Chosen {
        Chosen { lease: Backend::lease(&self.backends[index], index), is_trial, is_fail_open }
    }

    fn announce(&self, backend: &Backend, change: Change) {
        let (upstream, id) = (self.config.name.as_str(), backend.config.id.as_str());
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
            Change::TrialBegan | Change::TrialAbandoned => return,
        }
        backend.metrics.transition(change.name());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Availability>> {
        // Nothing under the lock can leave the facts half written.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the pool was made, from 1: what the backends publish.
    fn millis(&self, at: Instant) -> u64 {
        let since: Duration = at.saturating_duration_since(self.started);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 2) + 1
    }
}

#[cfg(test)]
mod tests;
