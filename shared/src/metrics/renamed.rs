//! Shows a distribution under another name and in another unit, from the same observations: no request pays for it.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::{HistogramFamily, Registry};

/// A family of histograms as others know it.
struct Renamed {
    family: HistogramFamily,
    name: String,
    desc: Desc,
    factor: f64,
}

impl Registry {
    /// Shows `family` also as `name`, each value `factor` times as large.
    pub fn also_as(&self, family: &HistogramFamily, name: &str, help: &str, labels: &[&str], factor: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, std::collections::HashMap::new());
        let desc = desc.expect("a declaration is written in the code: its names are valid");
        self.add(Box::new(Renamed { family: family.clone(), name: name.to_owned(), desc, factor }));
    }
}

impl Collector for Renamed {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.family.0.collect();
        for family in &mut families {
            family.set_name(self.name.clone());
            family.set_help(self.desc.help.clone());
            for metric in family.mut_metric() {
                let mut histogram = metric.get_histogram().clone();
                histogram.set_sample_sum(histogram.get_sample_sum() * self.factor);
                let mut buckets = histogram.get_bucket().to_vec();
                for bucket in &mut buckets {
                    // 0.0025 times 1000 is not to be shown as 2.5000000000000004.
                    let bound = bucket.upper_bound() * self.factor;
                    bucket.set_upper_bound((bound * 1e9).round() / 1e9);
                }
                histogram.set_bucket(buckets);
                metric.set_histogram(histogram);
            }
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_observation_is_shown_in_seconds_and_in_milliseconds() {
        let registry = Registry::new();
        let seconds = registry.histograms("wait_seconds", "Waits.", &["route"], &[0.0025, 1.2]);
        registry.also_as(&seconds, "wait_milliseconds", "Waits.", &["route"], 1000.0);
        seconds.with(&["a"]).observe(Duration::from_millis(1200));
        let text = registry.text();
        for line in [
            "wait_seconds_bucket{route=\"a\",le=\"1.2\"} 1",
            "wait_milliseconds_bucket{route=\"a\",le=\"2.5\"} 0",
            "wait_milliseconds_bucket{route=\"a\",le=\"1200\"} 1",
            "wait_milliseconds_sum{route=\"a\"} 1200",
            "wait_milliseconds_count{route=\"a\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
