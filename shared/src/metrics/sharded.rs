//! Decides how counting on many threads at once is kept cheap: in one line of memory per core.
//!
//! One shared number would travel between the cores' caches with every request. A thread takes a line at its first
//! count, in turn, and a scrape adds the lines up; with more threads than lines two share one, which costs time and
//! never a count.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::core::{Desc, Describer as _, Metric, MetricVecBuilder};
use prometheus::{HistogramOpts, Opts, proto};

use super::reading::Reading;

/// Lines at most: beyond, memory per series would cost more than it saves.
const MOST_LINES: usize = 16;

/// How many lines each number has: one per core, at most [`MOST_LINES`], rounded up to a power of two.
static LINES: LazyLock<usize> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(MOST_LINES).next_power_of_two()
});

static NEXT_LINE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The line of this thread.
fn line() -> usize {
    LINE.with(|line| {
        if line.get() == usize::MAX {
            line.set(NEXT_LINE.fetch_add(1, Ordering::Relaxed) & (*LINES - 1));
        }
        line.get()
    })
}

/// One line of memory: numbers that only its threads write to.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cells([AtomicU64; 8]);

/// A number that only grows.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Numbers>);

/// A number that goes up and down in steps: what is under way now.
#[derive(Clone, Debug)]
pub struct UpDown(Arc<Numbers>);

/// A distribution of durations, exported in seconds.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Distribution>);

#[derive(Debug)]
struct Numbers {
    labels: Vec<proto::LabelPair>,
    lines: Box<[Cells]>,
}

#[derive(Debug)]
struct Distribution {
    labels: Vec<proto::LabelPair>,
    /// Upper bounds, as they are shown.
    bounds: Box<[f64]>,
    /// The same in nanoseconds.
    limits: Box<[u64]>,
    /// Per line: the sum in nanoseconds, then one count per bound, then the count above all bounds.
    lines: Box<[Box<[Cells]>]>,
}

impl Numbers {
    fn new(labels: Vec<proto::LabelPair>) -> Self {
        Self { labels, lines: (0..*LINES).map(|_| Cells::default()).collect() }
    }

    /// The sum over the lines. Steps down are counts of two's complement: only the sum has a meaning.
    fn sum(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| sum.wrapping_add(line.0[0].load(Ordering::Relaxed)))
    }

    fn add(&self, by: u64) {
        self.lines[line()].0[0].fetch_add(by, Ordering::Relaxed);
    }
}

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// Counts so many.
    pub fn inc_by(&self, by: u64) {
        self.0.add(by);
    }

    /// What was counted so far. For scrapes and tests: it reads every line.
    pub fn get(&self) -> u64 {
        self.0.sum()
    }
}

impl UpDown {
    /// One more.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.0.add(u64::MAX);
    }

    /// How many now. For scrapes and tests: it reads every line.
    pub fn get(&self) -> i64 {
        self.0.sum().cast_signed()
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Few bounds, and most durations are short: the first that fits is soon found.
        let bucket = self.0.limits.iter().position(|limit| nanos <= *limit).unwrap_or(self.0.limits.len());
        let cells = &self.0.lines[line()];
        cell(cells, 0).fetch_add(nanos, Ordering::Relaxed);
        cell(cells, bucket + 1).fetch_add(1, Ordering::Relaxed);
    }
}

impl Histogram {
    /// What was counted so far. For views and tests: it reads every line.
    pub fn read(&self) -> Reading {
        let counts = (0..=self.0.limits.len()).map(|bucket| self.0.sum(bucket + 1)).collect();
        Reading::new(self.0.limits.clone(), counts, self.0.sum(0))
    }
}

fn cell(cells: &[Cells], at: usize) -> &AtomicU64 {
    &cells[at / 8].0[at % 8]
}

impl Distribution {
    fn new(labels: Vec<proto::LabelPair>, bounds: &[f64]) -> Self {
        let limits: Box<[u64]> =
            bounds.iter().map(|bound| Duration::from_secs_f64(*bound).as_nanos() as u64).collect();
        let cells = (limits.len() + 2).div_ceil(8);
        let line = || (0..cells).map(|_| Cells::default()).collect();
        Self { labels, bounds: bounds.into(), limits, lines: (0..*LINES).map(|_| line()).collect() }
    }

    fn sum(&self, at: usize) -> u64 {
        self.lines.iter().map(|cells| cell(cells, at).load(Ordering::Relaxed)).sum()
    }
}

impl Metric for Counter {
    fn metric(&self) -> proto::Metric {
        let mut counter = proto::Counter::default();
        counter.set_value(self.0.sum() as f64);
        let mut metric = proto::Metric::from_label(self.0.labels.clone());
        metric.set_counter(counter);
        metric
    }
}

