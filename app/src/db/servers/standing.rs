//! Decides whether a replica is read from: it is ejected for a reason, and admitted again after a pause that grows.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first ejection; it doubles with each that follows.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// After so long without an ejection, the next pause is the first again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Why a replica is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is further behind the primary than `max_lag`.
    Lagging,
    /// It cannot be connected to, or a connection broke.
    Unreachable,
    /// It did not answer in time.
    Slow,
    /// It does not follow the primary: it is on another timeline.
    Diverged,
    /// It is no replica: it takes writes itself.
    NotAReplica,
}

impl Reason {
    /// The word in logs and metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Lagging => "lagging",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Diverged => "diverged",
            Self::NotAReplica => "not_a_replica",
        }
    }

    /// What to do about it, where the word does not say that; else nothing.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::NotAReplica => {
                "it takes writes itself: make it follow the primary, or take it out of database.replicas; if it may \
                 become the primary, name it in database.successors too"
            }
            Self::Diverged => "it follows another primary: make it follow the one that is written to",
            Self::Lagging | Self::Unreachable | Self::Slow => "",
        }
    }

    /// Whether what was asked of it before will not be answered either.
    pub(super) fn is_deaf(self) -> bool {
        matches!(self, Self::Unreachable | Self::Slow)
    }
}

/// What one look at a replica found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It answers, and is behind by so much; `None` as long as nobody knows.
    Behind(Option<Duration>),
    /// It must not be read from.
    Bad(Reason),
}

/// Whether a replica is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is.
    Admitted {
        /// How often it was ejected lately.
        times: u32,
        /// When it was admitted; `None` when it was never ejected.
        since: Option<Instant>,
    },
    /// It is not.
    Ejected {
        /// Why.
        reason: Reason,
        /// How often lately, with this one.
        times: u32,
        /// Not admitted before.
        until: Instant,
    },
}

impl Standing {
    /// As it begins: not read from before the first look.
    pub(super) fn unknown(now: Instant) -> Self {
        Self::Ejected { reason: Reason::Unreachable, times: 0, until: now }
    }

    /// Whether nobody has looked at it yet.
    pub(super) fn is_unknown(self) -> bool {
        matches!(self, Self::Ejected { times: 0, .. })
    }

    /// Whether it is read from.
    pub(super) fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted { .. })
    }

    /// Why it is not read from.
    pub(super) fn reason(self) -> Option<Reason> {
        match self {
            Self::Admitted { .. } => None,
            Self::Ejected { reason, .. } => Some(reason),
        }
    }

    /// When to look at it next, where that is later than usual: what is deaf is left alone for its pause.
    pub(super) fn pause_until(self) -> Option<Instant> {
        match self {
            Self::Ejected { reason, until, .. } if reason.is_deaf() => Some(until),
            _ => None,
        }
    }

    /// The standing after a look at it. A replica that was too far behind is admitted below half of `max_lag`, so that
    /// one at the limit does not come and go.
    #[must_use]
    pub(super) fn after(self, finding: Finding, max_lag: Duration, now: Instant) -> Self {
        match (self, finding) {
            (Self::Admitted { .. }, Finding::Behind(lag)) if lag.is_some_and(|lag| lag > max_lag) => {
                self.ejected(Reason::Lagging, now)
            }
            (Self::Admitted { .. }, Finding::Behind(_)) => self,
            (Self::Ejected { reason, times, until }, Finding::Behind(lag)) => match lag {
                Some(lag) if lag > max_lag || (reason == Reason::Lagging && lag > max_lag / 2) => {
                    Self::Ejected { reason: Reason::Lagging, times: times.max(1), until }
                }
                _ if now < until => self,
                _ => Self::Admitted { times, since: Some(now) },
            },
            (Self::Ejected { reason, times, until }, Finding::Bad(other)) if now < until => {
                // Something else may be wrong with it now; that does not make the pause longer.
                Self::Ejected {
                    reason: if other.is_deaf() && !reason.is_deaf() { other } else { reason },
                    times,
                    until,
                }
            }
            (_, Finding::Bad(reason)) => self.ejected(reason, now),
        }
    }

    fn ejected(self, reason: Reason, now: Instant) -> Self {
        let before = match self {
            Self::Admitted { since, times } if since.is_some_and(|since| now - since < FORGOTTEN) => times,
            Self::Admitted { .. } => 0,
            Self::Ejected { times, .. } => times,
        };
        let pause = PAUSE.saturating_mul(1 << before.min(16)).min(LONGEST);
        Self::Ejected { reason, times: before.saturating_add(1), until: now + pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(4);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn behind(ms: u64) -> Finding {
        Finding::Behind(Some(Duration::from_millis(ms)))
    }

    #[test]
    fn a_replica_goes_for_a_reason_and_comes_back_when_that_is_over() {
        let start = Instant::now();
        let mut standing = Standing::unknown(start);
        assert!(standing.is_unknown());
        assert!(!standing.after(Finding::Bad(Reason::Unreachable), MAX_LAG, start).is_unknown());
        for (at, finding, expected) in [
            (0, behind(0), None),
            (1, behind(4000), None),
            (2, behind(4001), Some(Reason::Lagging)),
            // At the limit it does not come and go.
            (1000, behind(3000), Some(Reason::Lagging)),
            (1001, behind(2000), None),
            (2000, Finding::Bad(Reason::Slow), Some(Reason::Slow)),
            (2100, Finding::Bad(Reason::Unreachable), Some(Reason::Slow)),
            (2500, behind(0), Some(Reason::Slow)),
            (3000, behind(0), None),
            (3001, Finding::Bad(Reason::Diverged), Some(Reason::Diverged)),
            (9000, Finding::Bad(Reason::NotAReplica), Some(Reason::NotAReplica)),
            (90_000, Finding::Behind(None), None),
            (90_001, Finding::Bad(Reason::Unreachable), Some(Reason::Unreachable)),
        ] {
            standing = standing.after(finding, MAX_LAG, start + ms(at));
            assert_eq!(standing.reason(), expected, "{at} {finding:?}");
        }
    }

    #[test]
    fn the_pause_doubles_up_to_half_a_minute_and_is_forgotten_after_a_good_one() {
        let mut now = Instant::now();
        let mut standing = Standing::unknown(now).after(behind(0), MAX_LAG, now);
        for expected in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            standing = standing.after(Finding::Bad(Reason::Unreachable), MAX_LAG, now);
            assert_eq!(standing.pause_until(), Some(now + ms(expected)));
            assert!(!standing.after(behind(0), MAX_LAG, now + ms(expected - 1)).is_admitted());
            now += ms(expected);
            standing = standing.after(behind(0), MAX_LAG, now);
            assert!(standing.is_admitted());
        }
        now += FORGOTTEN;
        standing = standing.after(Finding::Bad(Reason::Slow), MAX_LAG, now);
        assert_eq!(standing.pause_until(), Some(now + PAUSE));
    }

    #[test]
    fn a_replica_that_begins_behind_has_been_looked_at() {
        let now = Instant::now();
        let standing = Standing::unknown(now).after(behind(9000), MAX_LAG, now);
        assert_eq!((standing.reason(), standing.is_unknown()), (Some(Reason::Lagging), false));
    }

    #[test]
    fn what_is_only_behind_is_looked_at_as_often_as_ever() {
        let now = Instant::now();
        let admitted = Standing::unknown(now).after(behind(0), MAX_LAG, now);
        assert_eq!(admitted.after(behind(9000), MAX_LAG, now).pause_until(), None);
    }
}
