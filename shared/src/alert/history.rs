//! Decides what is remembered of the metrics, for how long, and what a counter's points in a range amount to.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::expr::{Function, Selector, Vector};
use super::{Labels, Millis};

/// Series that are remembered; of more, the later ones are not.
pub const MOST_SERIES: usize = 20_000;

/// Processes that are remembered.
const MOST_SOURCES: usize = 1_000;

/// One value of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's name.
    #[serde(rename = "n")]
    pub name: String,
    /// Its labels.
    #[serde(rename = "l")]
    pub labels: Labels,
    /// Its value.
    #[serde(rename = "v")]
    pub value: f64,
}

/// What was seen of several processes, each under its label `instance`.
#[derive(Clone, Debug)]
pub struct History {
    keep: Millis,
    fresh: Millis,
    sources: BTreeMap<String, Source>,
    n_series: usize,
    dropped: u64,
}

#[derive(Clone, Debug, Default)]
struct Source {
    first: Millis,
    /// The time of the last snapshot, and of the one before it.
    last: Millis,
    previous: Millis,
    /// By metric, then by labels.
    series: BTreeMap<String, BTreeMap<Labels, VecDeque<Point>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: Millis,
    value: f64,
}

impl History {
    /// Remembers points for `keep`; a process that was silent for longer than `fresh` has no value now.
    pub fn new(keep: Millis, fresh: Millis) -> Self {
        Self { keep, fresh, sources: BTreeMap::new(), n_series: 0, dropped: 0 }
    }

    /// Takes a snapshot of one process. One that is not newer than the last is not counted twice.
    pub fn add(&mut self, source: &str, at: Millis, samples: &[Sample]) {
        let is_new = !self.sources.contains_key(source);
        if is_new && self.sources.len() >= MOST_SOURCES {
            self.dropped += 1;
            return;
        }
        let from = self.sources.entry(source.to_owned()).or_default();
        if is_new {
            from.first = at;
        } else if at <= from.last {
            return;
        }
        (from.previous, from.last) = (from.last, at);
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            let of_metric = from.series.entry(sample.name.clone()).or_default();
            let mut labels = sample.labels.clone();
            labels.insert("instance".to_owned(), source.to_owned());
            if !of_metric.contains_key(&labels) {
                if self.n_series >= MOST_SERIES {
                    self.dropped += 1;
                    continue;
                }
                self.n_series += 1;
            }
            let is_late = at > from.first;
            let points = of_metric.entry(labels).or_default();
            // It appeared while its process was known: a counter was zero before.
            if points.is_empty() && is_late && is_counter(&sample.name) {
                points.push_back(Point { at: from.previous, value: 0.0 });
            }
            points.push_back(Point { at, value: sample.value });
        }
        self.forget(at);
    }

    /// What was not taken because there was too much of it.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The processes that were heard of lately.
    pub fn sources(&self, now: Millis) -> Vec<&str> {
        let fresh = self.sources.iter().filter(|(_, source)| source.last + self.fresh >= now);
        fresh.map(|(name, _)| name.as_str()).collect()
    }

    fn forget(&mut self, now: Millis) {
        let oldest = now.saturating_sub(self.keep);
        let mut n_series = 0;
        self.sources.retain(|_, source| {
            source.series.retain(|_, of_metric| {
                of_metric.retain(|_, points| {
                    // The last point before the range is where the range begins.
                    while points.get(1).is_some_and(|second| second.at <= oldest) {
                        points.pop_front();
                    }
                    points.back().is_some_and(|point| point.at >= oldest)
                });
                n_series += of_metric.len();
                !of_metric.is_empty()
            });
            source.last >= oldest
        });
        self.n_series = n_series;
    }

    fn matching<'h>(
        &'h self,
        selector: &'h Selector,
    ) -> impl Iterator<Item = (&'h Source, &'h Labels, &'h VecDeque<Point>)> {
        self.sources.values().flat_map(move |source| {
            let of_metric = source.series.get(selector.name()).into_iter().flatten();
            of_metric
                .filter(|(labels, _)| selector.takes(labels))
                .map(move |(labels, points)| (source, labels, points))
        })
    }

    /// The values now: of processes that were heard of lately, and of series that are still there.
    pub fn instant(&self, selector: &Selector, now: Millis) -> Vector {
        let current = self.matching(selector).filter_map(|(source, labels, points)| {
            let point = points.back()?;
            let is_current = point.at == source.last && point.at + self.fresh >= now;
            is_current.then(|| (labels.clone(), point.value))
        });
        current.collect()
    }

    /// What the points of the last `window` come to.
    pub fn range(&self, function: Function, selector: &Selector, window: Millis, now: Millis) -> Vector {
        let start = now.saturating_sub(window);
        let values = self.matching(selector).filter_map(|(_, labels, points)| {
            let value = match function {
                Function::Increase => growth(points, start, now)?.0,
                Function::Rate => {
                    let (growth, time) = growth(points, start, now)?;
                    growth / (time as f64 / 1000.0)
                }
                Function::Max => within(points, start, now).reduce(f64::max)?,
                Function::Min => within(points, start, now).reduce(f64::min)?,
                Function::Avg => {
                    let count = within(points, start, now).count();
                    within(points, start, now).reduce(|sum, value| sum + value)? / count as f64
                }
            };
            Some((labels.clone(), value))
        });
        values.collect()
    }
}

