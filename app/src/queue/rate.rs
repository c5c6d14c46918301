//! Decides which queue is served next, and how many of its jobs may be taken now.

use std::time::Duration;

use super::Queue;
use crate::config::Rate;
use crate::moment::Moment;

/// Whoever has waited for longer than this is not put behind a more urgent queue any more.
const OVERDUE: Duration = Duration::from_secs(60);

/// The queues that have something due, the one to be served first in front: the most urgent one, unless another one's
/// oldest job is long overdue.
pub fn order(due: &[(Queue, Moment)], now: Moment) -> Vec<Queue> {
    let mut order: Vec<(Queue, Moment)> = due.iter().copied().filter(|(_, oldest)| *oldest <= now).collect();
    order.sort_by_key(|(queue, oldest)| {
        let is_overdue = now.since(*oldest) > OVERDUE;
        (!is_overdue, if is_overdue { oldest.0 } else { 0 }, *queue)
    });
    order.into_iter().map(|(queue, _)| queue).collect()
}

/// How many of `wanted` jobs a rate allows now, and the counter after that. The counter is the moment, in
/// microseconds, at which all jobs so far are worked off; `count` may begin at once, then they come evenly.
pub fn granted(rate: Rate, counter: i64, wanted: u32, now: Moment) -> (u32, i64) {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
    let now = now.0.saturating_mul(1000);
    let step = (micros(rate.period) / i64::from(rate.count.max(1))).max(1);
    let begin = counter.max(now);
    let room = now.saturating_add(micros(rate.period)).saturating_sub(begin);
    let fits = u32::try_from((room / step).max(0)).unwrap_or(u32::MAX).min(wanted);
    (fits, begin.saturating_add(step.saturating_mul(i64::from(fits))))
}

/// When the next job fits, by the counter of [`granted`].
pub fn fits_at(rate: Rate, counter: i64) -> Moment {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
    let step = (micros(rate.period) / i64::from(rate.count.max(1))).max(1);
    let at = counter.saturating_add(step).saturating_sub(micros(rate.period));
    Moment(at.div_euclid(1000).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment(1_000_000_000);

    fn ago(secs: i64) -> Moment {
        Moment(NOW.0 - secs * 1000)
    }

    #[test]
    fn the_most_urgent_queue_is_first_until_another_is_long_overdue() {
        use Queue::{Default, Mail, Webhooks};
        for (due, expected) in [
            (vec![(Webhooks, ago(5)), (Default, ago(0)), (Mail, ago(9))], vec![Default, Mail, Webhooks]),
            (vec![(Default, ago(1)), (Webhooks, ago(61))], vec![Webhooks, Default]),
            (vec![(Default, ago(70)), (Mail, ago(80))], vec![Mail, Default]),
            (vec![(Default, ago(-1)), (Mail, ago(0))], vec![Mail]),
            (vec![], vec![]),
        ] {
            assert_eq!(order(&due, NOW), expected, "{due:?}");
        }
    }

    #[test]
    fn a_rate_gives_a_burst_and_then_one_by_one() {
        let rate = Rate { count: 10, period: Duration::from_secs(1) };
        let (first, counter) = granted(rate, 0, 50, NOW);
        assert_eq!((first, granted(rate, counter, 1, NOW).0), (10, 0));
        let next = fits_at(rate, counter);
        assert_eq!(granted(rate, counter, 5, next).0, 1);
        assert!(next.0 - NOW.0 <= 101, "{next:?}");
        assert_eq!(
            granted(rate, counter, 50, Moment(NOW.0 + 60_000)).0,
            10,
            "no more than a burst is saved up"
        );
    }

    proptest! {
        #[test]
        fn a_rate_is_never_exceeded_whatever_is_asked_when(
            asks in prop::collection::vec((0_i64..400, 0_u32..20), 1..60)
        ) {
            let rate = Rate { count: 7, period: Duration::from_secs(1) };
            let (mut counter, mut now, mut given) = (0, NOW, Vec::new());
            for (wait, wanted) in asks {
                now = Moment(now.0 + wait);
                let (got, after) = granted(rate, counter, wanted, now);
                counter = after;
                given.push((now.0, got));
            }
            for (at, _) in &given {
                let within: u32 = given.iter().filter(|(t, _)| (*at..*at + 1000).contains(t)).map(|(_, n)| n).sum();
                // A full burst, and what comes evenly in the second after it.
                prop_assert!(within <= 14, "{within} in {given:?}");
            }
        }
    }
}
