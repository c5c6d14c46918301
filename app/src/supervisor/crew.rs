//! Decides which processes there should be: whom to start, whom to replace, whom to end, and how long to wait after a crash.
//!
//! It is told what happened and what time it is, and says what to do; it starts and ends nothing itself.

mod kinds;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use cirque_shared::backoff::Backoff;
use tokio::time::Instant;

use crate::metrics::Census;

pub(super) use kinds::{Action, Id, News, Reason, Rules};
use kinds::{Coming, Member, Phase, Slot};

/// How long a process may take to be ready.
const START: Duration = Duration::from_secs(60);

/// A process that lived this long has started well: its next crash is a first one.
const SETTLED: Duration = Duration::from_secs(10);

/// So many crashes in a row, and a place is said to be failing.
const FAILING: u32 = 3;

/// A process is not replaced for its memory before: a limit that none can keep must not start them without end.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);

/// How long the end of a killed process is waited for before another one starts in its place.
const DYING: Duration = Duration::from_secs(5);

/// The pause before a process is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The processes of one node.
#[derive(Debug)]
pub(super) struct Crew {
    rules: Rules,
    /// Counts configurations; processes of an older one are on their way out.
    generation: u64,
    /// The next configuration, until all its processes are ready.
    coming: Option<Coming>,
    slots: BTreeMap<u16, Slot>,
    members: BTreeMap<Id, Member>,
    next: Id,
    is_stopping: bool,
    backoff: Backoff,
    news: Vec<News>,
}

impl Crew {
    /// The first processes start with the next step.
    pub(super) fn new(rules: Rules) -> Self {
        let backoff = Backoff::try_new(FIRST_PAUSE, LONGEST_PAUSE).expect("200 ms is below 30 s");
        let mut crew = Self {
            rules,
            generation: 0,
            coming: None,
            slots: BTreeMap::new(),
            members: BTreeMap::new(),
            next: 1,
            is_stopping: false,
            backoff,
            news: Vec::new(),
        };
        crew.renew(rules);
        crew
    }

    /// Begins to replace all processes by those of another configuration; whether it could. One change at a time.
    pub(super) fn renew(&mut self, rules: Rules) -> bool {
        if self.coming.is_some() || self.is_stopping {
            return false;
        }
        self.coming = Some(Coming { rules, is_begun: false, failed: None });
        true
    }

    /// The next configuration cannot be put to work, for this reason.
    pub(super) fn refuse(&mut self, why: &str) {
        if let Some(coming) = &mut self.coming {
            coming.failed.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Everybody is to end.
    pub(super) fn stop(&mut self, now: Instant) -> Vec<Action> {
        self.is_stopping = true;
        self.coming = None;
        let mut actions = Vec::new();
        for (id, member) in &mut self.members {
            match member.phase {
                Phase::Serving | Phase::Leaving => {
                    member.enter(Phase::Stopping, now);
                    actions.push(Action::Stop(*id));
                }
                Phase::Starting | Phase::Ready => {
                    member.kill(Reason::Stop, now);
                    actions.push(Action::Kill(*id));
                }
                Phase::Stopping | Phase::Killed => {}
            }
        }
        actions
    }

    /// Whether nobody is left of those who were to end.
    pub(super) fn is_done(&self) -> bool {
        self.is_stopping && self.members.is_empty()
    }

    /// Everything is open in this process.
    pub(super) fn ready(&mut self, id: Id, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.heard = now;
            if member.phase == Phase::Starting {
                member.enter(Phase::Ready, now);
            }
        }
    }

    /// This process lives, and has served so many requests.
    pub(super) fn beat(&mut self, id: Id, requests: u64, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.heard = now;
            member.requests = requests;
        }
    }

    /// This process has so much memory, in bytes.
    pub(super) fn weighed(&mut self, id: Id, bytes: u64) {
        if let Some(member) = self.members.get_mut(&id) {
            member.memory = bytes;
        }
    }

    /// This process is over; the reason it is counted under. `how` says what is known of it.
    pub(super) fn ended(&mut self, id: Id, how: &str, now: Instant, random: u64) -> Reason {
        let Some(member) = self.members.remove(&id) else { return Reason::Crash };
        let reason = match (member.phase, member.due) {
            (Phase::Killed | Phase::Leaving, Some(due)) => due,
            (Phase::Stopping, _) => Reason::Stop,
            (Phase::Starting | Phase::Ready, _) => Reason::Start,
            _ => Reason::Crash,
        };
        if member.generation > self.generation {
            self.refuse(how);
        } else if member.generation == self.generation && reason.is_a_failure() && !self.is_stopping {
            self.fail(&member, reason, how, now, random);
        }
        reason
    }

