//! Decides whether one more request fits a rate: the generic cell rate algorithm, with one number per client.

use std::time::Duration;

use crate::config::Rate;
use crate::moment::Moment;

/// The moment at which all requests of a client are worked off, in microseconds since 1970.
pub(super) type Counter = i64;

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests that would still be answered now.
    pub remaining: u32,
    /// Until everything is worked off.
    pub full_again: Duration,
    /// Until the next request is answered, where this one was not.
    pub wait: Option<Duration>,
}

/// Where a client stands that is busy for so many microseconds, where another counter says so; `over` says how many
/// too early it was.
pub(super) fn told(rate: Rate, busy: i64, over: i64) -> Standing {
    standing(rate, busy, 0, (over > 0).then(|| duration(over)))
}

/// The counter of a client that stands like this.
pub(super) fn counter(standing: Standing, now: Moment) -> Counter {
    now.0.saturating_mul(1000).saturating_add(micros(standing.full_again))
}

/// The time that one request stands for.
pub(super) fn step(rate: Rate) -> i64 {
    (micros(rate.period) / i64::from(rate.count.max(1))).max(1)
}

/// Counts one request, unless it does not fit.
pub(super) fn take(rate: Rate, counter: &mut Counter, now: Moment) -> Standing {
    let now = now.0.saturating_mul(1000);
    let next = (*counter).max(now).saturating_add(step(rate));
    let over = next - now - micros(rate.period);
    if over > 0 {
        return standing(rate, *counter, now, Some(duration(over)));
    }
    *counter = next;
    standing(rate, next, now, None)
}

/// Where a client stands, and whether one more request would fit.
pub(super) fn look(rate: Rate, counter: Counter, now: Moment) -> Standing {
    let mut counted = counter;
    let after = take(rate, &mut counted, now);
    Standing { wait: after.wait, ..standing(rate, counter, now.0.saturating_mul(1000), None) }
}

fn standing(rate: Rate, counter: Counter, now: i64, wait: Option<Duration>) -> Standing {
    let busy = (counter - now).max(0);
    let left = (micros(rate.period) - busy).max(0) / step(rate);
    let remaining = u32::try_from(left).unwrap_or(u32::MAX).min(rate.count);
    Standing { remaining, full_again: duration(busy), wait }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { count: 6, period: Duration::from_secs(60) };

    #[test]
    fn a_client_may_ask_so_often_at_once_and_then_one_by_one() {
        let mut counter = 0;
        let at = |ms: i64| Moment(1_000_000 + ms);
        for left in (0..6).rev() {
            assert_eq!(take(RATE, &mut counter, at(0)).remaining, left);
        }
        let refused = take(RATE, &mut counter, at(0));
        assert_eq!((refused.remaining, refused.wait), (0, Some(Duration::from_secs(10))));
        assert_eq!(take(RATE, &mut counter, at(9_999)).wait, Some(Duration::from_millis(1)));
        let allowed = take(RATE, &mut counter, at(10_000));
        assert_eq!((allowed.remaining, allowed.wait), (0, None));
        assert_eq!(allowed.full_again, Duration::from_secs(60));
        assert_eq!(take(RATE, &mut counter, at(500_000)).remaining, 5);
    }

    #[test]
    fn a_look_changes_nothing() {
        let mut counter = 0;
        let now = Moment(5_000);
        assert_eq!(
            look(RATE, counter, now),
            Standing { remaining: 6, full_again: Duration::ZERO, wait: None }
        );
        for _ in 0..6 {
            take(RATE, &mut counter, now);
        }
        let look = look(RATE, counter, now);
        assert_eq!((look.remaining, look.wait), (0, Some(Duration::from_secs(10))));
    }

    proptest! {
        /// In any stretch of the period's length at most twice the count is answered, and over a long time the rate.
        #[test]
        fn no_pattern_of_requests_gets_more_than_the_rate(gaps in proptest::collection::vec(0_i64..20_000, 1..300)) {
            let (mut counter, mut now, mut answered) = (0, 1_000_000, Vec::new());
            for gap in gaps {
                now += gap;
                if take(RATE, &mut counter, Moment(now)).wait.is_none() {
                    answered.push(now);
                }
            }
            let total = answered.len() as i64;
            prop_assert!(total <= 6 + (now - 1_000_000) / 10_000 + 1, "{total}");
            for from in &answered {
                let within = answered.iter().filter(|at| (from..&(from + 60_000)).contains(at)).count();
                prop_assert!(within <= 12, "{within}");
            }
        }
    }
}
