//! Declares what is counted of jobs: how many wait, how old they are, how they end.

use std::time::Duration;

use cirque_shared::metrics::{CounterFamily, Gauge, GaugeFamily, HistogramFamily, Registry};

/// Upper bounds in seconds: a job may take minutes.
const BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What is counted of jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    pending: GaugeFamily,
    delayed: GaugeFamily,
    running: GaugeFamily,
    buried: GaugeFamily,
    oldest: GaugeFamily,
    ended: CounterFamily,
    duration: HistogramFamily,
    /// Webhooks that were switched off after failing again and again.
    pub webhooks_disabled: Gauge,
}

/// What usually comes of a try.
const OUTCOMES: [&str; 5] = ["done", "failed", "buried", "put_off", "lost"];

/// One queue in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Jobs whose moment has come.
    pub pending: u64,
    /// Jobs whose moment is to come.
    pub delayed: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Jobs that a person should look at.
    pub buried: u64,
    /// For how long the oldest pending one could have been taken.
    pub oldest: Duration,
}

impl QueueMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        let gauges = |name, help| registry.gauges(name, help, &["queue"]);
        Self {
            pending: gauges(
                "queue_jobs_pending",
                "Jobs whose moment has come and that no worker has; the same on every node of a database.",
            ),
            delayed: gauges("queue_jobs_delayed", "Jobs whose moment is to come; the same on every node."),
            running: gauges("queue_jobs_running", "Jobs that a worker has; the same on every node."),
            buried: gauges(
                "queue_jobs_buried",
                "Jobs that are not tried again by themselves; the same on every node.",
            ),
            oldest: gauges(
                "queue_oldest_job_seconds",
                "For how long the oldest pending job could have been taken; the same on every node.",
            ),
            ended: registry.counters(
                "queue_jobs_total",
                "Tries of jobs by this process, by what came of them.",
                &["queue", "kind", "outcome"],
            ),
            duration: registry.histograms(
                "queue_job_duration_seconds",
                "How long tries of jobs took in this process.",
                &["queue", "kind"],
                BUCKETS,
            ),
            webhooks_disabled: registry.gauge(
                "webhooks_disabled",
                "Webhooks that were switched off after failing again and again; the same on every node.",
            ),
        }
    }

    /// Shows the series of jobs of this kind, from zero: the first failure is seen as one then.
    pub fn kind(&self, queue: &str, kind: &str) {
        for outcome in OUTCOMES {
            self.ended.with(&[queue, kind, outcome]);
        }
        self.duration.with(&[queue, kind]);
    }

    /// Counts one try.
    pub fn ended(&self, queue: &str, kind: &str, outcome: &str, took: Duration) {
        self.ended.with(&[queue, kind, outcome]).inc();
        self.duration.with(&[queue, kind]).observe(took);
    }

    /// Notes how a queue stands.
    pub fn observe(&self, queue: &str, numbers: Numbers) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.pending.with(&[queue]).set(count(numbers.pending));
        self.delayed.with(&[queue]).set(count(numbers.delayed));
        self.running.with(&[queue]).set(count(numbers.running));
        self.buried.with(&[queue]).set(count(numbers.buried));
        self.oldest.with(&[queue]).set(count(numbers.oldest.as_secs()));
    }
}
