//! Decides what becomes of a job when something happens to it; the statements only write it down.

use std::time::Duration;

use cirque_shared::backoff::Backoff;

use super::{Kind, LOSSES, State};
use crate::moment::Moment;

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub state: State,
    /// Why, where that is not obvious.
    pub reason: Option<Reason>,
    /// When it may be taken.
    pub run_at: Moment,
    /// How often it failed.
    pub failures: i64,
    /// How often its process was gone.
    pub losses: i64,
}

/// Why a job is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It failed and is tried again.
    Failed,
    /// It failed as often as it may.
    TriesUsedUp,
    /// It cannot succeed.
    CannotSucceed,
    /// Its process was gone.
    Lost,
    /// Its process was gone again and again.
    Poison,
    /// It put itself off.
    PutOff,
    /// Its worker stopped.
    Released,
    /// Somebody asked for it again.
    AskedFor,
    /// Another one that waits does the same.
    Merged,
}

impl Reason {
    /// Its name, in rows, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TriesUsedUp => "tries_used_up",
            Self::CannotSucceed => "cannot_succeed",
            Self::Lost => "lost",
            Self::Poison => "poison",
            Self::PutOff => "put_off",
            Self::Released => "released",
            Self::AskedFor => "asked_for",
            Self::Merged => "merged",
        }
    }
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A worker takes it.
    Taken,
    /// It succeeded.
    Finished,
    /// It failed.
    Failed {
        /// It cannot succeed.
        is_final: bool,
        /// When to come back, as somebody else said.
        wait: Option<Duration>,
    },
    /// It wants to be done at this moment instead.
    PutOff(Moment),
    /// Its worker stops.
    Released,
    /// Its lease ended without a word.
    LeaseEnded,
    /// Somebody wants it done again.
    AskedFor,
    /// Somebody does not want it any more.
    Discarded,
}

/// The happening makes no sense for a job in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot be changed like that", .0.word())]
pub struct Impossible(pub State);

/// What becomes of a job of `kind` that stood as `before`. `has_twin`: another one with its key waits already.
/// `random` spreads the waits of those that failed together.
///
/// # Errors
///
/// [`Impossible`]; nothing is to be written then.
pub fn decide(
    before: &Standing,
    happening: Happening,
    kind: &Kind,
    has_twin: bool,
    (now, random): (Moment, u64),
) -> Result<Standing, Impossible> {
    use State::{Buried, Discarded, Done, Running, Waiting};
    let keep = |state, reason| Standing { state, reason, ..before.clone() };
    let after = match (before.state, happening) {
        (Waiting, Happening::Taken) if before.run_at <= now => keep(Running, None),
        (Running, Happening::Finished) => keep(Done, None),
        (Running, Happening::Failed { is_final, wait }) => {
            let failures = before.failures + 1;
            let standing = Standing { failures, ..before.clone() };
            if is_final {
                Standing { state: Buried, reason: Some(Reason::CannotSucceed), ..standing }
            } else if failures >= i64::from(kind.tries) {
                Standing { state: Buried, reason: Some(Reason::TriesUsedUp), ..standing }
            } else {
                let own = pause(kind, failures, random);
                let run_at = now.after(wait.map_or(own, |wait| wait.clamp(own, LONGEST)));
                Standing { state: Waiting, reason: Some(Reason::Failed), run_at, ..standing }
            }
        }
        (Running, Happening::PutOff(until)) => {
            Standing { run_at: until, ..keep(Waiting, Some(Reason::PutOff)) }
        }
        (Running, Happening::Released) => Standing { run_at: now, ..keep(Waiting, Some(Reason::Released)) },
        (Running, Happening::LeaseEnded) => {
            let losses = before.losses + 1;
            let standing = Standing { losses, run_at: now, ..before.clone() };
            if losses >= LOSSES {
                Standing { state: Buried, reason: Some(Reason::Poison), ..standing }
            } else {
                Standing { state: Waiting, reason: Some(Reason::Lost), ..standing }
            }
        }
        (Buried | Done | Discarded, Happening::AskedFor) => {
            Standing { state: Waiting, reason: Some(Reason::AskedFor), run_at: now, failures: 0, losses: 0 }
        }
        (Waiting, Happening::AskedFor) => Standing { run_at: before.run_at.min(now), ..before.clone() },
        (Waiting | Running | Buried, Happening::Discarded) => keep(Discarded, None),
        (state, _) => return Err(Impossible(state)),
    };
    if has_twin && after.state == Waiting && before.state != Waiting {
        return Ok(Standing { state: Done, reason: Some(Reason::Merged), ..after });
    }
    Ok(after)
}

