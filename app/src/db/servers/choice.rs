//! Decides which server answers a read: the least loaded replica that has what the caller must see, else the primary.

use std::time::Duration;

use crate::db::Position;

/// What a read must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// What was there a moment ago, within `max_lag`.
    Any,
    /// Everything up to this place.
    At(Position),
    /// Everything that was ever committed: only the primary has that.
    All,
}

impl Need {
    /// The greater of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Any, need) | (need, Self::Any) => need,
            (Self::At(one), Self::At(other)) if one.timeline() == other.timeline() => {
                Self::At(one.furthest(other))
            }
            // No place on one timeline includes places on another.
            (Self::At(_), Self::At(_)) => Self::All,
        }
    }

    /// Whether a server at `position` has it.
    pub fn is_met_at(self, position: Position) -> bool {
        match self {
            Self::Any => true,
            Self::At(place) => position.includes(place),
            Self::All => false,
        }
    }
}

/// A replica as it looks now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Which server it is.
    pub(super) server: usize,
    /// Whether it is read from.
    pub(super) is_admitted: bool,
    /// How far it had come, at least.
    pub(super) position: Position,
    /// How far behind it was when it was looked at last.
    pub(super) lag: Option<Duration>,
    /// Reads that it is busy with.
    pub(super) in_flight: usize,
}

/// Why the primary answers a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The read must see everything.
    Fresh,
    /// No replica has what the caller must see.
    OwnWrites,
    /// No replica is read from.
    NoReplica,
    /// The replica that was asked failed.
    Failed,
}

impl Why {
    /// The word in metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::OwnWrites => "own_writes",
            Self::NoReplica => "no_replica",
            Self::Failed => "replica_failed",
        }
    }

    /// Whether a replica should have answered: such reads are bounded, so that replicas that are gone do not take the
    /// primary with them.
    pub(super) fn is_fallback(self) -> bool {
        matches!(self, Self::NoReplica | Self::Failed)
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This replica.
    Replica(usize),
    /// This replica, once it has what is needed, which may be soon; else the primary.
    Await(usize),
    /// The primary.
    Primary(Why),
}

/// Chooses among `candidates`. The request stays with the replica it was `pinned` to, so that its statements see no
/// time run backwards; of replicas that are equally loaded, `turn` decides. A replica that is behind by more than
/// `patience` is not waited for.
pub(super) fn choose(
    candidates: &[Candidate],
    need: Need,
    pinned: Option<usize>,
    patience: Duration,
    turn: usize,
) -> Choice {
    if need == Need::All {
        return Choice::Primary(Why::Fresh);
    }
    let admitted = || candidates.iter().filter(|candidate| candidate.is_admitted);
    let ready = || admitted().filter(|candidate| need.is_met_at(candidate.position));
    if let Some(pinned) = ready().find(|candidate| Some(candidate.server) == pinned) {
        return Choice::Replica(pinned.server);
    }
    let least = ready().map(|candidate| candidate.in_flight).min();
    let free: Vec<usize> = ready()
        .filter(|candidate| Some(candidate.in_flight) == least)
        .map(|candidate| candidate.server)
        .collect();
    if let Some(server) = free.get(turn.checked_rem(free.len()).unwrap_or(0)) {
        return Choice::Replica(*server);
    }
    let Need::At(place) = need else { return Choice::Primary(Why::NoReplica) };
    let soon = |candidate: &&Candidate| {
        candidate.position.timeline() == place.timeline() && candidate.lag.is_some_and(|lag| lag <= patience)
    };
    match admitted().filter(soon).max_by_key(|candidate| candidate.position.lsn()) {
        Some(candidate) if !patience.is_zero() => Choice::Await(candidate.server),
        _ if admitted().next().is_none() => Choice::Primary(Why::NoReplica),
        _ => Choice::Primary(Why::OwnWrites),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    fn replica(server: usize, lsn: u64, in_flight: usize) -> Candidate {
        let (position, lag) = (Position::new(1, lsn), Some(Duration::ZERO));
        Candidate { server, is_admitted: true, position, lag, in_flight }
    }

    fn at(lsn: u64) -> Need {
        Need::At(Position::new(1, lsn))
    }

    #[test]
    fn a_read_goes_where_what_it_must_see_is_and_the_load_is_least() {
        let late = Some(Duration::from_secs(2));
        let two = [replica(1, 100, 3), replica(2, 90, 0)];
        let gone = two.map(|one| Candidate { is_admitted: false, ..one });
        let slow = two.map(|one| Candidate { lag: late, ..one });
        for (candidates, need, pinned, expected) in [
            (&two[..], Need::Any, None, Choice::Replica(2)),
            (&two, Need::Any, Some(1), Choice::Replica(1)),
            (&two, at(95), None, Choice::Replica(1)),
            (&two, at(95), Some(2), Choice::Replica(1)),
            (&two, at(101), None, Choice::Await(1)),
            (&slow, at(101), None, Choice::Primary(Why::OwnWrites)),
            (&two, Need::At(Position::new(2, 1)), None, Choice::Primary(Why::OwnWrites)),
            (&two, Need::All, None, Choice::Primary(Why::Fresh)),
            (&gone, Need::Any, Some(1), Choice::Primary(Why::NoReplica)),
            (&gone, at(1), None, Choice::Primary(Why::NoReplica)),
            (&[], Need::Any, None, Choice::Primary(Why::NoReplica)),
        ] {
            assert_eq!(choose(candidates, need, pinned, PATIENCE, 7), expected, "{need:?} {pinned:?}");
        }
        assert_eq!(choose(&two, at(101), None, Duration::ZERO, 0), Choice::Primary(Why::OwnWrites));
    }

    #[test]
    fn equals_take_turns() {
        let three = [replica(1, 9, 1), replica(2, 9, 1), replica(3, 9, 1)];
        let chosen: Vec<Choice> =
            (0..3).map(|turn| choose(&three, Need::Any, None, PATIENCE, turn)).collect();
        assert_eq!(chosen, [Choice::Replica(1), Choice::Replica(2), Choice::Replica(3)]);
    }

    #[test]
    fn two_needs_together_are_the_greater_one() {
        for (one, other, expected) in [
            (Need::Any, at(5), at(5)),
            (at(5), at(7), at(7)),
            (Need::All, at(7), Need::All),
            (at(5), Need::At(Position::new(2, 1)), Need::All),
        ] {
            assert_eq!((one.and(other), other.and(one)), (expected, expected));
        }
    }

    proptest! {
        #[test]
        fn no_replica_is_chosen_that_lacks_what_must_be_seen(
            replicas in prop::collection::vec((0_u64..20, 0_usize..3, any::<bool>(), 1_u32..3, 0_u64..900), 0..5),
            need in 0_u64..25, pinned in prop::option::of(0_usize..5), turn: usize,
        ) {
            let candidates: Vec<Candidate> = replicas.iter().enumerate().map(|(server, one)| Candidate {
                server,
                is_admitted: one.2,
                position: Position::new(one.3, one.0),
                lag: Some(Duration::from_millis(one.4)),
                in_flight: one.1,
            }).collect();
            match choose(&candidates, at(need), pinned, PATIENCE, turn) {
                Choice::Replica(server) => {
                    prop_assert!(candidates[server].is_admitted);
                    prop_assert!(candidates[server].position.includes(Position::new(1, need)));
                }
                Choice::Await(server) => prop_assert!(candidates[server].is_admitted),
                Choice::Primary(_) => {
                    let has = |one: &Candidate| one.is_admitted && at(need).is_met_at(one.position);
                    prop_assert!(!candidates.iter().any(has));
                }
            }
        }
    }
}
