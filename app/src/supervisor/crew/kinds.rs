//! What is known of one process and one place, and what can be decided about them.

use std::time::Duration;

use tokio::time::Instant;

/// Names a process for as long as the supervisor lives.
pub(in crate::supervisor) type Id = u64;

/// What holds for the processes of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct Rules {
    /// How many.
    pub(in crate::supervisor) workers: u16,
    /// Requests after which one is replaced; 0 for never.
    pub(in crate::supervisor) max_requests: u64,
    /// Bytes above which one is replaced; 0 for never.
    pub(in crate::supervisor) max_memory: u64,
    /// One that shows no sign of life for so long is killed.
    pub(in crate::supervisor) silence: Duration,
    /// From the word to end to the kill.
    pub(in crate::supervisor) longest_end: Duration,
}

impl Rules {
    /// The requests that one process may serve: a tenth more or less, so that they do not go together.
    pub(super) fn quota(&self, random: u64) -> u64 {
        let tenth = self.max_requests / 10;
        (self.max_requests + random % (2 * tenth + 1)).saturating_sub(tenth)
    }
}

/// Why a process ended, or is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Reason {
    /// It has served as many requests as it may.
    Requests,
    /// It has more memory than it may.
    Memory,
    /// Another configuration is at work.
    Reload,
    /// The node stops.
    Stop,
    /// It ended by itself while it served.
    Crash,
    /// It ended before it was ready.
    Start,
    /// It was not ready in time.
    Slow,
    /// It showed no sign of life.
    Silent,
    /// It took longer to end than it may.
    Overdue,
    /// The configuration that it was started for was not put to work.
    Withdrawn,
}

impl Reason {
    /// The word for logs and metrics.
    pub(in crate::supervisor) fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Memory => "memory",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Crash => "crash",
            Self::Start => "start",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Overdue => "overdue",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the next process should wait for a while: this one did not end because it was told to.
    pub(super) fn is_a_failure(self) -> bool {
        matches!(self, Self::Crash | Self::Start | Self::Slow | Self::Silent)
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Action {
    /// Start a process in this place, of this configuration, that may serve so many requests (0 for any number).
    Start { id: Id, slot: u16, generation: u64, quota: u64 },
    /// It may accept connections.
    Go(Id),
    /// Another one has taken over.
    Leave(Id),
    /// The node stops.
    Stop(Id),
    /// It ends now.
    Kill(Id),
    /// Somebody should know.
    Tell(News),
}

/// What the log should say. A place is a slot, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum News {
    /// A process ended; the next one starts after the pause.
    Failed { slot: u16, reason: Reason, how: String, pause: Duration },
    /// Several did so, one after the other.
    Failing { slot: u16, reason: Reason, how: String },
    /// And another one.
    StillFailing { slot: u16, reason: Reason, how: String, pause: Duration },
    /// The place is well again.
    Recovered { slot: u16 },
    /// A process was killed.
    Killed { slot: u16, reason: Reason },
    /// A successor serves.
    Replaced { slot: u16, reason: Reason },
    /// Another configuration is at work.
    Renewed { generation: u64 },
    /// Another configuration could not be put to work; nothing changed.
    NotRenewed { why: String },
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready,
    Serving,
    Leaving,
    Stopping,
    Killed,
}

/// One process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) slot: u16,
    pub(super) generation: u64,
    pub(super) phase: Phase,
    /// When it came into this phase.
    pub(super) entered: Instant,
    pub(super) started: Instant,
    pub(super) heard: Instant,
    pub(super) requests: u64,
    pub(super) memory: u64,
    quota: u64,
    /// Why it is to end.
    pub(super) due: Option<Reason>,
}

/// A configuration whose processes are not all ready yet.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) rules: Rules,
    pub(super) is_begun: bool,
    /// Why it cannot be put to work.
    pub(super) failed: Option<String>,
}

/// One place.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Processes that failed, one after the other.
    pub(super) failures: u32,
    /// When the next one may start.
    pub(super) not_before: Option<Instant>,
    pub(super) is_failing: bool,
}

impl Member {
    pub(super) fn new(slot: u16, generation: u64, quota: u64, now: Instant) -> Self {
        Self {
            slot,
            generation,
            phase: Phase::Starting,
            entered: now,
            started: now,
            heard: now,
            requests: 0,
            memory: 0,
            quota,
            due: None,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.entered) = (phase, now);
    }

    pub(super) fn leave(&mut self, reason: Reason, now: Instant) {
        self.due = Some(reason);
        self.enter(Phase::Leaving, now);
    }

    pub(super) fn kill(&mut self, reason: Reason, now: Instant) {
        self.due = Some(reason);
        self.enter(Phase::Killed, now);
    }

    /// Whether it has served enough.
    pub(super) fn outlived(&self, rules: Rules, now: Instant, shortest_life: Duration) -> Option<Reason> {
        if self.quota > 0 && self.requests >= self.quota {
            return Some(Reason::Requests);
        }
        let is_old = now.duration_since(self.started) >= shortest_life;
        (rules.max_memory > 0 && self.memory > rules.max_memory && is_old).then_some(Reason::Memory)
    }
}
