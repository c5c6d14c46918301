//! THE room where a backend is marked down, up, ejected or admitted.
//!
//! Pure: events and a `now` go in, a change comes out. Three independent facts, because a backend that is both
//! down and ejected must get over both, and because the operator's word holds whatever the others say. [`super::Upstream::apply`] is the only caller.

pub(crate) mod outlier;
pub(crate) mod tally;

use tokio::time::Instant;

use crate::config::policy;
use crate::operator::Duty;
use tally::{Evidence, Fault};

pub(crate) use outlier::{Outlier, Reason};

/// What is known of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Availability {
    pub(crate) duty: Duty,
    pub(crate) probe: Probe,
    pub(crate) outlier: Outlier,
}

/// What the probes found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Probe {
    /// No verdict yet: taken to be up.
    #[default]
    Unknown,
    /// Healthy; so many probes in a row have failed since.
    Up { failed: u32 },
    /// Not healthy; so many probes in a row have succeeded since.
    Down { since: Instant, succeeded: u32 },
}

/// What happened to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    ProbeSucceeded,
    ProbeFailed,
    /// An attempt failed through the backend's fault; `is_listed`: of a kind that nginx's rule counts.
    AttemptFailed {
        is_listed: bool,
        evidence: Evidence,
    },
    /// A request wants to try it although it is ejected; only granted once its time is up.
    TrialBegan,
    TrialSucceeded,
    TrialFailed {
        is_listed: bool,
        fault: Fault,
    },
    /// It ended without showing anything about the backend: the next request may try.
    TrialAbandoned,
    /// The operator decided.
    Ordered(Duty),
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Down,
    Up,
    Ejected(Reason),
    /// It was to be ejected, if that were not only counted.
    WouldEject(Reason),
    /// It was to be ejected, if as many as may be were not out already.
    Spared(Reason),
    Admitted,
    /// One request may try the backend; nobody else until it is back or the time is up again.
    TrialBegan,
    /// The trial showed nothing; another request may try.
    TrialAbandoned,
    Ordered(Duty),
}

impl Change {
    /// The value of the `to` label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Ejected(_) => "ejected",
            Self::WouldEject(_) => "would_eject",
            Self::Spared(_) => "spared",
            Self::Admitted => "admitted",
            Self::TrialBegan => "trial",
            Self::TrialAbandoned => "abandoned",
            Self::Ordered(duty) => duty.name(),
        }
    }
}

/// Why a backend may not receive a request. The reason that an operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    Draining,
    Maintenance,
    Down,
    Ejected,
}

impl Unavailable {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Draining => Duty::Draining.name(),
            Self::Maintenance => Duty::Maintenance.name(),
            Self::Down => "down",
            Self::Ejected => "ejected",
        }
    }
}

/// What an event is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) fall: u32,
    pub(crate) rise: u32,
    pub(crate) fails: policy::Fails,
    pub(crate) outlier: policy::Outlier,
    /// Whether another backend of the pool may receive a request: the last one is never ejected.
    pub(crate) has_others: bool,
    /// Whether one more of the pool may be ejected.
    pub(crate) has_room: bool,
}

impl Availability {
    /// Takes in one event.
    pub(crate) fn apply(&mut self, event: Event, now: Instant, limits: &Limits) -> Option<Change> {
        match event {
            Event::ProbeSucceeded => self.probe.succeeded(limits.rise),
            Event::ProbeFailed => self.probe.failed(limits.fall, now),
            Event::AttemptFailed { is_listed, evidence } => {
                self.outlier.failed(is_listed, evidence, now, limits)
            }
            Event::TrialBegan => self.outlier.begin_trial(now),
            Event::TrialSucceeded => self.outlier.end_trial(now),
            Event::TrialFailed { is_listed, fault } => self.outlier.fail_trial(is_listed, fault, now, limits),
            Event::TrialAbandoned => self.outlier.abandon_trial(now),
            Event::Ordered(duty) if duty == self.duty => None,
            Event::Ordered(duty) => {
                self.duty = duty;
                Some(Change::Ordered(duty))
            }
        }
    }

