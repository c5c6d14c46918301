//! The metrics of what happens within a pool of backends: room, states, ejections, backups.

use std::collections::HashMap;

use cirque_shared::metrics::{
    Counter, CounterFamily, DURATION_BUCKETS, Gauge, GaugeFamily, Histogram, HistogramFamily, Registry,
};

/// What a backend may be shown as; a test compares with [`crate::upstream`]'s.
pub(crate) const STATES: [&str; 7] =
    ["up", "checking", "slow_start", "down", "ejected", "draining", "maintenance"];

/// Why a backend may be ejected; a test compares with [`crate::upstream`]'s.
pub(crate) const EJECTIONS: [&str; 4] =
    ["max_fails", "consecutive_faults", "consecutive_errors", "failure_ratio"];

/// What a connection to a backend may be.
const CONNECTIONS: [&str; 2] = ["active", "idle"];

const POOL: &[&str] = &["upstream"];

/// The families.
#[derive(Clone, Debug)]
pub(super) struct Families {
    queue_length: GaugeFamily,
    queue_wait: HistogramFamily,
    queue_overflow: CounterFamily,
    queue_timeouts: CounterFamily,
    no_backend: CounterFamily,
    fail_open: CounterFamily,
    backups: CounterFamily,
    retry_success: CounterFamily,
    backup_active: GaugeFamily,
    panic: GaugeFamily,
    backends: GaugeFamily,
    states: GaugeFamily,
    weights: GaugeFamily,
    ejections: CounterFamily,
    shadowed: CounterFamily,
    spared: CounterFamily,
    connections: GaugeFamily,
}

/// One pool's series.
#[derive(Debug)]
pub(crate) struct PoolSeries {
    pub(crate) queue_length: Gauge,
    pub(crate) queue_wait: Histogram,
    pub(crate) queue_overflow: Counter,
    pub(crate) queue_timeouts: Counter,
    pub(crate) no_backend: Counter,
    pub(crate) fail_open: Counter,
    pub(crate) backups: Counter,
    /// Requests that were answered well by a later attempt than the first.
    pub(crate) retry_success: Counter,
    backup_active: Gauge,
    panic: Gauge,
    backends: HashMap<&'static str, Gauge>,
}

/// One backend's series.
#[derive(Debug)]
pub(crate) struct MemberSeries {
    states: HashMap<&'static str, Gauge>,
    configured: Gauge,
    effective: Gauge,
    ejections: HashMap<&'static str, Counter>,
    shadowed: HashMap<&'static str, Counter>,
    spared: HashMap<&'static str, Counter>,
    /// Connections that requests use now, and idle ones.
    connections: [Gauge; 2],
}

