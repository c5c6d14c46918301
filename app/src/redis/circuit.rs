//! Decides whether Redis is asked at all: up, slow or down, from what was heard of it.
//!
//! Requests say what they heard while it is up. While it is not, none is sent: a probe alone finds out when it is
//! back. Each fall soon after a return makes the next return harder, so that a Redis that comes and goes is left alone.

use std::time::Duration;

use tokio::time::Instant;

/// So many commands in a row without an answer are enough.
const SILENT: u32 = 3;
/// So many slow answers in a row.
const SLOW: u32 = 5;
/// So many quick answers of probes in a row for a return.
const RISE: u32 = 3;
/// The most that are asked for after many falls: about ten seconds of probes.
const LONGEST_RISE: u32 = 96;
/// A fall so soon after a return makes the next one harder.
const SOON: Duration = Duration::from_secs(60);

/// How Redis stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is asked.
    Up,
    /// It answers, too late to be of use.
    Slow,
    /// It is of no use.
    Down(Reason),
}

/// Why Redis is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has asked it yet.
    Starting,
    /// No connection can be made.
    Unreachable,
    /// The connection was lost.
    Lost,
    /// There is no answer in time.
    Silent,
    /// It does not let us in, or does not let us do what we must.
    Denied,
    /// It is a replica, or no sentinel knows who leads.
    NotPrimary,
    /// It says itself that it cannot serve: loading its data, or a cluster that lacks a part.
    Unfit,
}

/// What was heard of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer, after this time.
    Answer(Duration),
    /// None, or one that says that there will be none.
    Nothing(Reason),
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) from: State,
    pub(super) to: State,
    /// How long it had been in the former state.
    pub(super) after: Duration,
}

/// What is known of Redis.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    state: State,
    since: Instant,
    /// Of everything that was heard.
    all: Runs,
    /// Of probes alone: they ask every part of a cluster, of which requests that meet the other parts hear nothing.
    probes: Runs,
    /// Quick answers of probes in a row that make a return.
    rise: u32,
    slow_after: Duration,
}

/// How often something was heard in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    silent: u32,
    slow: u32,
    quick: u32,
}

impl Runs {
    fn note(&mut self, heard: Heard, slow_after: Duration) {
        *self = match heard {
            Heard::Answer(took) if took <= slow_after => Self { quick: self.quick + 1, ..Self::default() },
            Heard::Answer(_) => Self { slow: self.slow + 1, ..Self::default() },
            Heard::Nothing(_) => Self { silent: self.silent + 1, slow: self.slow, quick: 0 },
        };
    }
}

impl State {
    /// Every word of [`State::word`].
    pub const WORDS: [&str; 3] = ["up", "slow", "down"];

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Down(_) => "down",
        }
    }

    /// Why it is in this state.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Up => "answers",
            Self::Slow => "slow_answers",
            Self::Down(reason) => reason.word(),
        }
    }
}

impl Reason {
    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Denied => "denied",
            Self::NotPrimary => "not_primary",
            Self::Unfit => "unfit",
        }
    }

    /// Whether hearing it once is enough.
    fn is_certain(self) -> bool {
        !matches!(self, Self::Silent | Self::Unfit)
    }
}

