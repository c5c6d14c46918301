//! Decides what an operator is told of a backend's last seconds: rates, latencies, and its last errors.
//!
//! Nothing is added to a request for it: a sampler reads the counters that are kept anyway once a second, and the
//! view compares with the oldest sample. Only an error leaves a note of its own.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cirque_shared::metrics::Reading;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// How far back rates look, in samples of a second each.
const SAMPLES: usize = 10;

/// Errors that are kept.
const MOST_ERRORS: usize = 8;

/// What a backend's counters said at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// The attempts that it answered, and how long the heads took.
    pub(crate) answers: Reading,
    /// The attempts that failed.
    pub(crate) failed: u64,
}

/// The last seconds of one backend.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    samples: Mutex<VecDeque<Sample>>,
    errors: Mutex<VecDeque<Noted>>,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Noted {
    /// When it failed (RFC 3339, in UTC).
    pub(crate) at: String,
    /// The reason, as metrics and logs spell it.
    pub(crate) reason: &'static str,
    /// The request's identifier, by which its line in the access log is found.
    pub(crate) request_id: String,
}

/// What the samples come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// How far back they look.
    pub(crate) window_seconds: f64,
    pub(crate) answers_per_second: f64,
    pub(crate) failures_per_second: f64,
    /// Time to the head of an answer; none when nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mean_ms: Option<f64>,
    /// Estimated from the histogram's buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
}

impl Recent {
    /// Keeps a sample; the oldest leaves.
    pub(crate) fn keep(&self, sample: Sample) {
        let mut samples = lock(&self.samples);
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Keeps an error; the oldest leaves.
    pub(crate) fn note(&self, reason: &'static str, request_id: &str) {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let mut errors = lock(&self.errors);
        if errors.len() == MOST_ERRORS {
            errors.pop_front();
        }
        errors.push_back(Noted { at, reason, request_id: request_id.to_owned() });
    }

    /// The last errors, the newest first.
    pub(crate) fn errors(&self) -> Vec<Noted> {
        lock(&self.errors).iter().rev().cloned().collect()
    }

    /// What happened from the oldest sample to `now`; all zero before there is one.
    pub(crate) fn rates(&self, now: &Sample) -> Rates {
        lock(&self.samples).front().map(|oldest| between(oldest, now)).unwrap_or_default()
    }
}

/// What happened from one sample to a later one.
fn between(before: &Sample, now: &Sample) -> Rates {
    let window = now.at.saturating_duration_since(before.at);
    if window < Duration::from_millis(1) {
        return Rates::default();
    }
    let seconds = window.as_secs_f64();
    let since = now.answers.since(&before.answers);
    let in_ms = |value: Duration| round(value.as_secs_f64() * 1000.0);
    Rates {
        window_seconds: round(seconds),
        answers_per_second: round(since.count() as f64 / seconds),
        failures_per_second: round(now.failed.saturating_sub(before.failed) as f64 / seconds),
        mean_ms: since.mean().map(in_ms),
        p50_ms: since.quantile(0.5).map(in_ms),
        p99_ms: since.quantile(0.99).map(in_ms),
    }
}

/// To thousandths: more is noise.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Nothing under these locks can leave a value half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::{DURATION_BUCKETS, Registry};

    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds_only() {
        let histogram = Registry::new().histograms("a_seconds", "A.", &[], DURATION_BUCKETS).with(&[]);
        let (recent, start) = (Recent::default(), Instant::now());
        let sample = |second: u64, failed| Sample {
            at: start + Duration::from_secs(second),
            answers: histogram.read(),
            failed,
        };
        assert_eq!(recent.rates(&sample(0, 0)), Rates::default(), "nothing is known yet");
        histogram.observe(Duration::from_secs(9));
        for second in 0..30 {
            recent.keep(sample(second, second * 2));
            (0..50).for_each(|_| histogram.observe(Duration::from_millis(20)));
        }
        let rates = recent.rates(&sample(30, 60));
        assert_eq!(
            (rates.window_seconds, rates.answers_per_second, rates.failures_per_second),
            (11.0, 50.0, 2.0)
        );
        assert_eq!(rates.mean_ms, Some(20.0), "the nine seconds were long ago");
        let (p50, p99) = (rates.p50_ms.unwrap(), rates.p99_ms.unwrap());
        assert!(10.0 < p50 && p50 < p99 && p99 <= 25.0, "{p50} {p99}: within their bucket");
    }

    #[test]
    fn the_newest_errors_are_kept() {
        let recent = Recent::default();
        for number in 0..20 {
            recent.note("connect", &number.to_string());
        }
        let kept: Vec<_> = recent.errors().into_iter().map(|noted| noted.request_id).collect();
        assert_eq!(kept, ["19", "18", "17", "16", "15", "14", "13", "12"]);
    }
}
