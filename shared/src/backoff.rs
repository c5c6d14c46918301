//! Decides how long to wait before the n-th try: exponential, bounded, with jitter.

use std::time::Duration;

/// Exponential back-off from `first` to `cap`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
}

/// Why a back-off was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// The first wait must be longer than zero, or the back-off never grows.
    #[error("the first wait must be longer than zero")]
    ZeroFirst,
    /// The cap must not be below the first wait.
    #[error("the longest wait is below the first")]
    CapBelowFirst,
}

impl Backoff {
    /// A back-off of `first`, 2×, 4×, … up to `cap`.
    pub fn try_new(first: Duration, cap: Duration) -> Result<Self, Nonsense> {
        if first.is_zero() {
            return Err(Nonsense::ZeroFirst);
        }
        if cap < first {
            return Err(Nonsense::CapBelowFirst);
        }
        Ok(Self { first, cap })
    }

    /// The wait after `failures` failures in a row (1 for the first), spread over 50–100 % by `random`.
    ///
    /// `random` is any 64-bit value; the caller brings it, so that the decision stays pure.
    pub fn after(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1_u32 << doublings).min(self.cap);
        full / 2 + full.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    #[test]
    fn a_wait_doubles_up_to_its_cap() {
        let backoff = Backoff::try_new(FIRST, CAP).unwrap();
        let longest = |failures| backoff.after(failures, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 7, 40].map(longest), [100, 200, 400, 5000, 5000]);
    }

    #[test]
    fn jitter_never_leaves_the_upper_half() {
        let backoff = Backoff::try_new(FIRST, CAP).unwrap();
        assert_eq!(backoff.after(1, 0), FIRST / 2);
        assert!(backoff.after(1, u64::MAX) <= FIRST);
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        assert_eq!(Backoff::try_new(Duration::ZERO, CAP), Err(Nonsense::ZeroFirst));
        assert_eq!(Backoff::try_new(CAP, FIRST), Err(Nonsense::CapBelowFirst));
    }
}
