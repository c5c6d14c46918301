//! Decides how often somebody may ask (GCRA), and remembers who did in bounded memory.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::policy::Rate;

/// Entries that one key may stand in.
const WAYS: usize = 8;

/// Parts of the memory that are locked by themselves.
const SHARDS: usize = 16;

/// What a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many more may follow at once.
    Passed { left: u32 },
    /// The next one may come after this.
    Refused { wait: Duration },
}

/// Decides about one request of somebody whose theoretical arrival time is `due` (both in time since an epoch).
/// Returns when the next one is due.
///
/// `burst` requests may come at once beyond the rate, as in nginx's `limit_req burst=… nodelay`.
pub(crate) fn decide(rate: &Rate, due: Duration, now: Duration) -> (Verdict, Duration) {
    let due = due.max(now);
    let ahead = due - now;
    let tolerance = rate.interval * rate.burst;
    if ahead > tolerance {
        return (Verdict::Refused { wait: ahead - tolerance }, due);
    }
    let left = (tolerance - ahead).as_nanos() / rate.interval.as_nanos().max(1);
    (Verdict::Passed { left: u32::try_from(left).unwrap_or(u32::MAX) }, due + rate.interval)
}

/// What the answer to a refused request says: when to come back (RFC 9110 §10.2.3), and what the limit is
/// (draft-ietf-httpapi-ratelimit-headers).
pub(crate) fn fields(name: &str, rate: &Rate, wait: Duration) -> [(&'static str, String); 3] {
    let quota = rate.burst.saturating_add(1);
    let window = seconds(rate.interval * quota);
    let wait = seconds(wait);
    [
        ("Retry-After", wait.to_string()),
        ("RateLimit-Policy", format!("\"{name}\";q={quota};w={window}")),
        ("RateLimit", format!("\"{name}\";r=0;t={wait}")),
    ]
}

/// In whole seconds, rounded up: whoever waits so long passes.
fn seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Who asked when, for one limit. It stays when the configuration changes.
///
/// A table of fixed size: a key has a few places that it may stand in; when they are taken, the one that is due
/// soonest, and so is punished least, is forgotten. So neither memory nor time grows with the number of keys.
#[derive(Debug)]
pub(crate) struct Memory {
    epoch: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<Box<[Entry]>>>,
}

/// When the next request of a key is due. A zero `due` is an empty place.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    due: Duration,
}

impl Memory {
    /// Room for so many keys, at least.
    pub(crate) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(SHARDS * WAYS).max(1);
        let shard = || Mutex::new(vec![Entry::default(); sets * WAYS].into_boxed_slice());
        Self {
            epoch: Instant::now(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    /// Decides about one request of this key, and remembers it.
    pub(crate) fn ask(&self, rate: &Rate, key: impl Hash, now: Instant) -> Verdict {
        let key = self.hasher.hash_one(key);
        // The first moment is not zero: that is what empty places have.
        let now = now.saturating_duration_since(self.epoch) + Duration::from_nanos(1);
        let (number, rest) = (key % SHARDS as u64, key / SHARDS as u64);
        let shard = &self.shards[usize::try_from(number).unwrap_or_default()];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = (shard.len() / WAYS) as u64;
        let start = usize::try_from(rest % sets).unwrap_or_default() * WAYS;
        let set = &mut shard[start..start + WAYS];
        let known = set.iter().position(|entry| entry.key == key && !entry.due.is_zero());
        let place = known.or_else(|| (0..WAYS).min_by_key(|place| set[*place].due)).unwrap_or_default();
        let due = if known.is_some() { set[place].due } else { Duration::ZERO };
        let (verdict, due) = decide(rate, due, now);
        set[place] = Entry { key, due };
        verdict
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ten a second, and `burst` at once beyond that.
    fn rate(burst: u32) -> Rate {
        Rate { interval: Duration::from_millis(100), burst }
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_rate_holds_after_the_burst_is_used_up() {
        let rate = rate(2);
        let mut due = Duration::ZERO;
        for (at, expected) in [
            (1000, Verdict::Passed { left: 2 }),
            (1000, Verdict::Passed { left: 1 }),
            (1000, Verdict::Passed { left: 0 }),
            (1000, Verdict::Refused { wait: ms(100) }),
            (1050, Verdict::Refused { wait: ms(50) }),
            (1100, Verdict::Passed { left: 0 }),
            (1100, Verdict::Refused { wait: ms(100) }),
            // Rested long enough for the whole burst.
            (1400, Verdict::Passed { left: 2 }),
        ] {
            let (verdict, next) = decide(&rate, due, ms(at));
            assert_eq!(verdict, expected, "at {at}");
            due = next;
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_what_the_limit_is() {
        let rate = Rate { interval: Duration::from_secs(6), burst: 9 };
        let fields = fields("login", &rate, ms(5001)).map(|(name, value)| format!("{name}: {value}"));
        let expected =
            ["Retry-After: 6", "RateLimit-Policy: \"login\";q=10;w=60", "RateLimit: \"login\";r=0;t=6"];
        assert_eq!(fields, expected);
    }

    #[test]
    fn keys_do_not_disturb_each_other() {
        let (memory, now) = (Memory::new(1024), Instant::now());
        assert_eq!(memory.ask(&rate(0), "a", now), Verdict::Passed { left: 0 });
        assert!(matches!(memory.ask(&rate(0), "a", now), Verdict::Refused { .. }));
        assert_eq!(memory.ask(&rate(0), "b", now), Verdict::Passed { left: 0 });
        assert_eq!(memory.ask(&rate(0), "a", now + ms(100)), Verdict::Passed { left: 0 });
    }

    #[test]
    fn a_million_keys_take_no_more_memory_and_let_the_worst_one_slip_last() {
        let (memory, now) = (Memory::new(WAYS * SHARDS), Instant::now());
        let places = || memory.shards.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>();
        let before = places();
        // Far ahead of its time, so that it is remembered longer than those who asked once.
        let heavy = rate(50);
        for _ in 0..60 {
            memory.ask(&heavy, "heavy", now);
        }
        for key in 0..1_000_000_u32 {
            memory.ask(&heavy, key, now);
        }
        assert_eq!(places(), before);
        assert!(matches!(memory.ask(&heavy, "heavy", now), Verdict::Refused { .. }));
    }

    proptest! {
        #[test]
        fn no_pattern_of_requests_gets_more_than_rate_and_burst(
            pauses in prop::collection::vec(0_u64..300, 1..200),
            burst in 0_u32..10,
        ) {
            let (rate, mut due, mut now, mut passed) = (rate(burst), Duration::ZERO, ms(1), 0_u128);
            let start = now;
            for pause in pauses {
                now += ms(pause);
                let (verdict, next) = decide(&rate, due, now);
                due = next;
                passed += u128::from(matches!(verdict, Verdict::Passed { .. }));
            }
            let most = (now - start).as_nanos() / rate.interval.as_nanos() + u128::from(burst) + 1;
            prop_assert!(passed <= most, "{} passed, {} may", passed, most);
        }

        #[test]
        fn whoever_waits_as_told_passes(asked in 1_usize..50, burst in 0_u32..5) {
            let (rate, mut due, now) = (rate(burst), Duration::ZERO, ms(1));
            for _ in 0..asked {
                let (verdict, next) = decide(&rate, due, now);
                due = next;
                if let Verdict::Refused { wait } = verdict {
                    let (after, _) = decide(&rate, due, now + wait);
                    prop_assert!(matches!(after, Verdict::Passed { .. }), "{:?}", after);
                }
            }
        }
    }
}
