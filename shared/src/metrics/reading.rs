//! Decides what a histogram says of durations: how many, their mean, and the one that a share of them was not above.

use std::time::Duration;

/// What a histogram had counted at one moment, or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Upper bounds in nanoseconds; the last count is of what was above all of them.
    limits: Box<[u64]>,
    counts: Vec<u64>,
    sum: u64,
}

impl Reading {
    /// Counts within these upper bounds and one above all of them, and the sum of all durations; in nanoseconds.
    pub(super) fn new(limits: Box<[u64]>, counts: Vec<u64>, sum: u64) -> Self {
        Self { limits, counts, sum }
    }

    /// What was counted since an earlier reading of the same histogram.
    pub fn since(&self, before: &Self) -> Self {
        let earlier = before.counts.iter().copied().chain(std::iter::repeat(0));
        Self {
            limits: self.limits.clone(),
            counts: self.counts.iter().zip(earlier).map(|(now, before)| now.saturating_sub(before)).collect(),
            sum: self.sum.saturating_sub(before.sum),
        }
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their mean; none of none.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The duration that this share of them was not above, `share` from 0 to 1: estimated within its bucket, as
    /// Prometheus' `histogram_quantile` does. Above all bounds it is the last bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0.0, 0_u64);
        for (limit, n) in self.limits.iter().zip(&self.counts) {
            let within = *n as f64;
            if within > 0.0 && below + within >= rank {
                let part = (limit - lower) as f64 * ((rank - below) / within);
                return Some(Duration::from_nanos(lower + part as u64));
            }
            (below, lower) = (below + within, *limit);
        }
        self.limits.last().copied().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn reading(counts: [u64; 4], seconds: u64) -> Reading {
        Reading::new([1, 2, 4].map(|bound| bound * SECOND).into(), counts.to_vec(), seconds * SECOND)
    }

    #[test]
    fn a_quantile_is_estimated_within_its_bucket() {
        assert_eq!(reading([0; 4], 0).quantile(0.5), None);
        let since = reading([5, 3, 2, 0], 14).since(&reading([5, 1, 0, 0], 5));
        assert_eq!((since.count(), since.mean()), (4, Some(Duration::from_millis(2250))));
        for (share, expected) in [(0.0, 1000), (0.25, 1500), (0.5, 2000), (0.75, 3000), (1.0, 4000)] {
            assert_eq!(since.quantile(share), Some(Duration::from_millis(expected)), "{share}");
        }
        assert_eq!(reading([0, 2, 2, 1], 69).quantile(1.0), Some(Duration::from_secs(4)), "the last bound");
    }
}
