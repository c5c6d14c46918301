//! Declares what is counted of Redis: what it was asked for, what came of it, and how it stands.

use std::time::Duration;

use cirque_shared::metrics::{Counter, CounterFamily, Gauge, GaugeFamily, HistogramFamily, Registry};

/// Upper bounds in seconds: an answer takes less than a millisecond, and is not waited for longer than a moment.
const BUCKETS: &[f64] = &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// What is counted of Redis; shown only where there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisMetrics {
    commands: CounterFamily,
    duration: HistogramFamily,
    state: GaugeFamily,
    transitions: CounterFamily,
    /// Connections that were made, in place of lost ones too.
    pub connections: Counter,
    /// Whether it answers, quickly enough to be asked: 1 or 0.
    pub up: Gauge,
}

impl RedisMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        Self {
            commands: registry.counters(
                "redis_commands_total",
                "Commands for Redis, by what they were for and what came of them; skipped ones were not sent.",
                &["use", "outcome"],
            ),
            duration: registry.histograms(
                "redis_command_duration_seconds",
                "How long Redis took to answer.",
                &["use"],
                BUCKETS,
            ),
            state: registry.gauges("redis_state", "How Redis stands: 1 for the state it is in.", &["state"]),
            transitions: registry.counters(
                "redis_transitions_total",
                "How often Redis came into a state, and why.",
                &["to", "reason"],
            ),
            connections: registry.counter("redis_connections_total", "Connections that were made to Redis."),
            up: registry.gauge("redis_up", "Whether Redis is asked: 1, or 0 while it is slow or down."),
        }
    }

    /// Counts a command that was answered, or not.
    pub fn asked(&self, purpose: &str, outcome: &str, took: Duration) {
        self.commands.with(&[purpose, outcome]).inc();
        self.duration.with(&[purpose]).observe(took);
    }

    /// Counts a command that was not sent.
    pub fn skipped(&self, purpose: &str) {
        self.commands.with(&[purpose, "skipped"]).inc();
    }

    /// Notes how it stands.
    pub fn stands(&self, states: &[&str], state: &str) {
        for other in states {
            self.state.with(&[other]).set(i64::from(*other == state));
        }
        self.up.set(i64::from(state == "up"));
    }

    /// Counts a transition.
    pub fn turned(&self, to: &str, reason: &str) {
        self.transitions.with(&[to, reason]).inc();
    }
}

/// What is counted of the answers that the nodes keep together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedCacheMetrics {
    /// Taken from there.
    pub hit: Counter,
    /// Not there, or not good any more.
    pub miss: Counter,
    /// Not looked for, because Redis was not asked.
    pub away: Counter,
    /// Taken from there after another node made it.
    pub waited: Counter,
    /// Made here too, because the node whose turn it was took too long.
    pub impatient: Counter,
    /// Put there.
    pub kept: Counter,
    /// Not put there, because it was too large.
    pub too_large: Counter,
}

impl SharedCacheMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let requests = registry.counters(
            "cache_shared_total",
            "Answers looked for in Redis (hit, miss, away, waited, impatient) and put there (kept, too_large).",
            &["result"],
        );
        Self {
            hit: requests.with(&["hit"]),
            miss: requests.with(&["miss"]),
            away: requests.with(&["away"]),
            waited: requests.with(&["waited"]),
            impatient: requests.with(&["impatient"]),
            kept: requests.with(&["kept"]),
            too_large: requests.with(&["too_large"]),
        }
    }
}
