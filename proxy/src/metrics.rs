//! Every metric of the edge, declared once: name, help and labels.

pub(crate) mod client;
pub(crate) mod pool;
pub(crate) mod route;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cirque_shared::metrics::http::HttpMetrics;
use cirque_shared::metrics::{
    Counter, CounterFamily, DURATION_BUCKETS, Gauge, GaugeFamily, Histogram, HistogramFamily, Reading,
    Registry,
};

use sha2::{Digest as _, Sha256};

use crate::retry::{Failure, GiveUp};

use client::ClientMetrics;
use pool::{Families, MemberSeries, PoolSeries};
use route::RouteSeries;

/// What a probe may come to; a test compares with [`crate::upstream`]'s.
pub(crate) const PROBES: [&str; 6] = ["success", "connect", "timeout", "broken", "status", "body"];

/// What a backend may change to, and by whose word; a test compares with [`crate::upstream`]'s.
pub(crate) const TRANSITIONS: [(&str, &str); 7] = [
    ("up", "probe"),
    ("down", "probe"),
    ("ejected", "outlier"),
    ("admitted", "outlier"),
    ("active", "operator"),
    ("draining", "operator"),
    ("maintenance", "operator"),
];

/// Which ways a change of the configuration may come; a test compares with [`crate::control`]'s.
pub(crate) const SOURCES: [&str; 2] = ["signal", "api"];

/// The families of the edge.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) http: HttpMetrics,
    pub(crate) registry: Registry,
    routes: route::Families,
    connect_seconds: HistogramFamily,
    reuses: CounterFamily,
    pub(crate) access_log_dropped: Counter,
    pub(crate) client: ClientMetrics,
    pub(crate) reloads: Reloads,
    attempts: CounterFamily,
    attempt_seconds: HistogramFamily,
    attempt_failures: CounterFamily,
    in_flight: GaugeFamily,
    up: GaugeFamily,
    transitions: CounterFamily,
    probes: CounterFamily,
    probe_seconds: HistogramFamily,
    retries: CounterFamily,
    retries_denied: CounterFamily,
    pool: Families,
}

/// Changes of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Reloads {
    /// By source, applied and refused.
    counts: Vec<(&'static str, [Counter; 2])>,
    last_successful: Gauge,
    last_success: Gauge,
    info: GaugeFamily,
}

/// One upstream's series.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    name: String,
    pool: PoolSeries,
    retries: HashMap<&'static str, Counter>,
    denied: HashMap<&'static str, Counter>,
}

/// One backend's series.
#[derive(Debug)]
pub(crate) struct BackendMetrics {
    pub(crate) in_flight: Gauge,
    pub(crate) up: Gauge,
    labels: [String; 2],
    attempts: CounterFamily,
    attempts_ok: Counter,
    answer: Histogram,
    connect: Histogram,
    pub(crate) reuses: Counter,
    failures: HashMap<&'static str, Counter>,
    transitions: HashMap<&'static str, Counter>,
    probes: HashMap<&'static str, Counter>,
    probe_seconds: Histogram,
    pub(crate) member: MemberSeries,
    is_retired: AtomicBool,
}

impl Metrics {
    /// Declares everything.
    pub(crate) fn new(registry: &Registry) -> Self {
        const BACKEND: &[&str] = &["upstream", "backend"];
        let counters = |name, help, labels: &[&str]| registry.counters(name, help, labels);
        let (connect_seconds, reuses) = connections(registry, BACKEND);
        Self {
            http: HttpMetrics::new(registry),
            registry: registry.clone(),
            routes: route::Families::new(registry),
            connect_seconds,
            reuses,
            access_log_dropped: registry.counter(
                "proxy_access_log_dropped_total",
                "Access lines given up because their destination was too slow.",
            ),
            client: ClientMetrics::new(registry),
            reloads: reloads(registry),
            attempts: counters(
                "proxy_upstream_requests_total",
                "Attempts that a backend answered, by status.",
                &["upstream", "backend", "code"],
            ),
            attempt_seconds: registry.histograms(
                "proxy_upstream_response_seconds",
                "Time from choosing a backend to the head of its answer.",
                BACKEND,
                DURATION_BUCKETS,
            ),
            attempt_failures: counters(
                "proxy_upstream_errors_total",
                "Attempts that failed, by reason.",
                &["upstream", "backend", "reason"],
            ),
            in_flight: registry.gauges(
                "proxy_upstream_in_flight",
                "Attempts that a backend is working on.",
                BACKEND,
            ),
            up: registry.gauges(
                "proxy_backend_up",
                "Whether a backend may receive requests: 1 or 0.",
                BACKEND,
            ),
            transitions: counters(
                "proxy_backend_transitions_total",
                "Changes of a backend's availability, and whose word they were.",
                &["upstream", "backend", "to", "cause"],
            ),
            probes: counters(
                "proxy_probes_total",
                "Active probes, by result.",
                &["upstream", "backend", "result"],
            ),
            probe_seconds: registry.histograms(
                "proxy_probe_duration_seconds",
                "Time of a probe.",
                BACKEND,
                DURATION_BUCKETS,
            ),
            retries: counters(
                "proxy_retries_total",
                "Attempts after the first, by what failed before.",
                &["upstream", "reason"],
            ),
            retries_denied: counters(
                "proxy_retries_denied_total",
                "Failed attempts that were not tried again, by reason.",
                &["upstream", "reason"],
            ),
            pool: Families::new(registry),
        }
    }

