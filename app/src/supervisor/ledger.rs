//! Decides what the processes of a node have counted together: counters of those that ended stay, so none goes backwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::crew::Id;

/// How gauges of several processes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Together {
    Sum,
    Most,
    Least,
    Mean,
}

/// Gauges that are not a sum: what all processes know alike, and what is of the node.
const GAUGES: &[(&str, Together)] = &[
    ("app_build_info", Together::Most),
    ("app_database_up", Together::Least),
    ("database_has_primary", Together::Least),
    ("database_replica_state", Together::Most),
    ("database_replica_lag_seconds", Together::Most),
    ("database_replica_lag_bytes", Together::Most),
    ("cache_hit_ratio", Together::Mean),
    ("redis_up", Together::Least),
    ("redis_state", Together::Most),
    ("process_max_fds", Together::Least),
    ("process_start_time_seconds", Together::Least),
    ("alert_channel_disabled", Together::Most),
    ("alert_instances", Together::Most),
    ("alert_leader", Together::Most),
    ("alerts_firing", Together::Most),
    ("queue_jobs_pending", Together::Most),
    ("queue_jobs_delayed", Together::Most),
    ("queue_jobs_running", Together::Most),
    ("queue_jobs_buried", Together::Most),
    ("queue_oldest_job_seconds", Together::Most),
    ("webhooks_disabled", Together::Most),
];

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    living: BTreeMap<Id, Families>,
    /// What those have counted that are no more.
    gone: Families,
}

/// The families of one exposition, by name.
type Families = BTreeMap<String, Family>;

#[derive(Clone, Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// In the order of their first appearance: what belongs together stays together.
    series: Vec<(String, Vec<f64>)>,
    places: HashMap<String, usize>,
}

impl Ledger {
    /// What a process has counted so far, in the text format of Prometheus.
    pub(super) fn heard(&mut self, id: Id, text: &str) {
        self.living.insert(id, parse(text));
    }

    /// A process is no more.
    pub(super) fn ended(&mut self, id: Id) {
        let Some(families) = self.living.remove(&id) else { return };
        for (name, family) in families.into_iter().filter(|(_, family)| family.kind != "gauge") {
            let gone = self.gone.entry(name).or_default();
            gone.add(&family);
            // One number is enough to remember all who went.
            gone.series.iter_mut().for_each(|(_, values)| *values = vec![values.iter().sum()]);
        }
    }

    /// Everything together, with what the supervisor itself has counted.
    pub(super) fn total(&self, own: &str) -> String {
        let mut total = parse(own);
        for families in std::iter::once(&self.gone).chain(self.living.values()) {
            for (name, family) in families {
                total.entry(name.clone()).or_default().add(family);
            }
        }
        let mut text = String::with_capacity(64 * 1024);
        for (name, family) in &total {
            family.show(name, &mut text);
        }
        text
    }
}

impl Family {
    fn add(&mut self, other: &Self) {
        if self.kind.is_empty() {
            self.help.clone_from(&other.help);
            self.kind.clone_from(&other.kind);
        }
        for (series, values) in &other.series {
            self.values(series).extend(values);
        }
    }

    fn values(&mut self, series: &str) -> &mut Vec<f64> {
        let place = match self.places.get(series) {
            Some(place) => *place,
            None => {
                self.places.insert(series.to_owned(), self.series.len());
                self.series.push((series.to_owned(), Vec::new()));
                self.series.len() - 1
            }
        };
        &mut self.series[place].1
    }

    fn show(&self, name: &str, out: &mut String) {
        let together = if self.kind == "gauge" {
            let found = GAUGES.iter().find(|(gauge, _)| *gauge == name);
            found.map_or(Together::Sum, |(_, together)| *together)
        } else {
            Together::Sum
        };
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {}", self.help, self.kind);
        for (series, values) in &self.series {
            let _ = writeln!(out, "{series} {}", together.of(values));
        }
    }
}

impl Together {
    fn of(self, values: &[f64]) -> f64 {
        match self {
            Self::Sum => values.iter().sum(),
            Self::Most => values.iter().copied().fold(f64::MIN, f64::max),
            Self::Least => values.iter().copied().fold(f64::MAX, f64::min),
            Self::Mean => values.iter().sum::<f64>() / values.len().max(1) as f64,
        }
    }
}

