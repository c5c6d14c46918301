//! Decides when all processes have said what they counted, and who wanted to know.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::crew::Id;

/// How long a process may take to say what it has counted; after that its last word counts.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Questions, one after the other: who asks while one is open gets the answer to the next.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    number: u64,
    open: Option<Round>,
    next: BTreeSet<Id>,
}

#[derive(Debug)]
struct Round {
    until: Instant,
    missing: BTreeSet<Id>,
    askers: BTreeSet<Id>,
}

impl Rounds {
    /// This process wants to know.
    pub(super) fn ask(&mut self, id: Id) {
        self.next.insert(id);
    }

    /// Begins a round when somebody asks and none is open: its number, with which `all` are to be asked.
    pub(super) fn begin(&mut self, all: impl Iterator<Item = Id>, now: Instant) -> Option<u64> {
        if self.open.is_some() || self.next.is_empty() {
            return None;
        }
        self.number += 1;
        let askers = std::mem::take(&mut self.next);
        self.open = Some(Round { until: now + PATIENCE, missing: all.collect(), askers });
        Some(self.number)
    }

    /// This process has answered.
    pub(super) fn answered(&mut self, id: Id, round: u64) {
        if let Some(open) = self.open.as_mut().filter(|_| round == self.number) {
            open.missing.remove(&id);
        }
    }

    /// This process is no more.
    pub(super) fn ended(&mut self, id: Id) {
        self.next.remove(&id);
        if let Some(open) = &mut self.open {
            open.missing.remove(&id);
            open.askers.remove(&id);
        }
    }

    /// Who is to be told, when everybody has answered or had time enough.
    pub(super) fn finish(&mut self, now: Instant) -> Option<BTreeSet<Id>> {
        let is_over = self.open.as_ref().is_some_and(|open| open.missing.is_empty() || now >= open.until);
        if is_over { self.open.take().map(|round| round.askers) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_round_ends_with_the_last_answer_and_later_questions_wait_for_the_next() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        assert_eq!(rounds.begin([1, 2].into_iter(), now), None, "nobody asks");
        rounds.ask(1);
        let first = rounds.begin([1, 2].into_iter(), now).unwrap();
        rounds.ask(2);
        assert_eq!(rounds.begin([1, 2].into_iter(), now), None, "one at a time");
        rounds.answered(1, first);
        assert_eq!(rounds.finish(now), None);
        rounds.answered(2, first);
        assert_eq!(rounds.finish(now), Some(BTreeSet::from([1])));
        let second = rounds.begin([1, 2].into_iter(), now).unwrap();
        rounds.answered(1, first);
        rounds.answered(2, second);
        assert_eq!(rounds.finish(now), None, "an answer to the first question is none to the second");
        rounds.ended(1);
        assert_eq!(rounds.finish(now), Some(BTreeSet::from([2])));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_answer_is_not_waited_for() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        rounds.ask(1);
        rounds.begin([1, 2].into_iter(), now).unwrap();
        assert_eq!(rounds.finish(now), None);
        assert_eq!(rounds.finish(now + PATIENCE), Some(BTreeSet::from([1])));
    }
}
