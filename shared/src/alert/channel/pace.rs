//! Decides when a channel may be asked again: by its rate, by the pause it asked for, and by how often it failed.

use super::{Answered, Millis, Outcome, millis};
use crate::backoff::Backoff;

/// So many at once, and then one each so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, at least 1.
    pub burst: u32,
    /// Milliseconds until one more may be sent.
    pub each: Millis,
}

/// What is known of a channel's patience.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    rate: Rate,
    /// How many could be sent at `at`, in thousandths.
    tokens: u64,
    at: Millis,
    paused: Millis,
    failures: u32,
    /// Messages in a row that were refused as such.
    refused: u32,
    disabled: Option<String>,
}

/// So many messages in a row that are refused as such mean that none will be taken.
const MOST_REFUSED: u32 = 3;

impl Pace {
    /// Of a channel that was not asked yet.
    pub fn new(rate: Rate, now: Millis) -> Self {
        Self {
            rate,
            tokens: u64::from(rate.burst.max(1)) * 1000,
            at: now,
            paused: 0,
            failures: 0,
            refused: 0,
            disabled: None,
        }
    }

    /// From when on it may be asked; `None`: never again.
    pub fn ready_at(&self, now: Millis) -> Option<Millis> {
        if self.disabled.is_some() {
            return None;
        }
        let missing = 1000_u64.saturating_sub(self.filled(now));
        let by_rate = now + (missing * self.rate.each).div_ceil(1000);
        Some(by_rate.max(self.paused))
    }

    /// Why it is not asked any more.
    pub fn disabled(&self) -> Option<&str> {
        self.disabled.as_deref()
    }

    fn filled(&self, now: Millis) -> u64 {
        let most = u64::from(self.rate.burst.max(1)) * 1000;
        let gained = now.saturating_sub(self.at).saturating_mul(1000) / self.rate.each.max(1);
        (self.tokens + gained).min(most)
    }

    /// Notes what came of a message; `random` spreads those who failed together.
    pub fn note(&mut self, answered: &Answered, now: Millis, random: u64) {
        let Answered { outcome, rest } = answered;
        let backoff =
            Backoff::try_new(std::time::Duration::from_secs(1), std::time::Duration::from_secs(300))
                .expect("a second is below five minutes");
        self.tokens = self.filled(now).saturating_sub(1000);
        self.at = now;
        match outcome {
            Outcome::Sent => {
                (self.failures, self.refused) = (0, 0);
                self.disabled = None;
            }
            Outcome::Refused(why) => {
                self.failures = 0;
                self.refused += 1;
                if self.refused >= MOST_REFUSED {
                    self.disabled = Some(format!("{why}, {MOST_REFUSED} times in a row"));
                }
            }
            Outcome::Later { after, .. } => {
                self.failures += 1;
                let own = backoff.after(self.failures, random);
                // Whoever asks for a pause gets it, and no less than what everybody gets.
                self.paused = now + millis(after.map_or(own, |asked| asked.max(own)));
            }
            Outcome::Gone(why) => self.disabled = Some(why.clone()),
        }
        if let Some(rest) = rest {
            self.paused = self.paused.max(now + millis(*rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_followed_by_an_even_pace() {
        let mut pace = Pace::new(Rate { burst: 2, each: 2_000 }, 0);
        let mut sent = Vec::new();
        let mut now = 0;
        for _ in 0..5 {
            now = pace.ready_at(now).unwrap();
            sent.push(now);
            pace.note(&Outcome::Sent.into(), now, 0);
        }
        assert_eq!(sent, [0, 0, 2_000, 4_000, 6_000]);
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let mut pace = Pace::new(Rate { burst: 1, each: 1 }, 0);
        let later = |after| Outcome::Later { after: Some(after), why: String::new() }.into();
        pace.note(&later(Duration::from_secs(30)), 1_000, 0);
        assert_eq!(pace.ready_at(1_001), Some(31_000));
        pace.note(&later(Duration::ZERO), 31_000, u64::MAX);
        assert!(pace.ready_at(31_001).unwrap() >= 32_000, "no hammering, whatever it says");
    }

    #[test]
    fn a_channel_whose_bucket_is_empty_is_left_alone_until_it_is_full_again() {
        let mut pace = Pace::new(Rate { burst: 5, each: 1 }, 0);
        pace.note(&Answered { outcome: Outcome::Sent, rest: Some(Duration::from_secs(2)) }, 1_000, 0);
        assert_eq!(pace.ready_at(1_001), Some(3_000));
        let later = Outcome::Later { after: Some(Duration::from_secs(9)), why: String::new() };
        pace.note(&Answered { outcome: later, rest: Some(Duration::from_secs(2)) }, 3_000, 0);
        assert_eq!(pace.ready_at(3_001), Some(12_000), "the longer pause holds");
    }

    #[test]
    fn failures_are_followed_by_ever_longer_pauses_up_to_five_minutes() {
        let mut pace = Pace::new(Rate { burst: 1, each: 1 }, 0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pace.note(&Outcome::later("x").into(), 0, u64::MAX);
            pauses.push(pace.ready_at(0).unwrap().div_ceil(1000));
        }
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pauses[11], 300);
        pace.note(&Outcome::Sent.into(), 1_000_000, 0);
        pace.note(&Outcome::later("x").into(), 2_000_000, u64::MAX);
        assert!(pace.ready_at(2_000_000).unwrap() <= 2_001_000, "a success forgets them");
    }

    #[test]
    fn a_channel_that_refuses_every_message_is_gone_as_well() {
        let refused = || Outcome::Refused("answered 400".into());
        let mut pace = Pace::new(Rate { burst: 9, each: 1 }, 0);
        for outcome in [refused(), refused(), Outcome::Sent, refused(), refused()] {
            pace.note(&outcome.into(), 0, 0);
        }
        assert_eq!(pace.disabled(), None, "one that is taken between shows that it is the messages");
        pace.note(&refused().into(), 0, 0);
        assert_eq!(pace.disabled(), Some("answered 400, 3 times in a row"));
    }

    #[test]
    fn a_channel_that_is_gone_is_never_asked_again() {
        let mut pace = Pace::new(Rate { burst: 1, each: 1 }, 0);
        pace.note(&Outcome::Gone("answered 404".into()).into(), 0, 0);
        assert_eq!((pace.ready_at(u64::MAX / 2), pace.disabled()), (None, Some("answered 404")));
    }
}