impl Families {
    /// Declares everything.
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, help, labels: &[&str]| registry.counters(name, help, labels);
        let gauges = |name, help, labels: &[&str]| registry.gauges(name, help, labels);
        let [ejections, shadowed, spared] = ejections(registry);
        Self {
            queue_length: gauges("proxy_queue_length", "Requests that wait for a backend with room.", POOL),
            queue_wait: registry.histograms(
                "proxy_queue_wait_seconds",
                "How long requests waited for a backend with room, of those that got one.",
                POOL,
                DURATION_BUCKETS,
            ),
            queue_overflow: counters(
                "proxy_queue_overflow_total",
                "Requests refused because too many wait for a backend with room.",
                POOL,
            ),
            queue_timeouts: counters(
                "proxy_queue_timeouts_total",
                "Requests refused because no backend had room in time.",
                POOL,
            ),
            no_backend: counters("proxy_no_backend_total", "Attempts that found no backend available.", POOL),
            fail_open: counters(
                "proxy_fail_open_total",
                "Attempts at a backend that was not available, because none was.",
                POOL,
            ),
            backups: counters("proxy_backup_requests_total", "Attempts that went to a backup.", POOL),
            retry_success: counters(
                "proxy_retry_success_total",
                "Requests that a later attempt than the first answered well.",
                POOL,
            ),
            backup_active: gauges(
                "proxy_upstream_backup_active",
                "Whether only backups are available: 1 or 0.",
                POOL,
            ),
            panic: gauges(
                "proxy_upstream_panic",
                "Whether nothing is available and everything is tried: 1 or 0.",
                POOL,
            ),
            backends: gauges(
                "proxy_upstream_backends",
                "Backends of an upstream, by state.",
                &["upstream", "state"],
            ),
            states: gauges(
                "proxy_backend_state",
                "The state of a backend: 1 for the one that it is in.",
                &["upstream", "backend", "state"],
            ),
            weights: gauges(
                "proxy_upstream_weight",
                "A backend's weight: as configured or ordered, and as it counts now, in thousandths.",
                &["upstream", "backend", "kind"],
            ),
            ejections,
            shadowed,
            spared,
            connections: gauges(
                "proxy_upstream_connections",
                "Connections to a backend that our own path has: in use by requests, and idle.",
                &["upstream", "backend", "state"],
            ),
        }
    }

    /// The series of one pool, from zero.
    pub(super) fn pool(&self, upstream: &str) -> PoolSeries {
        let labels = [upstream];
        PoolSeries {
            queue_length: self.queue_length.with(&labels),
            queue_wait: self.queue_wait.with(&labels),
            queue_overflow: self.queue_overflow.with(&labels),
            queue_timeouts: self.queue_timeouts.with(&labels),
            no_backend: self.no_backend.with(&labels),
            fail_open: self.fail_open.with(&labels),
            backups: self.backups.with(&labels),
            retry_success: self.retry_success.with(&labels),
            backup_active: self.backup_active.with(&labels),
            panic: self.panic.with(&labels),
            backends: STATES.iter().map(|state| (*state, self.backends.with(&[upstream, state]))).collect(),
        }
    }

    /// The series of one backend, from zero.
    pub(super) fn member(&self, upstream: &str, backend: &str) -> MemberSeries {
        let counters = |family: &CounterFamily| {
            EJECTIONS.iter().map(|reason| (*reason, family.with(&[upstream, backend, reason]))).collect()
        };
        let state = |state: &&'static str| (*state, self.states.with(&[upstream, backend, state]));
        MemberSeries {
            states: STATES.iter().map(state).collect(),
            configured: self.weights.with(&[upstream, backend, "configured"]),
            effective: self.weights.with(&[upstream, backend, "effective"]),
            ejections: counters(&self.ejections),
            shadowed: counters(&self.shadowed),
            spared: counters(&self.spared),
            connections: CONNECTIONS.map(|state| self.connections.with(&[upstream, backend, state])),
        }
    }

    /// Ends the series of a pool.
    pub(super) fn retire_pool(&self, upstream: &str) {
        let labels = [upstream];
        for family in [&self.queue_length, &self.backup_active, &self.panic] {
            family.remove(&labels);
        }
        self.retry_success.remove(&labels);
        self.fail_open.remove(&labels);
        for family in [&self.queue_overflow, &self.queue_timeouts, &self.no_backend, &self.backups] {
            family.remove(&labels);
        }
        self.queue_wait.remove(&labels);
        for state in STATES {
            self.backends.remove(&[upstream, state]);
        }
    }

    /// Ends the series of a backend.
    pub(super) fn retire_member(&self, upstream: &str, backend: &str) {
        for state in STATES {
            self.states.remove(&[upstream, backend, state]);
        }
        for state in CONNECTIONS {
            self.connections.remove(&[upstream, backend, state]);
        }
        for kind in ["configured", "effective"] {
            self.weights.remove(&[upstream, backend, kind]);
        }
        for reason in EJECTIONS {
            self.ejections.remove(&[upstream, backend, reason]);
            self.shadowed.remove(&[upstream, backend, reason]);
            self.spared.remove(&[upstream, backend, reason]);
        }
    }
}

/// Ejections that happened, that would have, and that were spared.
fn ejections(registry: &Registry) -> [CounterFamily; 3] {
    [
        ("proxy_upstream_ejections_total", "Backends ejected for their failed attempts, by reason."),
        ("proxy_upstream_ejections_shadow_total", "Backends that would have been ejected, by reason."),
        (
            "proxy_upstream_ejections_spared_total",
            "Backends that were not ejected because as many as may be were out, by reason.",
        ),
    ]
    .map(|(name, help)| registry.counters(name, help, &["upstream", "backend", "reason"]))
}

impl PoolSeries {
    /// Shows how many backends are in each state, by name, and what the pool lives on.
    pub(crate) fn show(&self, counts: &[(&'static str, i64)], is_on_backups: bool, is_panicking: bool) {
        for (state, count) in counts {
            if let Some(gauge) = self.backends.get(state) {
                gauge.set(*count);
            }
        }
        self.backup_active.set(i64::from(is_on_backups));
        self.panic.set(i64::from(is_panicking));
    }
}

impl MemberSeries {
    /// Shows the state by its name, and the weight as ordered and as it counts, in thousandths.
    pub(crate) fn show(&self, state: &'static str, weight: u32, effective: u32) {
        for (name, gauge) in &self.states {
            gauge.set(i64::from(*name == state));
        }
        self.configured.set(i64::from(weight) * 1000);
        self.effective.set(i64::from(effective));
    }

    /// Shows how many connections requests use, and how many are idle.
    pub(crate) fn connected(&self, active: u32, idle: usize) {
        self.connections[0].set(i64::from(active));
        self.connections[1].set(i64::try_from(idle).unwrap_or(i64::MAX));
    }

    /// Counts an ejection; `is_shadow`: one that only would have been.
    pub(crate) fn ejected(&self, reason: &str, is_shadow: bool) {
        let series = if is_shadow { &self.shadowed } else { &self.ejections };
        super::count(series, reason);
    }

    /// Counts an ejection that did not happen because too many were out.
    pub(crate) fn spared(&self, reason: &str) {
        super::count(&self.spared, reason);
    }
}
