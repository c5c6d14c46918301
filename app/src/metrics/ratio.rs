//! Decides which share of answers came from memory lately: over the last five minutes, not since the start.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cirque_shared::metrics::{FloatGauge, Registry};
use tokio::time::Instant;

/// How far back.
const WINDOW: Duration = Duration::from_secs(300);

/// Looks that are remembered are so far apart at least; so there are at most a hundred.
const APART: Duration = Duration::from_secs(3);

/// `cache_hit_ratio`.
#[derive(Debug)]
pub(super) struct Ratio {
    gauge: FloatGauge,
    seen: Mutex<VecDeque<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    hits: u64,
    all: u64,
}

impl Clone for Ratio {
    /// The same gauge, with a memory of its own.
    fn clone(&self) -> Self {
        Self { gauge: self.gauge.clone(), seen: Mutex::default() }
    }
}

impl Ratio {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = registry.float(
            "cache_hit_ratio",
            "Share of cacheable answers of the last five minutes that came from memory; 1 when nothing was asked.",
        );
        gauge.set(1.0);
        Self { gauge, seen: Mutex::default() }
    }

    /// Notes how many came from memory, and of how many, since the start.
    pub(super) fn observe(&self, hits: u64, all: u64, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.get(1).is_some_and(|second| now.duration_since(second.at) >= WINDOW) {
            seen.pop_front();
        }
        let (old_hits, old_all) = seen.front().map_or((0, 0), |first| (first.hits, first.all));
        let asked = all.saturating_sub(old_all);
        let ratio = if asked == 0 { 1.0 } else { hits.saturating_sub(old_hits) as f64 / asked as f64 };
        self.gauge.set(ratio);
        if seen.back().is_none_or(|last| now.duration_since(last.at) >= APART) {
            seen.push_back(Seen { at: now, hits, all });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_the_last_five_minutes() {
        let registry = Registry::new();
        let ratio = Ratio::new(&registry);
        let start = Instant::now();
        let shown = |seconds: u64, hits, all| {
            ratio.observe(hits, all, start + Duration::from_secs(seconds));
            ratio.gauge.get()
        };
        assert_eq!(shown(0, 0, 0), 1.0);
        assert_eq!(shown(60, 3, 4), 0.75);
        assert_eq!(shown(120, 3, 8), 0.375);
        assert_eq!(shown(500, 7, 12), 1.0, "what was before does not count any more");
        assert_eq!(shown(900, 7, 12), 1.0, "nothing was asked");
    }
}