/// Reads what our own registry wrote: families with their help and type, in lines without timestamps.
fn parse(text: &str) -> Families {
    let mut families = Families::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            name.clone_into(&mut current);
            families.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            name.clone_into(&mut current);
            families.entry(current.clone()).or_default().kind = kind.to_owned();
        } else if let Some((series, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse()
            && let Some(family) = families.get_mut(&current)
        {
            family.values(series).push(value);
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::{DURATION_BUCKETS, Registry};
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, series: &str) -> f64 {
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
    }

    fn process(requests: u64, open: i64, up: i64) -> String {
        let registry = Registry::new();
        registry.counters("tries_total", "Tries, of \"all\" kinds.", &["a"]).with(&["x y"]).inc_by(requests);
        registry.gauge("app_connections", "Open.").set(open);
        registry.gauge("app_database_up", "Up.").set(up);
        let wait = registry.histograms("wait_seconds", "Waits.", &[], DURATION_BUCKETS).with(&[]);
        (0..requests).for_each(|_| wait.observe(std::time::Duration::from_millis(100)));
        registry.text()
    }

    #[test]
    fn counters_and_histograms_are_summed_and_gauges_as_it_makes_sense() {
        let mut ledger = Ledger::default();
        ledger.heard(1, &process(3, 2, 1));
        ledger.heard(2, &process(4, 5, 0));
        let text = ledger.total("# HELP own_total Own.\n# TYPE own_total counter\nown_total 9\n");
        assert_eq!(value(&text, "tries_total{a=\"x y\"}"), 7.0);
        assert_eq!(value(&text, "wait_seconds_bucket{le=\"0.1\"}"), 7.0);
        assert_eq!(value(&text, "wait_seconds_bucket{le=\"+Inf\"}"), 7.0);
        assert_eq!(value(&text, "app_connections"), 7.0);
        assert_eq!(value(&text, "app_database_up"), 0.0);
        assert_eq!(value(&text, "own_total"), 9.0);
        assert!(text.contains("# HELP tries_total Tries, of \"all\" kinds.\n# TYPE tries_total counter\n"));
    }

    #[test]
    fn what_each_process_sees_of_the_same_thing_is_one_thing() {
        const NAMES: [&str; 2] = ["database_replica_state", "redis_up"];
        let mut ledger = Ledger::default();
        for id in [1, 2, 3] {
            let registry = Registry::new();
            NAMES.iter().for_each(|name| registry.gauge(name, "1 or 0.").set(1));
            ledger.heard(id, &registry.text());
        }
        let text = ledger.total("");
        NAMES.iter().for_each(|name| assert_eq!(value(&text, name), 1.0, "{name}"));
    }

    #[test]
    fn one_process_alone_is_shown_as_it_shows_itself() {
        let mut ledger = Ledger::default();
        let text = process(3, 2, 1);
        ledger.heard(1, &text);
        assert_eq!(ledger.total(""), text);
    }

    #[test]
    fn what_a_process_has_counted_stays_and_what_it_held_goes() {
        let mut ledger = Ledger::default();
        ledger.heard(1, &process(3, 2, 1));
        ledger.ended(1);
        assert_eq!(value(&ledger.total(""), "tries_total{a=\"x y\"}"), 3.0);
        assert!(!ledger.total("").contains("app_connections"));
        ledger.heard(2, &process(1, 1, 1));
        ledger.ended(2);
        ledger.ended(2);
        assert_eq!(value(&ledger.total(""), "wait_seconds_count"), 4.0);
    }

    proptest! {
        #[test]
        fn no_counter_goes_backwards_whoever_comes_and_goes(
            steps in prop::collection::vec((0_u64..4, 0_u64..3, any::<bool>()), 1..40)
        ) {
            let mut ledger = Ledger::default();
            let mut counts: BTreeMap<Id, u64> = BTreeMap::new();
            let (mut next, mut last, mut all) = (4, 0.0, 0);
            for (place, more, goes) in steps {
                // The place of one that went is taken by another, with another name.
                let id = *counts.keys().nth(usize::try_from(place).unwrap() % counts.len().max(1)).unwrap_or(&place);
                let count = counts.entry(id).or_default();
                *count += more;
                all += more;
                ledger.heard(id, &process(*count, 1, 1));
                if goes {
                    ledger.ended(id);
                    counts.remove(&id);
                    next += 1;
                    counts.insert(next, 0);
                }
                let now = value(&ledger.total(""), "tries_total{a=\"x y\"}");
                prop_assert!(now >= last);
                prop_assert_eq!(now, all as f64);
                last = now;
            }
        }
    }
}