    /// The series of one upstream, from zero.
    pub(crate) fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        let by_reason =
            |family: &CounterFamily, reason: &'static str| (reason, family.with(&[upstream, reason]));
        UpstreamMetrics {
            name: upstream.to_owned(),
            pool: self.pool.pool(upstream),
            retries: Failure::REASONS.iter().map(|reason| by_reason(&self.retries, reason)).collect(),
            denied: GiveUp::ALL.iter().map(|why| by_reason(&self.retries_denied, why.reason())).collect(),
        }
    }

    /// The series of one backend, from zero.
    pub(crate) fn backend(&self, upstream: &str, backend: &str) -> BackendMetrics {
        let labels = [upstream, backend];
        let named = |family: &CounterFamily, names: &[&'static str]| {
            names.iter().map(|name| (*name, family.with(&[upstream, backend, name]))).collect()
        };
        BackendMetrics {
            in_flight: self.in_flight.with(&labels),
            up: self.up.with(&labels),
            attempts: self.attempts.clone(),
            attempts_ok: self.attempts.with(&[upstream, backend, "200"]),
            answer: self.attempt_seconds.with(&labels),
            failures: named(&self.attempt_failures, &Failure::REASONS),
            transitions: TRANSITIONS
                .iter()
                .map(|(to, cause)| (*to, self.transitions.with(&[upstream, backend, to, cause])))
                .collect(),
            connect: self.connect_seconds.with(&labels),
            reuses: self.reuses.with(&labels),
            probes: named(&self.probes, &PROBES),
            probe_seconds: self.probe_seconds.with(&labels),
            member: self.pool.member(upstream, backend),
            labels: labels.map(str::to_owned),
            is_retired: AtomicBool::new(false),
        }
    }

    /// Ends the series of an upstream that is gone; those of its backends end with them.
    pub(crate) fn retire_upstream(&self, gone: &UpstreamMetrics) {
        let upstream: &[(&str, &str)] = &[("upstream", &gone.name)];
        self.retries.remove_where(upstream);
        self.retries_denied.remove_where(upstream);
        self.pool.retire_pool(&gone.name);
    }

    /// Ends the series of a backend that is gone.
    pub(crate) fn retire_backend(&self, gone: &BackendMetrics) {
        gone.is_retired.store(true, Ordering::Release);
        let [upstream, backend] = &gone.labels;
        self.pool.retire_member(upstream, backend);
        for family in [&self.attempts, &self.attempt_failures, &self.transitions, &self.probes, &self.reuses]
        {
            family.remove_where(&[("upstream", upstream), ("backend", backend)]);
        }
        for family in [&self.in_flight, &self.up] {
            family.remove(&[upstream, backend]);
        }
        for family in [&self.attempt_seconds, &self.probe_seconds, &self.connect_seconds] {
            family.remove(&[upstream, backend]);
        }
    }

    /// The series of one route, from zero.
    pub(crate) fn route(&self, route: &str) -> RouteSeries {
        self.routes.route(&self.http, route)
    }
}