impl Metric for UpDown {
    fn metric(&self) -> proto::Metric {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(self.get() as f64);
        let mut metric = proto::Metric::from_label(self.0.labels.clone());
        metric.set_gauge(gauge);
        metric
    }
}

impl Metric for Histogram {
    fn metric(&self) -> proto::Metric {
        let mut count = 0;
        let bucket = |(at, bound): (usize, &f64)| {
            count += self.0.sum(at + 1);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let buckets: Vec<_> = self.0.bounds.iter().enumerate().map(bucket).collect();
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count + self.0.sum(self.0.bounds.len() + 1));
        histogram.set_sample_sum(Duration::from_nanos(self.0.sum(0)).as_secs_f64());
        let mut metric = proto::Metric::from_label(self.0.labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

/// Makes the counters of a family.
#[derive(Clone, Debug)]
pub(super) struct Counters;

/// Makes the numbers of a family that go up and down.
#[derive(Clone, Debug)]
pub(super) struct UpDowns;

/// Makes the histograms of a family.
#[derive(Clone, Debug)]
pub(super) struct Histograms;

impl MetricVecBuilder for Counters {
    type M = Counter;
    type P = Opts;

    fn build<V: AsRef<str>>(&self, opts: &Opts, values: &[V]) -> prometheus::Result<Counter> {
        let labels = labels(&opts.describe()?, values)?;
        Ok(Counter(Arc::new(Numbers::new(labels))))
    }
}

impl MetricVecBuilder for UpDowns {
    type M = UpDown;
    type P = Opts;

    fn build<V: AsRef<str>>(&self, opts: &Opts, values: &[V]) -> prometheus::Result<UpDown> {
        let labels = labels(&opts.describe()?, values)?;
        Ok(UpDown(Arc::new(Numbers::new(labels))))
    }
}

impl MetricVecBuilder for Histograms {
    type M = Histogram;
    type P = HistogramOpts;

    fn build<V: AsRef<str>>(&self, opts: &HistogramOpts, values: &[V]) -> prometheus::Result<Histogram> {
        let labels = labels(&opts.describe()?, values)?;
        Ok(Histogram(Arc::new(Distribution::new(labels, &opts.buckets))))
    }
}

fn labels<V: AsRef<str>>(desc: &Desc, values: &[V]) -> prometheus::Result<Vec<proto::LabelPair>> {
    if desc.variable_labels.len() != values.len() {
        let (expect, got) = (desc.variable_labels.len(), values.len());
        return Err(prometheus::Error::InconsistentCardinality { expect, got });
    }
    let pair = |(name, value): (&String, &V)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.as_ref().to_owned());
        pair
    };
    let mut labels: Vec<_> = desc.variable_labels.iter().zip(values).map(pair).collect();
    labels.sort();
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> Counter {
        Counters.build::<&str>(&Opts::new("a_total", "A."), &[]).unwrap()
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let counter = counter();
        let running = UpDowns.build::<&str>(&Opts::new("a", "A."), &[]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 * MOST_LINES {
                scope.spawn(|| (0..1000).for_each(|_| counter.inc()));
                scope.spawn(|| running.inc());
            }
        });
        assert_eq!(counter.get(), 3 * MOST_LINES as u64 * 1000);
        assert_eq!(running.get(), 3 * MOST_LINES as i64);
        // Down on another thread than up.
        std::thread::scope(|scope| {
            (0..3 * MOST_LINES).for_each(|_| drop(scope.spawn(|| running.dec())));
        });
        assert_eq!(running.get(), 0);
    }

    #[test]
    fn two_threads_count_in_two_lines_where_there_is_more_than_one_core() {
        let counter = counter();
        let lines: Vec<_> = (0..2 * *LINES)
            .map(|_| std::thread::spawn(line).join().unwrap())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        assert!(lines.len() > 1 || *LINES == 1, "{lines:?}");
        assert!(lines.iter().all(|line| *line < counter.0.lines.len()));
        assert_eq!(std::mem::align_of_val(&counter.0.lines[0]), 64, "no two lines share one of the cache's");
    }

    #[test]
    fn a_duration_falls_into_the_bucket_of_its_bound() {
        let opts = HistogramOpts::new("a_seconds", "A.").buckets(vec![0.001, 0.3, 60.0]);
        let histogram = Histograms.build::<&str>(&opts, &[]).unwrap();
        for micros in [0, 1_000, 1_001, 300_000, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        histogram.observe(Duration::MAX);
        let shown = histogram.metric();
        let shown = shown.get_histogram();
        let counts: Vec<_> = shown.get_bucket().iter().map(proto::Bucket::cumulative_count).collect();
        assert_eq!(counts, [2, 4, 5]);
        assert_eq!(shown.get_sample_count(), 7);
    }
}
