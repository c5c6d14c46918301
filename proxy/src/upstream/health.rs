//! Decides when a backend is probed, and tells its availability what was found.

use std::time::Duration;

use cirque_shared::request_id::random;
use tokio::time::Instant;

use super::availability::{self, Event};
use super::backend::Backend;
use super::lock;
use super::probe::{self, Found};
use crate::config::policy::{Probe, ProbeKind};

/// A suspected backend is probed at once, but not more often than this share of the interval.
const SUSPICION_SPACING: u32 = 5;

/// Probes a backend, and tells what came of it, until the task is dropped.
pub(crate) async fn watch(backend: &Backend, policy: &Probe, tell: impl Fn(Event)) {
    if policy.kind == ProbeKind::Off {
        // Nobody will ask again: what earlier probes found must not stay.
        (0..policy.rise).for_each(|_| tell(Event::ProbeSucceeded));
        return;
    }
    loop {
        let started = Instant::now();
        let found = probe::ask(backend, policy).await;
        backend.metrics.probed(found.name(), started.elapsed());
        if found == Found::Well {
            tell(Event::ProbeSucceeded);
        } else {
            note(backend, found);
            tell(Event::ProbeFailed);
        }
        let is_in_doubt = lock(&backend.facts).probe.is_in_doubt();
        let whole = pause(policy, is_in_doubt, random());
        let least = whole.min(spacing(policy));
        tokio::time::sleep(least).await;
        let _ = tokio::time::timeout(whole - least, backend.suspected.notified()).await;
    }
}

/// Says what a probe found, until it is known that the backend is down.
fn note(backend: &Backend, found: Found) {
    if matches!(lock(&backend.facts).probe, availability::Probe::Down { .. }) {
        return;
    }
    let (id, address, reason) = (backend.id.as_str(), backend.name.as_str(), found.name());
    match found {
        Found::Status(status) => tracing::warn!(backend = id, address, reason, status, "probe failed"),
        _ => tracing::warn!(backend = id, address, reason, "probe failed"),
    }
}

/// Until the next probe.
fn pause(policy: &Probe, is_in_doubt: bool, random: u64) -> Duration {
    let whole = if is_in_doubt { policy.fast_interval.min(policy.interval) } else { policy.interval };
    let drawn = (random >> 11) as f64 / (1_u64 << 53) as f64;
    whole.mul_f64(1.0 - policy.jitter + 2.0 * policy.jitter * drawn)
}

/// Between two probes at least, however suspected a backend is.
fn spacing(policy: &Probe) -> Duration {
    (policy.interval / SUSPICION_SPACING).min(policy.fast_interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Probe {
        Probe { interval: 10 * SECOND, fast_interval: SECOND, jitter: 0.1, ..Probe::default() }
    }

    #[test]
    fn pauses_are_spread_by_the_jitter_and_shorter_in_doubt() {
        assert_eq!(pause(&policy(), false, 0), 9 * SECOND);
        assert_eq!(pause(&policy(), true, 0), SECOND.mul_f64(0.9));
        let longest = pause(&policy(), false, u64::MAX);
        assert!(longest > SECOND.mul_f64(10.9) && longest <= 11 * SECOND, "{longest:?}");
        let steady = Probe { jitter: 0.0, ..policy() };
        assert_eq!(pause(&steady, false, 12_345), 10 * SECOND);
    }

    #[test]
    fn doubt_never_makes_probes_rarer() {
        let quick = Probe { interval: SECOND / 10, jitter: 0.0, ..policy() };
        assert_eq!(pause(&quick, true, 0), SECOND / 10);
        assert_eq!(spacing(&quick), SECOND / 50);
        assert_eq!(spacing(&policy()), SECOND);
    }
}
