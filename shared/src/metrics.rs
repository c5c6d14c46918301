//! Decides how a metric is declared, counted and shown; which metrics there are is each tier's business.
//!
//! The crate `prometheus` stays behind this module, so that it can be replaced without touching callers.

pub mod http;
pub mod process;
mod reading;
mod renamed;
mod sharded;

use std::collections::{BTreeMap, HashMap};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricType;
use prometheus::{Encoder as _, GaugeVec, HistogramOpts, IntGaugeVec, Opts, TextEncoder};

pub use reading::Reading;
pub use sharded::{Counter, Histogram, UpDown};
use sharded::{Counters, Histograms, UpDowns};

/// Upper bounds in seconds: from a cached answer to the app's 30 s limit. 0.3 and 1.2 make the usual
/// Apdex pair exact, 1 the guide's 1000 ms alert.
pub const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 1.2, 2.5, 5.0, 10.0, 30.0, 60.0];

/// All metrics of one process.
#[derive(Clone, Debug, Default)]
pub struct Registry(prometheus::Registry);

/// A number that is set, or goes up and down now and then.
pub type Gauge = prometheus::IntGauge;

/// A number with digits behind the point that is set.
pub type FloatGauge = prometheus::Gauge;

/// Counters that share a name and differ in their labels.
#[derive(Clone, Debug)]
pub struct CounterFamily(MetricVec<Counters>);

/// Numbers of what is under way that share a name and differ in their labels.
#[derive(Clone, Debug)]
pub struct UpDownFamily(MetricVec<UpDowns>);

/// Gauges that share a name and differ in their labels.
#[derive(Clone, Debug)]
pub struct GaugeFamily(IntGaugeVec);

/// Gauges with digits behind the point that share a name and differ in their labels.
#[derive(Clone, Debug)]
pub struct FloatGaugeFamily(GaugeVec);

