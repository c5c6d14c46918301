//! Decides how a backend's past counts: recent failures add to its load, a recent return lowers its share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::WHOLE;

/// A failure counts as one request in flight for this long, the half of several for as long again, and so on.
const HALF_LIFE_MS: u64 = 1000;

/// The most that failures add: a backend is forgotten to have failed seven half-lives later.
const MOST: u64 = 64;

/// What a slow start begins with, in thousandths of the weight.
const FLOOR: u64 = 100;

/// Recent failures, fading: one that fails at once looks idle, and would draw all traffic (nginx's black hole).
#[derive(Debug, Default)]
pub(crate) struct Penalty {
    /// How many, in the lower 8 bits, as of the millisecond in the others. 0: none.
    packed: AtomicU64,
}

impl Penalty {
    /// What failures add to the load at this millisecond.
    pub(crate) fn at(&self, now_ms: u64) -> u32 {
        let packed = self.packed.load(Ordering::Relaxed);
        if packed == 0 { 0 } else { faded(packed, now_ms).0 as u32 }
    }

    /// One more failure.
    pub(crate) fn add(&self, now_ms: u64) {
        let more = |packed: u64| {
            let (level, since_ms) = faded(packed, now_ms);
            let since_ms = if level == 0 { now_ms } else { since_ms };
            Some(since_ms << 8 | (level + 1).min(MOST))
        };
        // Never refused.
        let _ = self.packed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// What is left of a level, and since when it holds.
fn faded(packed: u64, now_ms: u64) -> (u64, u64) {
    let (level, since_ms) = (packed & 0xff, packed >> 8);
    let half_lives = now_ms.saturating_sub(since_ms) / HALF_LIFE_MS;
    (
        level.checked_shr(u32::try_from(half_lives).unwrap_or(u32::MAX)).unwrap_or(0),
        since_ms + half_lives * HALF_LIFE_MS,
    )
}

/// A weight in thousandths, `since` after its backend returned, when it is to start slowly over `window`.
///
/// From a tenth of the weight to all of it, evenly (nginx `slow_start`, with Envoy's floor: what gets nothing
/// shows nothing).
pub(crate) fn share(weight: u32, since: Duration, window: Duration) -> u32 {
    weight.saturating_mul(started(since, window))
}

/// How many requests at once, when it is to start slowly: 1 or more.
pub(crate) fn most_at_once(max: u32, since: Duration, window: Duration) -> u32 {
    let part = u64::from(max) * u64::from(started(since, window)) / u64::from(WHOLE);
    u32::try_from(part).unwrap_or(max).max(1)
}

/// How far a slow start has come, in thousandths.
fn started(since: Duration, window: Duration) -> u32 {
    if since >= window {
        return WHOLE;
    }
    let part = since.as_millis() * u128::from(WHOLE) / window.as_millis().max(1);
    u32::try_from(part).unwrap_or(WHOLE).clamp(FLOOR as u32, WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_forgotten_after_its_half_life_and_many_halve() {
        let penalty = Penalty::default();
        assert_eq!(penalty.at(5000), 0);
        penalty.add(5000);
        assert_eq!([5000, 5999, 6000].map(|now| penalty.at(now)), [1, 1, 0]);
        for _ in 0..8 {
            penalty.add(10_000);
        }
        assert_eq!([10_000, 11_000, 12_000, 13_000, 14_000].map(|now| penalty.at(now)), [8, 4, 2, 1, 0]);
        assert_eq!(penalty.at(u64::MAX), 0);
    }

    #[test]
    fn failures_that_go_on_fade_all_the_same_and_never_count_for_more_than_the_most() {
        let penalty = Penalty::default();
        for now_ms in (0..60_000).step_by(900) {
            penalty.add(now_ms);
            assert!(penalty.at(now_ms) <= 3, "{}", penalty.at(now_ms));
        }
        for _ in 0..1000 {
            penalty.add(70_000);
        }
        assert_eq!(u64::from(penalty.at(70_000)), MOST);
        assert_eq!(penalty.at(77_000), 0);
    }

    #[test]
    fn a_slow_start_grows_evenly_from_a_tenth() {
        let window = Duration::from_secs(30);
        for (seconds, expected) in [(0, 400), (1, 400), (3, 400), (15, 2000), (30, 4000), (99, 4000)] {
            assert_eq!(share(4, Duration::from_secs(seconds), window), expected, "after {seconds} s");
        }
        assert_eq!(share(4, Duration::ZERO, Duration::ZERO), 4000);
        assert_eq!(most_at_once(5, Duration::ZERO, window), 1);
        assert_eq!(most_at_once(40, Duration::from_secs(15), window), 20);
    }
}