impl Reloads {
    /// Counts a change that was asked for.
    pub(crate) fn count(&self, source: &str, is_applied: bool) {
        if let Some((_, counts)) = self.counts.iter().find(|(known, _)| *known == source) {
            counts[usize::from(!is_applied)].inc();
        }
        self.last_successful.set(i64::from(is_applied));
        if is_applied {
            self.succeeded();
        }
    }

    /// Shows which configuration is at work: its version in the history, and the first digits of its SHA-256.
    pub(crate) fn show(&self, version: u64, text: &str) {
        let sha: String = Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        self.info.remove_where(&[]);
        self.info.with(&[&version.to_string(), &sha]).set(1);
    }

    /// A configuration was put to work now.
    fn succeeded(&self) {
        self.last_success.set(time::OffsetDateTime::now_utc().unix_timestamp());
    }
}

impl std::ops::Deref for UpstreamMetrics {
    type Target = PoolSeries;

    fn deref(&self) -> &PoolSeries {
        &self.pool
    }
}

impl UpstreamMetrics {
    /// Counts a retry after this failure.
    pub(crate) fn retried(&self, failure: Failure) {
        count(&self.retries, failure.reason());
    }

    /// Counts a failure that was not retried.
    pub(crate) fn denied(&self, why: GiveUp) {
        count(&self.denied, why.reason());
    }
}

impl BackendMetrics {
    /// Counts an answer and the time to its head.
    pub(crate) fn answered(&self, status: u16, after: Duration) {
        if status == 200 {
            self.attempts_ok.inc();
        } else if self.is_retired.load(Ordering::Acquire) {
            // Its series are gone, and must not come back.
        } else if (100..600).contains(&status) {
            self.attempts.with(&[&self.labels[0], &self.labels[1], &status.to_string()]).inc();
        } else {
            self.attempts.with(&[&self.labels[0], &self.labels[1], "other"]).inc();
        }
        self.answer.observe(after);
    }

    /// Counts a failed attempt.
    pub(crate) fn failed(&self, failure: Failure) {
        count(&self.failures, failure.reason());
    }

    /// A new connection took so long.
    pub(crate) fn connected(&self, after: Duration) {
        self.connect.observe(after);
    }

    /// How many attempts were answered, how long the heads took, and how many attempts failed.
    pub(crate) fn so_far(&self) -> (Reading, u64) {
        (self.answer.read(), self.failures.values().map(Counter::get).sum())
    }

    /// Counts a change of availability.
    pub(crate) fn transition(&self, to: &'static str) {
        count(&self.transitions, to);
    }

    /// Counts a probe.
    pub(crate) fn probed(&self, result: &'static str, took: Duration) {
        count(&self.probes, result);
        self.probe_seconds.observe(took);
    }
}

/// The families of connections to backends: time to a new one, and reuse.
fn connections(registry: &Registry, labels: &[&str]) -> (HistogramFamily, CounterFamily) {
    let seconds = registry.histograms(
        "proxy_upstream_connect_seconds",
        "Time to a new connection to a backend, TLS included; failed ones are not in it.",
        labels,
        DURATION_BUCKETS,
    );
    let reuses = registry.counters(
        "proxy_upstream_connection_reuses_total",
        "Attempts that took an idle connection instead of a new one.",
        labels,
    );
    (seconds, reuses)
}

fn reloads(registry: &Registry) -> Reloads {
    let family = registry.counters(
        "proxy_config_reloads_total",
        "Changes of the configuration that were asked for, by the way they came and by result.",
        &["source", "result"],
    );
    let last_success = registry.gauge(
        "proxy_config_last_reload_success_timestamp_seconds",
        "When the configuration at work was put to work, in seconds since 1970.",
    );
    let last_successful = registry.gauge(
        "proxy_config_last_reload_successful",
        "Whether the last change that was asked for is at work: 1 or 0.",
    );
    last_successful.set(1);
    let of =
        |source: &'static str| (source, ["applied", "refused"].map(|result| family.with(&[source, result])));
    let info = registry.gauges(
        "proxy_config_info",
        "The configuration at work: its version in the history and its SHA-256; the value is always 1.",
        &["version", "sha"],
    );
    let reloads = Reloads { counts: SOURCES.map(of).into(), last_successful, last_success, info };
    // What an edge starts with is at work from then on.
    reloads.succeeded();
    reloads
}

fn count(series: &HashMap<&'static str, Counter>, name: &str) {
    if let Some(counter) = series.get(name) {
        counter.inc();
    }
}
