//! Declares what is counted of reads and the servers that answer them.

use std::time::Duration;

use cirque_shared::metrics::{Counter, CounterFamily, FloatGaugeFamily, Gauge, GaugeFamily, Registry};

/// What a replica may be: read from, the primary, or not read from for a reason.
const STATES: [&str; 7] =
    ["admitted", "primary", "lagging", "unreachable", "slow", "diverged", "not_a_replica"];

/// Reads by who answered, and the state of the replicas. Only sites with several servers have values here.
#[derive(Clone, Debug)]
pub struct ReplicaMetrics {
    reads: CounterFamily,
    waits: CounterFamily,
    ejections: CounterFamily,
    states: GaugeFamily,
    lag_seconds: FloatGaugeFamily,
    lag_bytes: GaugeFamily,
    /// Reads that found no room on the primary.
    pub fallback_refused: Counter,
    /// Whether anybody takes writes: 1 or 0.
    pub has_primary: Gauge,
}

impl ReplicaMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let has_primary =
            registry.gauge("database_has_primary", "Whether any database server takes writes: 1 or 0.");
        has_primary.set(1);
        Self {
            reads: registry.counters(
                "database_reads_total",
                "Reads where replicas are, by who answered and why.",
                &["target", "reason"],
            ),
            waits: registry.counters(
                "database_replica_waits_total",
                "Reads that waited for a replica to have their caller's writes, by what came of it.",
                &["outcome"],
            ),
            ejections: registry.counters(
                "database_replica_ejections_total",
                "How often a replica was taken out of reading, by reason.",
                &["server", "reason"],
            ),
            states: registry.gauges(
                "database_replica_state",
                "1 for the state that a replica is in: admitted, primary, or why it is not read from.",
                &["server", "state"],
            ),
            lag_seconds: registry.floats(
                "database_replica_lag_seconds",
                "For how long a replica has lacked something that the primary has.",
                &["server"],
            ),
            lag_bytes: registry.gauges(
                "database_replica_lag_bytes",
                "Bytes of the primary's log that a replica has not replayed.",
                &["server"],
            ),
            fallback_refused: registry.counter(
                "database_fallback_refused_total",
                "Reads that no replica could answer, and that found no room on the primary in time.",
            ),
            has_primary,
        }
    }

    /// A replica answered; `has_place` when the read had to see a given place.
    pub fn read_from_replica(&self, has_place: bool) {
        self.reads.with(&["replica", if has_place { "position" } else { "any" }]).inc();
    }

    /// The primary answers, for this reason.
    pub fn read_from_primary(&self, reason: &str) {
        self.reads.with(&["primary", reason]).inc();
    }

    /// The latest there is was asked for, of the primary or of the best replica.
    pub fn asked_for_latest(&self, of_primary: bool) {
        self.reads.with(&[if of_primary { "primary" } else { "replica" }, "latest"]).inc();
    }

    /// A read waited for a replica.
    pub fn waited(&self, has_come: bool) {
        self.waits.with(&[if has_come { "reached" } else { "given_up" }]).inc();
    }

    /// A replica was taken out.
    pub fn ejected(&self, server: &str, reason: &str) {
        self.ejections.with(&[server, reason]).inc();
    }

    /// A replica is read from, or not for a reason.
    pub fn stands(&self, server: &str, reason: Option<&str>) {
        self.is_in(server, reason.unwrap_or("admitted"));
    }

    /// One of the servers to read from is the primary.
    pub fn is_primary(&self, server: &str) {
        self.is_in(server, "primary");
        self.lags(server, Some(Duration::ZERO), Some(0));
    }

    fn is_in(&self, server: &str, state: &str) {
        for each in STATES {
            self.states.with(&[server, each]).set(i64::from(each == state));
        }
    }

    /// How far behind a replica is, as far as that is known.
    pub fn lags(&self, server: &str, time: Option<Duration>, bytes: Option<u64>) {
        if let Some(time) = time {
            self.lag_seconds.with(&[server]).set(time.as_secs_f64());
        }
        if let Some(bytes) = bytes {
            self.lag_bytes.with(&[server]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}
