//! Decides how long to pause before a retry.

use std::time::Duration;

use crate::config::policy;

/// The pause before the `retry`th retry, counted from 1.
///
/// The first is made at once: it goes to another backend, and the request has waited already. From then on the
/// pause doubles up to a bound, and is drawn between its half and its whole, so that requests that failed together
/// do not come back together.
pub(crate) fn pause(policy: &policy::Retry, retry: u32, random: u64) -> Duration {
    if retry < 2 {
        return Duration::ZERO;
    }
    let factor = 1_u32.checked_shl(retry - 2).unwrap_or(u32::MAX);
    let whole = policy.backoff.checked_mul(factor).unwrap_or(policy.max_backoff).min(policy.max_backoff);
    let drawn = (random >> 11) as f64 / (1_u64 << 53) as f64;
    whole.mul_f64(0.5 + drawn / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn policy() -> policy::Retry {
        policy::Retry { backoff: ms(25), max_backoff: ms(250), ..policy::Retry::default() }
    }

    #[test]
    fn the_first_retry_is_made_at_once_and_pauses_then_double_up_to_the_bound() {
        for (retry, longest) in [(1, 0), (2, 25), (3, 50), (4, 100), (5, 200), (6, 250), (7, 250), (99, 250)]
        {
            assert_eq!(
                pause(&policy(), retry, u64::MAX).as_micros().div_ceil(1000),
                longest,
                "retry {retry}"
            );
            assert_eq!(pause(&policy(), retry, 0), ms(u64::try_from(longest).unwrap()) / 2, "retry {retry}");
        }
    }

    #[test]
    fn a_pause_of_zero_is_none() {
        let none = policy::Retry { backoff: ms(0), ..policy() };
        assert_eq!(pause(&none, 5, u64::MAX), ms(0));
    }
}