/// However long somebody else wants us to wait.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn pause(kind: &Kind, failures: i64, random: u64) -> Duration {
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    match Backoff::try_new(kind.first_wait, kind.longest_wait) {
        Ok(backoff) => backoff.after(failures, random),
        Err(_) => kind.longest_wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;

    const KIND: Kind = Kind {
        name: "test",
        queue: Queue::Default,
        tries: 3,
        time: Duration::from_secs(1),
        first_wait: Duration::from_secs(10),
        longest_wait: Duration::from_secs(15),
    };
    const NOW: Moment = Moment(1_000_000);

    fn at(state: State) -> Standing {
        Standing { state, reason: None, run_at: NOW, failures: 0, losses: 0 }
    }

    fn then(before: &Standing, happening: Happening) -> Result<Standing, Impossible> {
        decide(before, happening, &KIND, false, (NOW, u64::MAX))
    }

    #[test]
    fn each_state_allows_what_the_table_says_and_nothing_else() {
        use State::{Buried, Discarded, Done, Running, Waiting};
        let failed = Happening::Failed { is_final: false, wait: None };
        let for_good = Happening::Failed { is_final: true, wait: None };
        for (happening, expected) in [
            (Happening::Taken, [Some(Running), None, None, None, None]),
            (Happening::Finished, [None, Some(Done), None, None, None]),
            (failed, [None, Some(Waiting), None, None, None]),
            (for_good, [None, Some(Buried), None, None, None]),
            (Happening::PutOff(NOW), [None, Some(Waiting), None, None, None]),
            (Happening::Released, [None, Some(Waiting), None, None, None]),
            (Happening::LeaseEnded, [None, Some(Waiting), None, None, None]),
            (Happening::AskedFor, [Some(Waiting), None, Some(Waiting), Some(Waiting), Some(Waiting)]),
            (Happening::Discarded, [Some(Discarded), Some(Discarded), None, Some(Discarded), None]),
        ] {
            let found = State::ALL.map(|state| then(&at(state), happening).ok().map(|after| after.state));
            assert_eq!(found, expected, "{happening:?}");
        }
    }

    #[test]
    fn a_job_is_not_taken_before_its_moment() {
        let later = Standing { run_at: Moment(NOW.0 + 1), ..at(State::Waiting) };
        assert_eq!(then(&later, Happening::Taken), Err(Impossible(State::Waiting)));
    }

    #[test]
    fn failures_are_counted_and_the_waits_between_grow_to_their_cap() {
        let mut standing = at(State::Running);
        for (wait, state) in [(10, State::Waiting), (15, State::Waiting), (0, State::Buried)] {
            standing = then(&standing, Happening::Failed { is_final: false, wait: None }).unwrap();
            assert_eq!(standing.state, state);
            if state == State::Waiting {
                assert_eq!(standing.run_at, NOW.after(Duration::from_secs(wait)));
                standing.state = State::Running;
            }
        }
        assert_eq!((standing.failures, standing.reason), (3, Some(Reason::TriesUsedUp)));
    }

    #[test]
    fn another_servers_wish_to_wait_is_honoured_within_a_day() {
        let wish = |secs| Happening::Failed { is_final: false, wait: Some(Duration::from_secs(secs)) };
        for (asked, waits) in [(1, 10), (300, 300), (1_000_000, 86_400)] {
            let after = then(&at(State::Running), wish(asked)).unwrap();
            assert_eq!(after.run_at, NOW.after(Duration::from_secs(waits)), "{asked}");
        }
    }

    #[test]
    fn what_is_no_failure_is_not_counted_as_one() {
        let before = Standing { failures: 2, ..at(State::Running) };
        for happening in [Happening::Released, Happening::PutOff(NOW), Happening::LeaseEnded] {
            let after = then(&before, happening).unwrap();
            assert_eq!((after.state, after.failures), (State::Waiting, 2), "{happening:?}");
        }
    }

    #[test]
    fn a_job_that_loses_its_process_again_and_again_is_buried() {
        let mut standing = at(State::Running);
        for expected in [Reason::Lost, Reason::Lost, Reason::Poison] {
            standing = then(&standing, Happening::LeaseEnded).unwrap();
            assert_eq!(standing.reason, Some(expected));
            if expected == Reason::Lost {
                standing.state = State::Running;
            }
        }
        assert_eq!((standing.state, standing.losses), (State::Buried, LOSSES));
        let again = then(&standing, Happening::AskedFor).unwrap();
        assert_eq!((again.state, again.failures, again.losses), (State::Waiting, 0, 0));
    }

    #[test]
    fn a_job_does_not_wait_beside_another_that_does_the_same() {
        let after = decide(&at(State::Running), Happening::Released, &KIND, true, (NOW, 0)).unwrap();
        assert_eq!((after.state, after.reason), (State::Done, Some(Reason::Merged)));
    }
}