    /// Whether a request may go there, and why not.
    pub(crate) fn verdict(&self, now: Instant) -> Result<(), Unavailable> {
        match self.duty {
            Duty::Active => {}
            Duty::Draining => return Err(Unavailable::Draining),
            Duty::Maintenance => return Err(Unavailable::Maintenance),
        }
        if matches!(self.probe, Probe::Down { .. }) {
            return Err(Unavailable::Down);
        }
        match self.outlier {
            Outlier::Ejected { until, .. } if now < until => Err(Unavailable::Ejected),
            Outlier::Ejected { .. } | Outlier::Admitted(_) => Ok(()),
        }
    }

    /// `None`: nothing is held against it. `Some(None)`: out until an event. `Some(until)`: out until then.
    pub(crate) fn blocked_until(&self) -> Option<Option<Instant>> {
        match (&self.probe, &self.outlier) {
            (Probe::Down { .. }, _) => Some(None),
            (_, Outlier::Ejected { until, .. }) => Some(Some(*until)),
            _ => None,
        }
    }
}

impl Probe {
    /// Whether some probes have told otherwise, and not yet enough of them: the next one is worth having soon.
    pub(crate) fn is_in_doubt(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Up { failed } => *failed > 0,
            Self::Down { succeeded, .. } => *succeeded > 0,
        }
    }

    fn succeeded(&mut self, rise: u32) -> Option<Change> {
        match self {
            Self::Unknown | Self::Up { .. } => *self = Self::Up { failed: 0 },
            Self::Down { succeeded, .. } => {
                *succeeded += 1;
                if *succeeded >= rise {
                    *self = Self::Up { failed: 0 };
                    return Some(Change::Up);
                }
            }
        }
        None
    }

    fn failed(&mut self, fall: u32, now: Instant) -> Option<Change> {
        let failed = match self {
            Self::Down { succeeded, .. } => {
                *succeeded = 0;
                return None;
            }
            Self::Unknown => 1,
            Self::Up { failed } => *failed + 1,
        };
        if failed >= fall {
            *self = Self::Down { since: now, succeeded: 0 };
            return Some(Change::Down);
        }
        *self = Self::Up { failed };
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLICY: policy::Fails = policy::Fails { max_fails: 3, fail_timeout: Duration::from_secs(10) };
    const FAILED: Event = Event::AttemptFailed {
        is_listed: true,
        evidence: Evidence { faults_in_row: 1, errors_in_row: 0, attempts: 1, failed: 1 },
    };

    fn limits() -> Limits {
        Limits {
            fall: 3,
            rise: 2,
            fails: POLICY,
            outlier: policy::Outlier::default(),
            has_others: true,
            has_room: true,
        }
    }

    fn after(events: &[Event], limits: &Limits, now: Instant) -> (Availability, Vec<Change>) {
        let mut availability = Availability::default();
        let changes = events.iter().filter_map(|event| availability.apply(*event, now, limits)).collect();
        (availability, changes)
    }

    #[test]
    fn probes_mark_down_after_fall_and_up_after_rise() {
        use Event::{ProbeFailed as Bad, ProbeSucceeded as Good};
        for (events, expected) in [
            (&[Bad, Bad][..], &[][..]),
            (&[Bad, Bad, Bad][..], &[Change::Down][..]),
            (&[Bad, Bad, Good, Bad, Bad][..], &[][..]),
            (&[Bad, Bad, Bad, Good][..], &[Change::Down][..]),
            (&[Bad, Bad, Bad, Good, Good][..], &[Change::Down, Change::Up][..]),
            (&[Bad, Bad, Bad, Good, Bad, Good][..], &[Change::Down][..]),
        ] {
            assert_eq!(after(events, &limits(), Instant::now()).1, expected, "{events:?}");
        }
    }

    #[test]
    fn failed_attempts_within_the_window_eject() {
        let now = Instant::now();
        let (availability, changes) = after(&[FAILED; 3], &limits(), now);
        assert_eq!(changes, [Change::Ejected(Reason::MaxFails)]);
        assert_eq!(availability.verdict(now), Err(Unavailable::Ejected));
        assert_eq!(availability.verdict(now + POLICY.fail_timeout), Ok(()));
    }

    #[test]
    fn failures_further_apart_than_the_window_do_not_add_up() {
        let mut availability = Availability::default();
        let mut now = Instant::now();
        for _ in 0..20 {
            assert_eq!(availability.apply(FAILED, now, &limits()), None);
            now += POLICY.fail_timeout + SECOND;
        }
    }

    #[test]
    fn the_last_available_backend_is_never_ejected() {
        let alone = Limits { has_others: false, ..limits() };
        assert_eq!(after(&[FAILED; 20], &alone, Instant::now()).1, []);
    }

    #[test]
    fn zero_max_fails_switches_ejection_off() {
        let off = Limits { fails: policy::Fails { max_fails: 0, ..POLICY }, ..limits() };
        assert_eq!(after(&[FAILED; 20], &off, Instant::now()).1, []);
    }

    #[test]
    fn an_ejected_backend_is_admitted_by_one_successful_trial() {
        let now = Instant::now();
        let (mut availability, _) = after(&[FAILED; 3], &limits(), now);
        assert_eq!(availability.apply(Event::TrialBegan, now, &limits()), None, "too early");
        let later = now + POLICY.fail_timeout;
        assert_eq!(availability.apply(Event::TrialBegan, later, &limits()), Some(Change::TrialBegan));
        assert_eq!(availability.apply(Event::TrialBegan, later, &limits()), None, "one at a time");
        assert_eq!(availability.verdict(later), Err(Unavailable::Ejected));
        assert_eq!(availability.apply(Event::TrialSucceeded, later, &limits()), Some(Change::Admitted));
        assert_eq!(availability.verdict(later), Ok(()));
    }

    #[test]
    fn a_trial_that_shows_nothing_is_left_to_the_next_request() {
        let now = Instant::now();
        let (mut availability, _) = after(&[FAILED; 3], &limits(), now);
        let later = now + POLICY.fail_timeout;
        availability.apply(Event::TrialBegan, later, &limits());
        availability.apply(Event::TrialAbandoned, later, &limits());
        assert_eq!(availability.apply(Event::TrialBegan, later, &limits()), Some(Change::TrialBegan));
    }

    #[test]
    fn a_failed_trial_ejects_for_another_term() {
        let now = Instant::now();
        let (mut availability, _) = after(&[FAILED; 3], &limits(), now);
        let later = now + POLICY.fail_timeout;
        availability.apply(Event::TrialBegan, later, &limits());
        availability.apply(
            Event::TrialFailed { is_listed: true, fault: Fault::Connection },
            later + SECOND,
            &limits(),
        );
        assert_eq!(availability.verdict(later + POLICY.fail_timeout), Err(Unavailable::Ejected));
        assert_eq!(availability.verdict(later + SECOND + POLICY.fail_timeout), Ok(()));
    }

    #[test]
    fn the_operators_word_holds_whatever_the_others_say_and_leaves_their_facts_alone() {
        let now = Instant::now();
        let mut availability = Availability::default();
        let orders = [
            (Duty::Draining, Some(Change::Ordered(Duty::Draining)), Err(Unavailable::Draining)),
            (Duty::Draining, None, Err(Unavailable::Draining)),
            (Duty::Maintenance, Some(Change::Ordered(Duty::Maintenance)), Err(Unavailable::Maintenance)),
        ];
        for (duty, change, verdict) in orders {
            assert_eq!(availability.apply(Event::Ordered(duty), now, &limits()), change);
            assert_eq!(availability.verdict(now), verdict);
        }
        for _ in 0..3 {
            availability.apply(Event::ProbeFailed, now, &limits());
        }
        availability.apply(Event::Ordered(Duty::Active), now, &limits());
        assert_eq!(availability.verdict(now), Err(Unavailable::Down));
    }

    #[test]
    fn down_and_ejected_are_got_over_separately() {
        let now = Instant::now();
        let events = [[FAILED; 3], [Event::ProbeFailed; 3]].concat();
        let (mut availability, changes) = after(&events, &limits(), now);
        assert_eq!(changes, [Change::Ejected(Reason::MaxFails), Change::Down]);
        for _ in 0..2 {
            availability.apply(Event::ProbeSucceeded, now, &limits());
        }
        assert_eq!(availability.verdict(now), Err(Unavailable::Ejected));
    }
}