    /// A process of this configuration did not end as it should: the next one waits for a while.
    fn fail(&mut self, member: &Member, reason: Reason, how: &str, now: Instant, random: u64) {
        let Some(slot) = self.slots.get_mut(&member.slot) else { return };
        let is_settled = now.duration_since(member.started) >= SETTLED;
        slot.failures = if is_settled { 1 } else { slot.failures.saturating_add(1) };
        let pause = self.backoff.after(slot.failures, random);
        slot.not_before = Some(now + pause);
        let how = how.to_owned();
        if slot.is_failing {
            self.news.push(News::StillFailing { slot: member.slot, reason, how, pause });
        } else if slot.failures >= FAILING {
            slot.is_failing = true;
            self.news.push(News::Failing { slot: member.slot, reason, how });
        } else {
            self.news.push(News::Failed { slot: member.slot, reason, how, pause });
        }
    }

    /// How many there are.
    pub(super) fn census(&self) -> Census {
        let count = |phases: &[Phase]| {
            let of = self.members.values().filter(|member| phases.contains(&member.phase)).count();
            i64::try_from(of).unwrap_or(i64::MAX)
        };
        Census {
            starting: count(&[Phase::Starting, Phase::Ready]),
            serving: count(&[Phase::Serving]),
            leaving: count(&[Phase::Leaving, Phase::Stopping, Phase::Killed]),
        }
    }

    /// Those who answer questions.
    pub(super) fn answering(&self) -> impl Iterator<Item = Id> {
        let of = |member: &Member| matches!(member.phase, Phase::Serving | Phase::Leaving | Phase::Stopping);
        self.members.iter().filter(move |(_, member)| of(member)).map(|(id, _)| *id)
    }

    /// What is to be done now. `random` brings 64 random bits.
    pub(super) fn step(&mut self, now: Instant, random: &mut impl FnMut() -> u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.end_overdue(now, &mut actions);
        if !self.is_stopping {
            self.advance(now, random, &mut actions);
            self.fill(now, random, &mut actions);
            self.succeed(now, &mut actions);
            self.recycle(now, random, &mut actions);
            self.recover(now);
        }
        actions.extend(self.news.drain(..).map(Action::Tell));
        actions
    }

    /// Ends whoever takes longer than it may, or shows no sign of life.
    fn end_overdue(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (id, member) in &mut self.members {
            let since = now.duration_since(member.entered);
            let is_silent = now.duration_since(member.heard) > self.rules.silence;
            let reason = match member.phase {
                Phase::Starting if since > START => Reason::Slow,
                Phase::Leaving | Phase::Stopping if since > self.rules.longest_end => Reason::Overdue,
                Phase::Ready | Phase::Serving | Phase::Leaving | Phase::Stopping if is_silent => {
                    Reason::Silent
                }
                _ => continue,
            };
            member.kill(reason, now);
            self.news.push(News::Killed { slot: member.slot, reason });
            actions.push(Action::Kill(*id));
        }
    }

    /// Puts the next configuration to work once all its processes are ready, or ends them when one cannot be.
    fn advance(&mut self, now: Instant, random: &mut impl FnMut() -> u64, actions: &mut Vec<Action>) {
        let Some(coming) = &mut self.coming else { return };
        let number = self.generation + 1;
        let is_first = !std::mem::replace(&mut coming.is_begun, true);
        let (rules, failed) = (coming.rules, coming.failed.clone());
        if let Some(why) = failed {
            self.coming = None;
            for (id, member) in self.members.iter_mut().filter(|(_, member)| member.generation == number) {
                if member.phase != Phase::Killed {
                    member.kill(Reason::Withdrawn, now);
                    actions.push(Action::Kill(*id));
                }
            }
            // Its number is not used again: its processes may still be ending.
            self.forget(number);
            self.news.push(News::NotRenewed { why });
        } else if is_first {
            for slot in 1..=rules.workers {
                actions.push(self.start(slot, number, rules, now, random()));
            }
        } else if self.ready_of(number).count() == usize::from(rules.workers) {
            self.coming = None;
            for (id, member) in &mut self.members {
                match member.phase {
                    Phase::Ready if member.generation == number => {
                        member.enter(Phase::Serving, now);
                        actions.push(Action::Go(*id));
                    }
                    Phase::Serving => {
                        member.leave(Reason::Reload, now);
                        actions.push(Action::Leave(*id));
                    }
                    Phase::Starting | Phase::Ready => {
                        member.kill(Reason::Reload, now);
                        actions.push(Action::Kill(*id));
                    }
                    Phase::Leaving | Phase::Stopping | Phase::Killed => {}
                }
            }
            (self.generation, self.rules) = (number, rules);
            self.slots = (1..=rules.workers).map(|slot| (slot, Slot::default())).collect();
            self.news.push(News::Renewed { generation: number });
        }
    }

