//! The life of a node's processes, told with a clock that does what it is told.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    workers: 3,
    max_requests: 0,
    max_memory: 0,
    silence: Duration::from_secs(10),
    longest_end: Duration::from_secs(40),
};

const MB: u64 = 1 << 20;

/// A crew, its clock, and what it said last.
struct Told {
    crew: Crew,
    now: Instant,
    news: Vec<News>,
}

impl Told {
    /// All serve.
    fn serving(rules: Rules) -> Told {
        let mut told = Told { crew: Crew::new(rules), now: Instant::now(), news: Vec::new() };
        let started = told.step();
        assert_eq!(started.len(), usize::from(rules.workers));
        let ids: Vec<Id> = started.iter().map(id_of).collect();
        ids.iter().for_each(|id| told.crew.ready(*id, told.now));
        let gone: Vec<Action> = told.step();
        assert_eq!(gone, ids.iter().map(|id| Action::Go(*id)).collect::<Vec<_>>());
        assert_eq!(told.news, [News::Renewed { generation: 1 }]);
        told
    }

    fn step(&mut self) -> Vec<Action> {
        self.news.clear();
        let actions = self.crew.step(self.now, &mut || 0);
        let is_news = |action: &Action| matches!(action, Action::Tell(_));
        let (news, actions): (Vec<Action>, Vec<Action>) = actions.into_iter().partition(is_news);
        self.news.extend(news.into_iter().filter_map(|action| match action {
            Action::Tell(news) => Some(news),
            _ => None,
        }));
        actions
    }

    /// Everybody lives on so long.
    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        let all: Vec<Id> = self.crew.members.keys().copied().collect();
        all.iter().for_each(|id| self.crew.members.get_mut(id).unwrap().heard = self.now);
        self.step()
    }

    fn ended(&mut self, id: Id) -> Reason {
        self.crew.ended(id, "was ended by signal 9", self.now, u64::MAX)
    }
}

