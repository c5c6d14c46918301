//! What a supervisor counts of the processes that serve its node.

use cirque_shared::metrics::{Counter, CounterFamily, GaugeFamily, Registry, process};

/// The metrics of one supervisor.
#[derive(Debug)]
pub struct ProcessMetrics {
    registry: Registry,
    processes: GaugeFamily,
    /// Processes that were started.
    pub starts: Counter,
    exits: CounterFamily,
    reloads: CounterFamily,
}

/// How many processes there are, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Not ready yet, or waiting for the others to be.
    pub starting: i64,
    /// Accepting connections.
    pub serving: i64,
    /// Finishing what they hold.
    pub leaving: i64,
}

impl ProcessMetrics {
    /// Declares them.
    pub fn new() -> Self {
        let registry = Registry::new();
        process::declare(&registry, "app", env!("CARGO_PKG_VERSION"));
        Self {
            processes: registry.gauges(
                "app_processes",
                "Processes that serve the node, by what they do.",
                &["state"],
            ),
            starts: registry.counter("app_process_starts_total", "Processes that were started."),
            exits: registry.counters(
                "app_process_exits_total",
                "Processes that ended, by reason.",
                &["reason"],
            ),
            reloads: registry.counters(
                "app_reloads_total",
                "Configurations that were read again, by what came of it.",
                &["result"],
            ),
            registry,
        }
    }

    /// Notes how many there are.
    pub fn observe(&self, census: Census) {
        let states =
            [("starting", census.starting), ("serving", census.serving), ("leaving", census.leaving)];
        states.iter().for_each(|(state, count)| self.processes.with(&[state]).set(*count));
    }

    /// One ended, for this reason.
    pub fn ended(&self, reason: &str) {
        self.exits.with(&[reason]).inc();
    }

    /// A configuration was put to work, or refused.
    pub fn reloaded(&self, is_at_work: bool) {
        self.reloads.with(&[if is_at_work { "ok" } else { "refused" }]).inc();
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> String {
        self.registry.text()
    }
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        Self::new()
    }
}