impl Circuit {
    pub(super) fn new(slow_after: Duration, now: Instant) -> Self {
        let state = State::Down(Reason::Starting);
        Self { state, since: now, all: Runs::default(), probes: Runs::default(), rise: RISE, slow_after }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Takes in what was heard, by a probe or by a request. What requests hear late, of a state that is over, says
    /// nothing.
    pub(super) fn hear(&mut self, heard: Heard, is_probe: bool, now: Instant) -> Option<Turn> {
        if self.state != State::Up && !is_probe {
            return None;
        }
        self.all.note(heard, self.slow_after);
        if is_probe {
            self.probes.note(heard, self.slow_after);
        }
        let silent = self.all.silent.max(self.probes.silent);
        let slow = self.all.slow.max(self.probes.slow);
        // While it is not up nothing else is heard.
        let quick = self.probes.quick;
        let next = match (self.state, heard) {
            (State::Down(Reason::Starting), Heard::Nothing(reason)) => State::Down(reason),
            (State::Down(_), Heard::Nothing(_)) => return None,
            (_, Heard::Nothing(reason)) if reason.is_certain() || silent >= SILENT => State::Down(reason),
            (State::Up | State::Down(_), _) if slow >= SLOW => State::Slow,
            (State::Down(Reason::Starting), _) if quick > 0 => State::Up,
            (State::Slow | State::Down(_), _) if quick >= self.rise => State::Up,
            _ => return None,
        };
        if self.state == State::Up {
            let is_soon = now.duration_since(self.since) < SOON;
            self.rise = if is_soon { (self.rise * 2).min(LONGEST_RISE) } else { RISE };
        }
        let turn = Turn { from: self.state, to: next, after: now.duration_since(self.since) };
        (self.state, self.since) = (next, now);
        (self.all, self.probes) = (Runs::default(), Runs::default());
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Heard = Heard::Answer(Duration::from_millis(1));
    const LATE: Heard = Heard::Answer(Duration::from_millis(30));
    const SILENCE: Heard = Heard::Nothing(Reason::Silent);

    struct Story {
        circuit: Circuit,
        now: Instant,
    }

    impl Story {
        fn up() -> Self {
            let now = Instant::now();
            let mut story = Self { circuit: Circuit::new(Duration::from_millis(25), now), now };
            story.probes(1, QUICK);
            assert_eq!(story.circuit.state(), State::Up);
            story
        }

        fn probes(&mut self, count: u32, heard: Heard) -> State {
            for _ in 0..count {
                self.now += Duration::from_millis(100);
                self.circuit.hear(heard, true, self.now);
            }
            self.circuit.state()
        }

        fn requests(&mut self, count: u32, heard: Heard) -> State {
            for _ in 0..count {
                self.circuit.hear(heard, false, self.now);
            }
            self.circuit.state()
        }
    }

    #[test]
    fn silence_is_believed_the_third_time_and_a_lost_connection_at_once() {
        let mut story = Story::up();
        assert_eq!(story.requests(2, SILENCE), State::Up);
        assert_eq!(story.requests(1, QUICK), State::Up);
        assert_eq!(story.requests(2, SILENCE), State::Up);
        assert_eq!(story.requests(1, SILENCE), State::Down(Reason::Silent));
        for reason in [Reason::Lost, Reason::Unreachable, Reason::Denied, Reason::NotPrimary] {
            assert_eq!(Story::up().requests(1, Heard::Nothing(reason)), State::Down(reason));
        }
    }

    #[test]
    fn five_slow_answers_in_a_row_are_slow_and_one_quick_one_between_is_not() {
        let mut story = Story::up();
        assert_eq!(story.requests(4, LATE), State::Up);
        assert_eq!(story.requests(1, QUICK), State::Up);
        assert_eq!(story.requests(5, LATE), State::Slow);
        assert_eq!(story.probes(2, SILENCE), State::Slow);
        assert_eq!(story.probes(1, SILENCE), State::Down(Reason::Silent));
        assert_eq!(story.probes(5, LATE), State::Slow);
    }

    /// Two of three requests meet parts of a cluster that are well.
    #[test]
    fn a_part_of_a_cluster_that_is_slow_or_silent_is_found_by_probes_among_quick_requests() {
        for (heard, times, expected) in
            [(LATE, SLOW, State::Slow), (SILENCE, SILENT, State::Down(Reason::Silent))]
        {
            let mut story = Story::up();
            for _ in 1..times {
                story.requests(2, QUICK);
                assert_eq!(story.probes(1, heard), State::Up);
            }
            story.requests(2, QUICK);
            assert_eq!(story.probes(1, heard), expected);
        }
    }

    #[test]
    fn only_probes_bring_it_back_and_only_quick_ones_in_a_row() {
        let mut story = Story::up();
        story.now += SOON;
        story.requests(3, SILENCE);
        assert_eq!(story.requests(50, QUICK), State::Down(Reason::Silent));
        assert_eq!(story.probes(2, QUICK), State::Down(Reason::Silent));
        assert_eq!(story.probes(1, SILENCE), State::Down(Reason::Silent));
        assert_eq!(story.probes(2, QUICK), State::Down(Reason::Silent));
        assert_eq!(story.probes(1, QUICK), State::Up);
    }

    #[test]
    fn one_that_comes_and_goes_must_answer_for_longer_each_time_and_a_quiet_minute_forgives() {
        let mut story = Story::up();
        let mut needed = Vec::new();
        for _ in 0..8 {
            story.requests(3, SILENCE);
            let mut probes = 0;
            while story.probes(1, QUICK) != State::Up {
                probes += 1;
            }
            needed.push(probes + 1);
        }
        assert_eq!(needed, [6, 12, 24, 48, 96, 96, 96, 96]);
        story.now += SOON;
        story.requests(3, SILENCE);
        assert_eq!(story.probes(3, QUICK), State::Up);
    }

    #[test]
    fn a_turn_says_from_where_to_where_and_after_how_long_and_nothing_is_said_twice() {
        let mut story = Story::up();
        story.now += Duration::from_secs(7);
        let lost = Heard::Nothing(Reason::Lost);
        let turn = story.circuit.hear(lost, true, story.now).expect("it falls");
        assert_eq!((turn.from, turn.to, turn.after.as_secs()), (State::Up, State::Down(Reason::Lost), 7));
        assert_eq!(story.circuit.hear(lost, true, story.now), None);
        assert_eq!(story.circuit.hear(SILENCE, true, story.now), None);
    }
}