/// Histograms of seconds that share a name and differ in their labels.
#[derive(Clone, Debug)]
pub struct HistogramFamily(MetricVec<Histograms>);

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a counter without labels. Its name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.counters(name, help, &[]).with(&[])
    }

    /// Declares a gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.gauges(name, help, &[]).with(&[])
    }

    /// Declares a gauge with digits behind the point, without labels.
    pub fn float(&self, name: &str, help: &str) -> FloatGauge {
        self.declare(FloatGauge::new(name, help))
    }

    /// Declares a number of what is under way, without labels; many threads move it cheaply.
    pub fn up_down(&self, name: &str, help: &str) -> UpDown {
        self.up_downs(name, help, &[]).with(&[])
    }

    /// The same with labels from finite sets.
    pub fn up_downs(&self, name: &str, help: &str, labels: &[&str]) -> UpDownFamily {
        let opts = Opts::new(name, help).variable_labels(owned(labels));
        UpDownFamily(self.declare(MetricVec::create(MetricType::GAUGE, UpDowns, opts)))
    }

    /// Declares counters with labels from finite sets.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterFamily {
        let opts = Opts::new(name, help).variable_labels(owned(labels));
        CounterFamily(self.declare(MetricVec::create(MetricType::COUNTER, Counters, opts)))
    }

    /// Declares gauges with labels from finite sets.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeFamily {
        GaugeFamily(self.declare(IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    /// Declares gauges with digits behind the point, with labels from finite sets.
    pub fn floats(&self, name: &str, help: &str, labels: &[&str]) -> FloatGaugeFamily {
        FloatGaugeFamily(self.declare(GaugeVec::new(Opts::new(name, help), labels)))
    }

    /// Declares a distribution of durations; its name ends in `_seconds`.
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramFamily {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec()).variable_labels(owned(labels));
        HistogramFamily(self.declare(MetricVec::create(MetricType::HISTOGRAM, Histograms, opts)))
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut out = Vec::with_capacity(16 * 1024);
        // Writing to memory cannot fail; a family that cannot be encoded would be a wrong declaration.
        let _ = TextEncoder::new().encode(&self.0.gather(), &mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// The values of the series whose name is wanted, with their labels; a histogram has `_sum`, `_count` and `_bucket`.
    pub fn samples(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, BTreeMap<String, String>, f64)> {
        let mut found = Vec::new();
        for family in self.0.gather() {
            let name = family.name();
            let mut add = |name: &str, labels: &BTreeMap<String, String>, value: f64| {
                if is_wanted(name) {
                    found.push((name.to_owned(), labels.clone(), value));
                }
            };
            for metric in family.get_metric() {
                let pairs = metric.get_label().iter();
                let labels = pairs.map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
                match family.get_field_type() {
                    MetricType::COUNTER => add(name, &labels, metric.get_counter().get_value()),
                    MetricType::GAUGE => add(name, &labels, metric.get_gauge().get_value()),
                    MetricType::HISTOGRAM => {
                        let histogram = metric.get_histogram();
                        add(&format!("{name}_sum"), &labels, histogram.get_sample_sum());
                        add(&format!("{name}_count"), &labels, histogram.get_sample_count() as f64);
                        for bucket in histogram.get_bucket() {
                            let mut labels = labels.clone();
                            labels.insert("le".to_owned(), bucket.upper_bound().to_string());
                            add(&format!("{name}_bucket"), &labels, bucket.cumulative_count() as f64);
                        }
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// Adds a collector of another kind.
    pub(crate) fn add(&self, collector: Box<dyn Collector>) {
        self.0.register(collector).expect("each metric is declared once per registry");
    }

    fn declare<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("a declaration is written in the code: its names are valid");
        self.add(Box::new(collector.clone()));
        collector
    }
}

impl CounterFamily {
    /// The counter with these label values, in the order of the declaration; it is shown from now on.
    pub fn with(&self, values: &[&str]) -> Counter {
        self.0.with_label_values(values)
    }

    /// Ends the series with these label values, when the thing they name is gone.
    pub fn remove(&self, values: &[&str]) {
        let _ = self.0.remove_label_values(values);
    }

    /// Ends every series whose labels have these values, whatever their other labels are.
    pub fn remove_where(&self, labels: &[(&str, &str)]) {
        remove_where(&self.0, labels);
    }
}

fn remove_where<T: MetricVecBuilder>(family: &MetricVec<T>, wanted: &[(&str, &str)]) {
    for metric in family.collect().iter().flat_map(prometheus::proto::MetricFamily::get_metric) {
        let labels: HashMap<&str, &str> =
            metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
        if wanted.iter().all(|(name, value)| labels.get(name) == Some(value)) {
            let _ = family.remove(&labels);
        }
    }
}

impl UpDownFamily {
    /// The number with these label values, in the order of the declaration; it is shown from now on.
    pub fn with(&self, values: &[&str]) -> UpDown {
        self.0.with_label_values(values)
    }

    /// Ends the series with these label values, when the thing they name is gone.
    pub fn remove(&self, values: &[&str]) {
        let _ = self.0.remove_label_values(values);
    }
}

impl GaugeFamily {
    /// The gauge with these label values, in the order of the declaration; it is shown from now on.
    pub fn with(&self, values: &[&str]) -> Gauge {
        self.0.with_label_values(values)
    }

    /// Ends the series with these label values, when the thing they name is gone.
    pub fn remove(&self, values: &[&str]) {
        let _ = self.0.remove_label_values(values);
    }

    /// Ends every series whose labels have these values, whatever their other labels are.
    pub fn remove_where(&self, labels: &[(&str, &str)]) {
        remove_where(&self.0, labels);
    }
}

impl FloatGaugeFamily {
    /// The gauge with these label values, in the order of the declaration; it is shown from now on.
    pub fn with(&self, values: &[&str]) -> FloatGauge {
        self.0.with_label_values(values)
    }
}

impl HistogramFamily {
    /// The histogram with these label values, in the order of the declaration; it is shown from now on.
    pub fn with(&self, values: &[&str]) -> Histogram {
        self.0.with_label_values(values)
    }

    /// Ends the series with these label values, when the thing they name is gone.
    pub fn remove(&self, values: &[&str]) {
        let _ = self.0.remove_label_values(values);
    }
}

fn owned(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_series_is_shown_from_its_declaration_and_gone_with_its_object() {
        let registry = Registry::new();
        let family = registry.counters("tries_total", "Tries.", &["backend"]);
        let counter = family.with(&["a"]);
        assert!(registry.text().contains("tries_total{backend=\"a\"} 0"));
        counter.inc();
        assert!(registry.text().contains("tries_total{backend=\"a\"} 1"));
        family.remove(&["a"]);
        assert!(!registry.text().contains("tries_total{"));
    }

    #[test]
    fn all_series_of_an_object_end_together_and_no_other() {
        let registry = Registry::new();
        let family = registry.counters("answers_total", "Answers.", &["backend", "code"]);
        for (backend, code) in [("a", "200"), ("a", "500"), ("b", "200")] {
            family.with(&[backend, code]);
        }
        family.remove_where(&[("backend", "a")]);
        let text = registry.text();
        assert!(!text.contains("backend=\"a\""), "{text}");
        assert!(text.contains("answers_total{backend=\"b\",code=\"200\"} 0"), "{text}");
    }

    #[test]
    fn durations_are_exported_in_seconds() {
        let registry = Registry::new();
        let histogram = registry.histograms("wait_seconds", "Waits.", &[], DURATION_BUCKETS).with(&[]);
        histogram.observe(Duration::from_millis(1200));
        let text = registry.text();
        assert!(text.contains("wait_seconds_bucket{le=\"1.2\"} 1"), "{text}");
        assert!(text.contains("wait_seconds_bucket{le=\"1\"} 0"), "{text}");
        assert!(text.contains("wait_seconds_sum 1.2"), "{text}");
    }
}