/// By the names that counters have.
fn is_counter(name: &str) -> bool {
    ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
}

fn within(points: &VecDeque<Point>, start: Millis, now: Millis) -> impl Iterator<Item = f64> {
    points.iter().filter(move |point| point.at > start && point.at <= now).map(|point| point.value)
}

/// How much a counter grew from the last point at or before `start` to the last one, and in what time. A counter
/// that falls began anew from zero.
fn growth(points: &VecDeque<Point>, start: Millis, now: Millis) -> Option<(f64, Millis)> {
    let first = points.iter().rposition(|point| point.at <= start).unwrap_or(0);
    let seen: Vec<&Point> = points.iter().skip(first).filter(|point| point.at <= now).collect();
    let (begin, end) = (seen.first()?, seen.last()?);
    if end.at <= begin.at || end.at <= start {
        return None;
    }
    let step = |pair: &[&Point]| {
        if pair[1].value >= pair[0].value { pair[1].value - pair[0].value } else { pair[1].value }
    };
    Some((seen.windows(2).map(step).sum(), end.at - begin.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::expr::Expr;

    fn one(value: f64) -> Vec<Sample> {
        vec![Sample { name: "x_total".into(), labels: Labels::new(), value }]
    }

    fn ask(history: &History, text: &str, now: Millis) -> Option<f64> {
        Expr::parse(text).unwrap().eval(history, now).first().map(|(_, value)| *value)
    }

    #[test]
    fn a_counter_that_begins_anew_has_not_shrunk() {
        let mut history = History::new(60_000, 30_000);
        for (at, value) in [(10_000, 5.0), (20_000, 8.0), (30_000, 2.0), (40_000, 4.0)] {
            history.add("a", at, &one(value));
        }
        assert_eq!(ask(&history, "increase(x_total[1m])", 40_000), Some(7.0));
        assert_eq!(ask(&history, "increase(x_total[10s])", 40_000), Some(2.0));
    }

    #[test]
    fn a_process_that_is_silent_has_no_value_and_its_growth_ends() {
        let mut history = History::new(60_000, 30_000);
        history.add("a", 10_000, &one(1.0));
        history.add("a", 20_000, &one(3.0));
        assert_eq!(ask(&history, "x_total", 50_000), Some(3.0));
        assert_eq!(ask(&history, "x_total", 50_001), None);
        assert_eq!(ask(&history, "increase(x_total[10s])", 40_000), None);
        assert_eq!(history.sources(50_001), Vec::<&str>::new());
    }

    #[test]
    fn a_first_value_counts_only_when_its_process_was_known() {
        let mut history = History::new(60_000, 30_000);
        history.add("a", 10_000, &one(500.0));
        assert_eq!(
            ask(&history, "increase(x_total[1m])", 10_000),
            None,
            "an old process, seen for the first time"
        );
        history.add("b", 10_000, &[]);
        history.add("b", 20_000, &one(4.0));
        assert_eq!(ask(&history, "increase(x_total{instance=\"b\"}[1m])", 20_000), Some(4.0));
    }

    #[test]
    fn a_snapshot_is_counted_once_and_forgotten_in_time() {
        let mut history = History::new(60_000, 30_000);
        for _ in 0..3 {
            history.add("a", 10_000, &one(1.0));
        }
        assert_eq!(history.n_series, 1);
        history.add("b", 200_000, &[]);
        assert_eq!((history.n_series, history.sources.len()), (0, 1));
    }

    #[test]
    fn too_many_series_are_not_taken_and_counted() {
        let mut history = History::new(60_000, 30_000);
        let many: Vec<Sample> = (0..MOST_SERIES + 5)
            .map(|n| Sample {
                name: "x".into(),
                labels: [("n".to_owned(), n.to_string())].into(),
                value: 1.0,
            })
            .collect();
        history.add("a", 10_000, &many);
        assert_eq!((history.n_series, history.dropped()), (MOST_SERIES, 5));
    }
}
