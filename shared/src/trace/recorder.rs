//! Decides which traces are recorded, and lets nothing wait: a span finds room in the queue or is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::metrics::TraceMetrics;
use super::{Exporter, Settings, Span, Trace};
use crate::config::units::Percent;
use crate::metrics::Registry;

/// Takes the spans of a process. Cheap to clone; the default one takes none.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Span>,
    /// Traces whose number is below this are recorded.
    threshold: AtomicU64,
    metrics: TraceMetrics,
}

impl Recorder {
    /// A recorder, and what sends its spans to the collector; neither where no collector is named. `service` and
    /// `instance` say whose spans they are.
    pub fn open(
        settings: &Settings,
        service: &str,
        instance: &str,
        registry: &Registry,
    ) -> (Self, Option<Exporter>) {
        let metrics = TraceMetrics::new(registry);
        let Some(collector) = &settings.collector else { return (Self::default(), None) };
        let (queue, spans) = mpsc::channel(settings.max_queue);
        let exporter = Exporter::new(collector.clone(), spans, service, instance, metrics.clone());
        let threshold = AtomicU64::new(threshold(settings.sample));
        (Self(Some(Arc::new(Inner { queue, threshold, metrics }))), Some(exporter))
    }

    /// From now on another share of all traces is recorded.
    pub fn sample(&self, share: Percent) {
        if let Some(inner) = &self.0 {
            inner.threshold.store(threshold(share), Ordering::Relaxed);
        }
    }

    /// The trace as it goes on from here: recorded or not. Without a collector it goes on as it came.
    #[must_use]
    pub fn decide(&self, trace: Trace) -> Trace {
        match &self.0 {
            None => trace,
            Some(inner) => trace.recorded(number(trace) < inner.threshold.load(Ordering::Relaxed)),
        }
    }

    /// Takes a span, when there is room for it.
    pub fn record(&self, span: Span) {
        if let Some(inner) = &self.0
            && inner.queue.try_send(span).is_err()
        {
            inner.metrics.full();
        }
    }
}

/// The random part of a trace's id (W3C Trace Context level 2 makes the last seven bytes random).
fn number(trace: Trace) -> u64 {
    let id = trace.trace_id();
    let mut last = [0; 8];
    last[1..].copy_from_slice(&id[9..]);
    u64::from_be_bytes(last)
}

/// Below which number so many of all traces are.
fn threshold(share: Percent) -> u64 {
    const ALL: f64 = (1_u64 << 56) as f64;
    // In range: a percentage is between 0 and 100.
    (share.fraction() * ALL) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::config::Collector;

    fn recorder(share: f64, max_queue: usize) -> (Recorder, Registry, Option<Exporter>) {
        let registry = Registry::new();
        let settings = Settings {
            collector: Some(Collector::at("http://127.0.0.1:1/v1/traces")),
            sample: Percent::of(share),
            max_queue,
        };
        let (recorder, exporter) = Recorder::open(&settings, "test", "one", &registry);
        (recorder, registry, exporter)
    }

    #[test]
    fn about_the_share_of_traces_is_recorded_and_everywhere_the_same_ones() {
        let (one, ..) = recorder(10.0, 1);
        let (other, ..) = recorder(10.0, 1);
        let traces: Vec<Trace> = (0..10_000).map(|_| Trace::of(None)).collect();
        let recorded = traces.iter().filter(|trace| one.decide(**trace).is_recorded).count();
        assert!((800..1200).contains(&recorded), "{recorded}");
        for trace in &traces {
            let behind = Trace::of(Some(one.decide(*trace).parent().as_bytes()));
            assert_eq!(one.decide(*trace).is_recorded, other.decide(behind).is_recorded);
        }
        one.sample(Percent::of(0.0));
        assert!(!traces.iter().any(|trace| one.decide(*trace).is_recorded));
        one.sample(Percent::of(100.0));
        assert!(traces.iter().all(|trace| one.decide(*trace).is_recorded));
    }

    #[test]
    fn what_a_client_says_of_recording_changes_nothing() {
        let (none, ..) = recorder(0.0, 1);
        let asked = Trace::of(Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(none.decide(asked).parent().ends_with("-00"));
        assert!(
            Recorder::default().decide(asked).parent().ends_with("-01"),
            "nothing is known of others' decisions"
        );
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let (recorder, registry, _exporter) = recorder(100.0, 3);
        for _ in 0..10 {
            let trace = recorder.decide(Trace::of(None));
            recorder.record(Span {
                trace,
                name: "x".into(),
                kind: super::super::Kind::Server,
                began: std::time::SystemTime::now(),
                took: std::time::Duration::ZERO,
                attributes: Vec::new(),
                failed: None,
            });
        }
        let text = registry.text();
        assert!(text.contains("trace_spans_dropped_total{reason=\"queue_full\"} 7"), "{text}");
    }
}
