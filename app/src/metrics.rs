//! Declares every metric of the app tier, once.

mod processes;
mod queue;
mod ratio;
mod redis;
mod replicas;

use std::collections::HashMap;

use cirque_shared::metrics::http::{HttpMetrics, NO_ROUTE, RouteMetrics};
use cirque_shared::metrics::{Counter, DURATION_BUCKETS, Gauge, GaugeFamily, Histogram, Registry, process};
use tokio::time::Instant;

use ratio::Ratio;

pub use self::processes::{Census, ProcessMetrics};
pub use self::queue::{Numbers as QueueNumbers, QueueMetrics};
pub use self::redis::{RedisMetrics, SharedCacheMetrics};
pub use self::replicas::ReplicaMetrics;

/// The metrics of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests as clients saw them.
    pub http: HttpMetrics,
    /// Connections.
    pub connections: ConnectionMetrics,
    /// Handlers that panicked; each was answered with 500.
    pub panics: Counter,
    /// Requests that ran longer than `max_execution_time`.
    pub overruns: Counter,
    /// Whether the database answered when it was last looked at: 1 or 0.
    pub database_up: Gauge,
    routes: HashMap<&'static str, RouteMetrics>,
    unmatched: RouteMetrics,
    memory: Gauge,
}

/// The connections of clients.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Open now.
    pub open: Gauge,
    /// Closed because a request head took too long.
    pub slow_heads: Counter,
    /// Closed because a client did not take its answer.
    pub slow_readers: Counter,
    /// Cut at the end of the grace period.
    pub cut: Counter,
}

/// What is answered from memory.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    /// From memory.
    pub hit: Counter,
    /// Made for the request, or for one that waited beside it.
    pub miss: Counter,
    /// From memory, although it should have been made anew.
    pub stale: Counter,
    /// Neither looked for nor kept.
    pub bypass: Counter,
    /// Answers that were not made because another request made them.
    pub coalesced: Counter,
    /// Answers that are kept.
    pub entries: Gauge,
    /// Bytes they take.
    pub bytes: Gauge,
    ratio: Ratio,
}

impl CacheMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let requests = registry.counters(
            "cache_requests_total",
            "Requests that could be answered from memory, by what came of it; coalesced ones are a part of the misses.",
            &["result"],
        );
        Self {
            hit: requests.with(&["hit"]),
            miss: requests.with(&["miss"]),
            stale: requests.with(&["stale"]),
            bypass: requests.with(&["bypass"]),
            coalesced: requests.with(&["coalesced"]),
            entries: registry.gauge("cache_entries", "Answers that are kept in memory."),
            bytes: registry.gauge("cache_bytes", "Bytes that kept answers take."),
            ratio: Ratio::new(registry),
        }
    }

    /// Brings the share of answers from memory up to date.
    pub fn observe(&self) {
        let hits = self.hit.get() + self.stale.get();
        self.ratio.observe(hits, hits + self.miss.get(), Instant::now());
    }
}

/// What the database is asked.
#[derive(Debug)]
pub struct DatabaseMetrics {
    /// Statements for reading.
    pub reads: Counter,
    /// Statements for writing.
    pub writes: Counter,
    /// Questions for what has changed.
    pub watches: Counter,
    /// Statements that took longer than `slow_statement`.
    pub slow: Counter,
    /// Statements that were ended because nobody waited for them any more.
    pub abandoned: Counter,
    /// Reads by who answered, and the replicas.
    pub replicas: ReplicaMetrics,
    /// Time until there was a connection to read.
    pub read_wait: Histogram,
    /// Time until a transaction that writes had begun.
    pub write_wait: Histogram,
    connections: GaugeFamily,
    limits: GaugeFamily,
}

impl DatabaseMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let statements = registry.counters(
            "database_statements_total",
            "Statements sent to the database, by intent.",
            &["intent"],
        );
        let connections =
            registry.gauges("database_connections", "Connections to the database.", &["pool", "state"]);
        let waits = registry.histograms(
            "database_wait_seconds",
            "Time until there was a connection; for writing, until the transaction had begun.",
            &["pool"],
            DURATION_BUCKETS,
        );
        Self {
            reads: statements.with(&["read"]),
            writes: statements.with(&["write"]),
            watches: statements.with(&["watch"]),
            slow: registry.counter(
                "database_slow_statements_total",
                "Statements that took longer than slow_statement.",
            ),
            abandoned: registry.counter(
                "database_statements_abandoned_total",
                "Statements whose connection was closed because nobody waited for them any more.",
            ),
            replicas: ReplicaMetrics::new(registry),
            read_wait: waits.with(&["read"]),
            write_wait: waits.with(&["write"]),
            limits: registry.gauges(
                "database_connections_limit",
                "Connections that a pool may have to one server.",
                &["pool"],
            ),
            connections,
        }
    }

    /// Notes how many connections each pool may have to one server.
    pub fn limit_pools(&self, readers: u32, writers: u32) {
        self.limits.with(&["read"]).set(readers.into());
        self.limits.with(&["write"]).set(writers.into());
    }

    /// Notes how many connections a pool has, and how many of them are idle.
    pub fn observe_pool(&self, pool: &str, size: u32, idle: usize) {
        let size = i64::from(size);
        let idle = i64::try_from(idle).unwrap_or(size).min(size);
        self.connections.with(&[pool, "idle"]).set(idle);
        self.connections.with(&[pool, "used"]).set(size - idle);
    }
}

impl Metrics {
    /// Declares everything; `routes` are the templates that requests are counted under, and `guide_names` whether the
    /// guide's names are shown that Prometheus advises against.
    pub fn new(registry: Registry, routes: &[&'static str], guide_names: bool) -> Self {
        process::declare(&registry, "app", env!("CARGO_PKG_VERSION"));
        let http = HttpMetrics::new(&registry);
        if guide_names {
            http.also_in_milliseconds(&registry);
        }
        let closed = registry.counters(
            "app_connections_closed_total",
            "Connections we closed, by reason.",
            &["reason"],
        );
        let connections = ConnectionMetrics {
            open: registry.gauge("app_connections", "Connections open now."),
            slow_heads: closed.with(&["slow_head"]),
            slow_readers: closed.with(&["slow_reader"]),
            cut: closed.with(&["cut"]),
        };
        let database_up = registry.gauge(
            "app_database_up",
            "Whether the database answered when it was last looked at, and takes writes: 1 or 0.",
        );
        database_up.set(1);
        Self {
            database_up,
            panics: registry.counter("app_panics_total", "Requests whose handler panicked."),
            overruns: registry
                .counter("app_overruns_total", "Requests that ran longer than max_execution_time."),
            memory: registry.gauge("memory_usage_bytes", "Resident memory of the process."),
            routes: routes.iter().map(|route| (*route, http.route(route))).collect(),
            unmatched: http.route(NO_ROUTE),
            http,
            connections,
            registry,
        }
    }

    /// The series of a route template; unknown ones are counted together.
    pub fn route(&self, template: &str) -> &RouteMetrics {
        self.routes.get(template).unwrap_or(&self.unmatched)
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> String {
        self.observed().text()
    }

    /// Everything, brought up to date.
    pub fn observed(&self) -> &Registry {
        if let Some(bytes) = resident_bytes(std::process::id()) {
            self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        &self.registry
    }
}

/// `VmRSS` of a process; `None` where there is no such file, or process.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