    /// What is left of a configuration that was withdrawn belongs to none.
    fn forget(&mut self, number: u64) {
        for member in self.members.values_mut().filter(|member| member.generation == number) {
            member.generation = 0;
        }
    }

    fn ready_of(&self, generation: u64) -> impl Iterator<Item = &Member> {
        let members = self.members.values();
        members.filter(move |member| member.generation == generation && member.phase == Phase::Ready)
    }

    /// Starts whom nobody stands in for.
    fn fill(&mut self, now: Instant, random: &mut impl FnMut() -> u64, actions: &mut Vec<Action>) {
        let is_due = |slot: &Slot| slot.not_before.is_none_or(|at| now >= at);
        let due = self.slots.iter().filter(|(_, slot)| is_due(slot)).map(|(number, _)| *number);
        // Whoever was killed has a moment to be gone, so that its end is counted and the pause after it is kept.
        let is_dying = |slot: u16| {
            self.members.values().any(|member| {
                (member.slot, member.generation, member.phase) == (slot, self.generation, Phase::Killed)
                    && now.duration_since(member.entered) < DYING
            })
        };
        let is_empty = |slot: &u16| self.holders(*slot).next().is_none() && !is_dying(*slot);
        let empty: Vec<u16> = due.filter(is_empty).collect();
        for slot in empty {
            actions.push(self.start(slot, self.generation, self.rules, now, random()));
        }
    }

    /// Lets those who are ready serve, and those leave whom they stand in for.
    fn succeed(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let ready = self
            .members
            .iter()
            .filter(|(_, member)| member.generation == self.generation && member.phase == Phase::Ready);
        let ready: Vec<(Id, u16)> = ready.map(|(id, member)| (*id, member.slot)).collect();
        for (successor, slot) in ready {
            let elders = self.holders(slot).filter(|(id, _)| *id != successor).map(|(id, _)| id);
            for elder in elders.collect::<Vec<_>>() {
                if let Some(member) = self.members.get_mut(&elder) {
                    let reason = member.due.unwrap_or(Reason::Reload);
                    member.leave(reason, now);
                    self.news.push(News::Replaced { slot, reason });
                    actions.push(Action::Leave(elder));
                }
            }
            if let Some(member) = self.members.get_mut(&successor) {
                member.enter(Phase::Serving, now);
                actions.push(Action::Go(successor));
            }
        }
    }

    /// Starts a successor for one who has served enough. One at a time, and never more on their way out than there are
    /// places: what comes must not cost those who serve.
    fn recycle(&mut self, now: Instant, random: &mut impl FnMut() -> u64, actions: &mut Vec<Action>) {
        let census = self.census();
        if self.coming.is_some() || census.starting > 0 || census.leaving >= i64::from(self.rules.workers) {
            return;
        }
        let is_ready = |slot: &u16| {
            let slot = self.slots.get(slot);
            slot.is_some_and(|slot| slot.not_before.is_none_or(|at| now >= at))
        };
        let rules = self.rules;
        let due = self.members.values_mut().find_map(|member| {
            let is_ours = member.generation == self.generation && member.phase == Phase::Serving;
            let due = member.outlived(rules, now, SHORTEST_LIFE).filter(|_| is_ours)?;
            if !is_ready(&member.slot) {
                return None;
            }
            member.due = Some(due);
            Some(member.slot)
        });
        if let Some(slot) = due {
            actions.push(self.start(slot, self.generation, rules, now, random()));
        }
    }

    /// Says that a place is well again.
    fn recover(&mut self, now: Instant) {
        let serving = self.members.values().filter(|member| {
            member.generation == self.generation
                && member.phase == Phase::Serving
                && now.duration_since(member.entered) >= SETTLED
        });
        for slot in serving.map(|member| member.slot).collect::<Vec<_>>() {
            if let Some(state) = self.slots.get_mut(&slot).filter(|state| state.failures > 0) {
                if state.is_failing {
                    self.news.push(News::Recovered { slot });
                }
                *state = Slot::default();
            }
        }
    }

    /// Who holds a place now, or is about to.
    fn holders(&self, slot: u16) -> impl Iterator<Item = (Id, &Member)> {
        let holds = move |member: &Member| {
            member.slot == slot
                && member.generation == self.generation
                && matches!(member.phase, Phase::Starting | Phase::Ready | Phase::Serving)
        };
        self.members.iter().filter(move |(_, member)| holds(member)).map(|(id, member)| (*id, member))
    }

    fn start(&mut self, slot: u16, generation: u64, rules: Rules, now: Instant, random: u64) -> Action {
        let id = self.next;
        self.next += 1;
        let quota = rules.quota(random);
        self.members.insert(id, Member::new(slot, generation, quota, now));
        Action::Start { id, slot, generation, quota }
    }
}