fn id_of(action: &Action) -> Id {
    match action {
        Action::Start { id, .. }
        | Action::Go(id)
        | Action::Leave(id)
        | Action::Stop(id)
        | Action::Kill(id) => *id,
        Action::Tell(news) => panic!("{news:?}"),
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn quotas_are_a_tenth_more_or_less() {
    let rules = Rules { max_requests: 500, ..RULES };
    let quotas: BTreeSet<u64> = (0..10_000).map(|random| rules.quota(random)).collect();
    assert_eq!((quotas.first(), quotas.last()), (Some(&450), Some(&550)));
    assert_eq!(RULES.quota(7), 0);
    assert_eq!(Rules { max_requests: 3, ..RULES }.quota(7), 3);
}

#[test]
fn a_process_that_served_enough_leaves_after_its_successor_serves() {
    let mut told = Told::serving(Rules { max_requests: 100, ..RULES });
    told.crew.beat(2, 89, told.now);
    assert_eq!(told.step(), []);
    told.crew.beat(2, 90, told.now);
    let started = told.step();
    assert!(
        matches!(started[..], [Action::Start { id: 4, slot: 2, generation: 1, quota: 90 }]),
        "{started:?}"
    );
    // The next waits for its turn.
    told.crew.beat(3, 200, told.now);
    assert_eq!(told.step(), []);
    told.crew.ready(4, told.now);
    let actions = told.step();
    assert_eq!(actions[..2], [Action::Leave(2), Action::Go(4)]);
    assert!(matches!(actions[2..], [Action::Start { slot: 3, .. }]), "{actions:?}");
    assert_eq!(told.news, [News::Replaced { slot: 2, reason: Reason::Requests }]);
    assert_eq!(told.ended(2), Reason::Requests);
    assert_eq!(told.crew.slots[&2].failures, 0);
}

#[test]
fn a_successor_that_cannot_start_costs_nobody_a_place() {
    let mut told = Told::serving(Rules { max_requests: 10, ..RULES });
    told.crew.beat(1, 10, told.now);
    let successor = id_of(&told.step()[0]);
    assert_eq!(told.ended(successor), Reason::Start);
    assert_eq!(told.step(), [], "it waits");
    assert_eq!(told.crew.census().serving, 3);
    assert!(matches!(told.pass(secs(1))[..], [Action::Start { slot: 1, .. }]));
}

#[test]
fn too_much_memory_counts_once_a_process_has_lived_a_little() {
    let mut told = Told::serving(Rules { max_memory: 100 * MB, ..RULES });
    told.crew.weighed(1, 101 * MB);
    assert_eq!(told.step(), []);
    assert!(matches!(told.pass(SHORTEST_LIFE)[..], [Action::Start { slot: 1, .. }]));
    told.crew.ready(4, told.now);
    told.step();
    assert_eq!(told.news, [News::Replaced { slot: 1, reason: Reason::Memory }]);
}

#[test]
fn a_crash_loop_is_told_when_it_begins_and_when_it_is_over_and_disturbs_nobody() {
    let mut told = Told::serving(RULES);
    let (mut id, mut told_of, mut pauses) = (1, Vec::new(), Vec::new());
    for _ in 0..8 {
        let before = told.now;
        assert!(matches!(told.ended(id), Reason::Crash | Reason::Start));
        assert_eq!(told.step(), [], "the next one waits");
        told_of.append(&mut told.news);
        let started = loop {
            let actions = told.pass(Duration::from_millis(50));
            if !actions.is_empty() {
                break actions;
            }
        };
        pauses.push(told.now - before);
        assert!(matches!(started[..], [Action::Start { slot: 1, .. }]), "{started:?}");
        id = id_of(&started[0]);
        assert_eq!(told.crew.census().serving, 2);
    }
    assert!(pauses.is_sorted() && pauses[7] > secs(20), "{pauses:?}");
    let loud = told_of.iter().filter(|news| !matches!(news, News::StillFailing { .. }));
    assert_eq!(loud.count(), 3, "{told_of:?}");
    assert!(matches!(told_of[2], News::Failing { slot: 1, .. }));
    told.crew.ready(id, told.now);
    assert_eq!(told.step(), [Action::Go(id)]);
    told.pass(SETTLED);
    assert_eq!(told.news, [News::Recovered { slot: 1 }]);
    told.ended(id);
    told.step();
    assert!(matches!(told.news[..], [News::Failed { pause, .. }] if pause <= FIRST_PAUSE), "{:?}", told.news);
}

#[test]
fn a_process_that_is_silent_is_killed_and_replaced() {
    let mut told = Told::serving(RULES);
    told.now += secs(11);
    (2..=3).for_each(|id| told.crew.beat(id, 0, told.now));
    assert_eq!(told.step(), [Action::Kill(1)]);
    assert_eq!(told.news, [News::Killed { slot: 1, reason: Reason::Silent }]);
    assert_eq!(told.step(), [], "it is killed once");
    assert_eq!(told.ended(1), Reason::Silent);
    assert!(matches!(told.pass(secs(1))[..], [Action::Start { slot: 1, .. }]));
}

#[test]
fn a_process_that_does_not_get_ready_is_killed() {
    let mut told = Told::serving(RULES);
    told.ended(3);
    told.step();
    let started = id_of(&told.pass(secs(1))[0]);
    assert_eq!(told.pass(START), []);
    assert_eq!(told.pass(secs(1)), [Action::Kill(started)]);
    assert_eq!(told.ended(started), Reason::Slow);
}

#[test]
fn another_configuration_is_at_work_in_all_processes_or_in_none() {
    let mut told = Told::serving(RULES);
    assert!(told.crew.renew(Rules { workers: 2, ..RULES }));
    let started = told.step();
    assert!(matches!(
        started[..],
        [
            Action::Start { id: 4, slot: 1, generation: 2, .. },
            Action::Start { id: 5, slot: 2, generation: 2, .. }
        ]
    ));
    assert!(!told.crew.renew(RULES), "one after the other");
    told.crew.ready(4, told.now);
    assert_eq!(told.step(), [], "nobody serves by it before all can");
    told.crew.ready(5, told.now);
    let expected = [Action::Leave(1), Action::Leave(2), Action::Leave(3), Action::Go(4), Action::Go(5)];
    assert_eq!(told.step(), expected);
    assert_eq!(told.news, [News::Renewed { generation: 2 }]);
    assert_eq!(told.ended(1), Reason::Reload);
    assert_eq!(told.crew.census(), Census { starting: 0, serving: 2, leaving: 2 });
}

#[test]
fn a_configuration_that_one_process_cannot_start_with_is_withdrawn() {
    let mut told = Told::serving(RULES);
    told.crew.renew(RULES);
    told.step();
    told.crew.ready(4, told.now);
    assert_eq!(told.crew.ended(5, "the database is gone", told.now, 0), Reason::Start);
    assert_eq!(told.step(), [Action::Kill(4), Action::Kill(6)]);
    assert_eq!(told.news, [News::NotRenewed { why: "the database is gone".to_owned() }]);
    assert_eq!((told.ended(4), told.ended(6)), (Reason::Withdrawn, Reason::Withdrawn));
    assert_eq!((told.step(), told.crew.census().serving), (vec![], 3));
    assert!(told.crew.renew(RULES), "the next one may try");
}

#[test]
fn the_first_processes_start_or_nothing_does() {
    let mut told = Told { crew: Crew::new(RULES), now: Instant::now(), news: Vec::new() };
    told.step();
    told.crew.ended(2, "no database", told.now, 0);
    assert_eq!(told.step(), [Action::Kill(1), Action::Kill(3)]);
    assert_eq!(told.news, [News::NotRenewed { why: "no database".to_owned() }]);
}

#[test]
fn a_stop_waits_for_all_and_kills_at_the_deadline() {
    let mut told = Told::serving(Rules { max_requests: 10, ..RULES });
    told.crew.beat(1, 10, told.now);
    let successor = id_of(&told.step()[0]);
    let now = told.now;
    let expected = [Action::Stop(1), Action::Stop(2), Action::Stop(3), Action::Kill(successor)];
    assert_eq!(told.crew.stop(now), expected);
    assert!(!told.crew.renew(RULES));
    for id in [1, 2, successor] {
        assert_eq!(told.ended(id), Reason::Stop);
    }
    assert_eq!(told.pass(secs(40)), []);
    assert!(!told.crew.is_done());
    assert_eq!(told.pass(secs(1)), [Action::Kill(3)]);
    assert_eq!(told.ended(3), Reason::Overdue);
    assert!(told.crew.is_done());
}

proptest! {
    /// Whatever ends, is replaced or renewed: nobody is told to leave before another one serves in its place.
    #[test]
    fn a_place_is_never_given_up_before_it_is_taken(steps in prop::collection::vec((0_u8..7, 0_u64..8), 1..120)) {
        let mut told = Told::serving(Rules { max_requests: 100, ..RULES });
        for (what, which) in steps {
            let ids: Vec<Id> = told.crew.members.keys().copied().collect();
            let id = ids.get(usize::try_from(which).unwrap() % ids.len().max(1)).copied().unwrap_or(0);
            let mut crashed = 0;
            match what {
                0 | 1 => told.crew.ready(id, told.now),
                2 => told.crew.beat(id, 200, told.now),
                3 => {
                    crashed = i64::from(told.crew.members.get(&id).is_some_and(|m| m.phase == Phase::Serving));
                    told.ended(id);
                }
                4 => drop(told.crew.renew(RULES)),
                5 => told.now += Duration::from_millis(500),
                _ => told.crew.weighed(id, which),
            }
            let before = told.crew.census().serving;
            for (_, member) in told.crew.members.iter_mut() {
                member.heard = told.now;
            }
            told.step();
            let after = told.crew.census();
            prop_assert!(after.serving >= before, "{before} served, now {after:?} ({crashed} crashed before)");
            prop_assert!(after.serving <= 3);
            prop_assert!(after.starting <= 6);
        }
    }
}
