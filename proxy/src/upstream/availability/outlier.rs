//! Decides when failed attempts eject a backend, for how long, and what admits it again.

use std::time::Duration;

use tokio::time::Instant;

use super::tally::{Evidence, Fault};
use super::{Change, Limits};

/// What the requests found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outlier {
    /// In rotation.
    Admitted(Record),
    /// Out of rotation until then; after that one request tries it.
    Ejected {
        until: Instant,
        /// How long it is out each time.
        term: Duration,
        why: Reason,
        /// Ejections that are not forgiven yet, this one included.
        times: u32,
    },
}

/// What is held against a backend in rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Failures since nginx's window began.
    failed: u32,
    since: Option<Instant>,
    /// Ejections before it was admitted, and when that was.
    times: u32,
    admitted: Option<Instant>,
    /// In shadow: it counts as out until then, and is not judged.
    as_if_out: Option<Instant>,
    /// It was spared, and that is not told again until then.
    spared: Option<Instant>,
}

/// Which rule ejected a backend. Also the value of the `reason` label and log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// nginx's: `max_fails` within `fail_timeout`.
    MaxFails,
    /// Connection faults in a row.
    FaultsInRow,
    /// Answers 502, 503, 504 in a row.
    ErrorsInRow,
    /// Too large a part of the attempts.
    FailureRatio,
}

impl Reason {
    /// Its spelling in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MaxFails => "max_fails",
            Self::FaultsInRow => "consecutive_faults",
            Self::ErrorsInRow => "consecutive_errors",
            Self::FailureRatio => "failure_ratio",
        }
    }

    /// Whether the rule counts such a failure.
    fn minds(self, is_listed: bool, fault: Fault) -> bool {
        match self {
            Self::MaxFails => is_listed,
            Self::FaultsInRow => fault == Fault::Connection,
            Self::ErrorsInRow => fault != Fault::Answer,
            Self::FailureRatio => true,
        }
    }

    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] =
        [Self::MaxFails, Self::FaultsInRow, Self::ErrorsInRow, Self::FailureRatio];
}

impl Default for Outlier {
    fn default() -> Self {
        Self::Admitted(Record::default())
    }
}

impl Outlier {
    /// Takes in a failed attempt; `is_listed`: of a kind that nginx's rule counts.
    pub(super) fn failed(
        &mut self,
        is_listed: bool,
        evidence: Evidence,
        now: Instant,
        limits: &Limits,
    ) -> Option<Change> {
        let Self::Admitted(record) = self else { return None };
        if record.as_if_out.is_some_and(|until| now < until) {
            return None;
        }
        let why = record.judge(is_listed, evidence, now, limits)?;
        if !limits.has_others {
            return None;
        }
        let times = record.times_at(now, limits) + 1;
        let term = term(why, times, limits);
        if !limits.has_room && !limits.outlier.shadow {
            if record.spared.is_some_and(|until| now < until) {
                return None;
            }
            record.spared = Some(now + term);
            return Some(Change::Spared(why));
        }
        if limits.outlier.shadow {
            *record = Record {
                times,
                admitted: Some(now + term),
                as_if_out: Some(now + term),
                ..Record::default()
            };
            return Some(Change::WouldEject(why));
        }
        *self = Self::Ejected { until: now + term, term, why, times };
        Some(Change::Ejected(why))
    }

    /// Whether it is out of rotation now.
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        matches!(self, Self::Ejected { until, .. } if *until > now)
    }

    /// One request may try it, once its time is up.
    pub(super) fn begin_trial(&mut self, now: Instant) -> Option<Change> {
        match self {
            Self::Ejected { until, term, .. } if *until <= now => {
                *until = now + *term;
                Some(Change::TrialBegan)
            }
            Self::Ejected { .. } | Self::Admitted(_) => None,
        }
    }

    /// The trial went well.
    pub(super) fn end_trial(&mut self, now: Instant) -> Option<Change> {
        let Self::Ejected { times, .. } = *self else { return None };
        *self = Self::Admitted(Record { times, admitted: Some(now), ..Record::default() });
        Some(Change::Admitted)
    }

    /// The trial showed nothing: the next request may try.
    pub(super) fn abandon_trial(&mut self, now: Instant) -> Option<Change> {
        let Self::Ejected { until, .. } = self else { return None };
        *until = now;
        Some(Change::TrialAbandoned)
    }

    /// A trial that failed as the rule minds it ejects again, for longer; that it stays out is no change. One that
    /// failed otherwise shows that what the rule minds is over.
    pub(super) fn fail_trial(
        &mut self,
        is_listed: bool,
        fault: Fault,
        now: Instant,
        limits: &Limits,
    ) -> Option<Change> {
        let Self::Ejected { until, term: length, why, times } = self else { return None };
        if !why.minds(is_listed, fault) {
            return self.end_trial(now);
        }
        *times = times.saturating_add(1);
        *length = term(*why, *times, limits);
        *until = now + *length;
        None
    }
}

impl Record {
    /// The first rule that is broken.
    fn judge(
        &mut self,
        is_listed: bool,
        evidence: Evidence,
        now: Instant,
        limits: &Limits,
    ) -> Option<Reason> {
        let (fails, rules) = (limits.fails, limits.outlier);
        if is_listed && fails.max_fails > 0 {
            if self.since.is_none_or(|since| now.duration_since(since) > fails.fail_timeout) {
                (self.failed, self.since) = (0, Some(now));
            }
            self.failed = self.failed.saturating_add(1);
            if self.failed >= fails.max_fails {
                return Some(Reason::MaxFails);
            }
        }
        let reached = |seen: u32, limit: u32| limit > 0 && seen >= limit;
        if reached(evidence.faults_in_row, rules.consecutive_faults) {
            return Some(Reason::FaultsInRow);
        }
        if reached(evidence.errors_in_row, rules.consecutive_errors) {
            return Some(Reason::ErrorsInRow);
        }
        let most = rules.failure_ratio * f64::from(evidence.attempts);
        let is_too_much = rules.failure_ratio > 0.0 && f64::from(evidence.failed) >= most;
        (is_too_much && evidence.attempts >= rules.min_requests).then_some(Reason::FailureRatio)
    }

    /// Ejections that still count: one is forgiven for each base term in rotation.
    fn times_at(&self, now: Instant, limits: &Limits) -> u32 {
        let Some(admitted) = self.admitted else { return 0 };
        let healthy = now.saturating_duration_since(admitted).as_millis();
        let forgiven = healthy / limits.outlier.eject_time.as_millis().max(1);
        self.times.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }
}

/// Whether one more of so many backends may be ejected, beside those that are: a part of them (Envoy's
/// `max_ejection_percent`), and one in any case.
pub(crate) fn has_room(ejected: usize, backends: usize, most: f64) -> bool {
    // A tenth of a thousandth: 29 % of 100 backends are 29, whatever the binary fraction says.
    let most = (backends as f64 * most + 1e-4).floor();
    ejected == 0 || (ejected + 1) as f64 <= most
}

/// How long an ejection lasts: nginx's rule has its one time, the others double theirs each time.
fn term(why: Reason, times: u32, limits: &Limits) -> Duration {
    let rules = limits.outlier;
    match why {
        Reason::MaxFails => limits.fails.fail_timeout,
        Reason::FaultsInRow | Reason::ErrorsInRow | Reason::FailureRatio => {
            let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
            rules
                .eject_time
                .checked_mul(factor)
                .map_or(rules.max_eject_time, |term| term.min(rules.max_eject_time))
        }
    }
}

#[cfg(test)]
mod tests;
