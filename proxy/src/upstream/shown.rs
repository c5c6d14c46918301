//! Decides what the gauges of a pool say, at the moment when somebody looks.

use tokio::time::Instant;

use super::Upstream;
use super::availability::{Probe, Unavailable};
use crate::balance::load::share;
use crate::config::policy::ProbeKind;

/// What a backend may be shown as; exactly one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It takes its whole share.
    Up,
    /// It takes its share, and no probe has said yet that it is well.
    Checking,
    /// It is back and takes less than its share.
    SlowStart,
    Down,
    Ejected,
    Draining,
    Maintenance,
}

impl State {
    /// The value of the `state` label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Checking => "checking",
            Self::SlowStart => "slow_start",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }

    /// Every state, so that each series exists from the start.
    pub(crate) const ALL: [Self; 7] = [
        Self::Up,
        Self::Checking,
        Self::SlowStart,
        Self::Down,
        Self::Ejected,
        Self::Draining,
        Self::Maintenance,
    ];
}

impl Upstream {
    /// Brings the gauges up to date: some things change by time alone.
    pub(crate) fn show(&self, now: Instant) {
        let now_ms = self.millis(now);
        let mut counts = State::ALL.map(|state| (state.name(), 0_i64));
        let (mut usual, mut backups) = (false, false);
        for (index, member) in self.backends.iter().enumerate() {
            let state = self.state(index, now);
            if let Some((_, count)) = counts.iter_mut().find(|(name, _)| *name == state.name()) {
                *count += 1;
            }
            let is_available = member.is_available(now_ms);
            let shares = is_available && member.weight > 0;
            usual |= shares && !member.config.backup;
            backups |= shares && member.config.backup;
            let started = share(member.weight, member.back_for(now_ms), member.config.slow_start);
            let effective = if is_available { started } else { 0 };
            member.metrics.up.set(i64::from(is_available));
            member.metrics.member.show(state.name(), member.weight, effective);
            member.metrics.member.connected(member.in_flight(), member.idle.len());
        }
        self.metrics.show(&counts, !usual && backups, !usual && !backups && self.config.fail_open);
    }

    /// What a backend is at this moment, in one word.
    pub(crate) fn state(&self, index: usize, now: Instant) -> State {
        let (member, facts, now_ms) = (&self.backends[index], self.facts(index), self.millis(now));
        match facts.verdict(now) {
            Err(Unavailable::Draining) => State::Draining,
            Err(Unavailable::Maintenance) => State::Maintenance,
            Err(Unavailable::Down) => State::Down,
            Err(Unavailable::Ejected) => State::Ejected,
            Ok(()) if member.back_for(now_ms) < member.config.slow_start => State::SlowStart,
            Ok(()) if facts.probe == Probe::Unknown && self.config.probe.kind != ProbeKind::Off => {
                State::Checking
            }
            Ok(()) => State::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::TRANSITIONS;
    use crate::metrics::pool::{EJECTIONS, STATES};
    use crate::operator::Duty;
    use crate::upstream::availability::{Change, Reason};

    #[test]
    fn every_name_has_a_series() {
        assert_eq!(State::ALL.map(State::name), STATES);
        assert_eq!(Reason::ALL.map(Reason::name), EJECTIONS);
        let ordered = [Duty::Active, Duty::Draining, Duty::Maintenance].map(Change::Ordered);
        let found = [Change::Up, Change::Down, Change::Ejected(Reason::ALL[0]), Change::Admitted];
        let counted = found.into_iter().chain(ordered).map(Change::name);
        assert!(counted.eq(TRANSITIONS.map(|(to, _)| to)));
    }
}
