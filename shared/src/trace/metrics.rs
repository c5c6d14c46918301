//! The metrics of recording traces, declared once for both tiers.

use crate::metrics::{Counter, CounterFamily, Registry};

/// Why a span did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// More waited than `max_queue`.
    QueueFull,
    /// The collector could not be reached, or was too slow, again and again.
    Unreachable,
    /// The collector did not want it.
    Refused,
    /// The process ended first.
    Stopping,
}

impl Dropped {
    const ALL: [Self; 4] = [Self::QueueFull, Self::Unreachable, Self::Refused, Self::Stopping];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Stopping => "stopping",
        }
    }
}

/// What is counted of spans.
#[derive(Clone, Debug)]
pub(super) struct TraceMetrics {
    pub(super) exported: Counter,
    dropped: CounterFamily,
    /// Counted apart, because requests do it.
    queue_full: Counter,
}

impl TraceMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let dropped = registry.counters(
            "trace_spans_dropped_total",
            "Spans that did not arrive at the collector, by reason.",
            &["reason"],
        );
        for reason in Dropped::ALL {
            dropped.with(&[reason.word()]);
        }
        Self {
            exported: registry.counter("trace_spans_exported_total", "Spans that the collector took."),
            queue_full: dropped.with(&[Dropped::QueueFull.word()]),
            dropped,
        }
    }

    pub(super) fn full(&self) {
        self.queue_full.inc();
    }

    pub(super) fn dropped(&self, reason: Dropped, count: usize) {
        self.dropped.with(&[reason.word()]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
