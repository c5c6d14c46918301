//! Decides when a backend is probed, and what a probe finds.
//!
//! The probe itself is pingora's; the total time limit is ours, because pingora limits single reads only.

use std::time::Duration;

use cirque_shared::request_id::random;
use pingora::lb::Backend as Target;
use pingora::lb::health_check::{HealthCheck as _, HttpHealthCheck};
use tokio::time::Instant;

use super::availability::Event;
use super::backend::Backend;
use crate::config::policy::Probe;

/// A suspected backend is probed at once, but not more often than this share of the interval.
const SUSPICION_SPACING: u32 = 5;

/// Probes a backend, and tells what came of it, until the task is dropped.
pub(crate) async fn watch(backend: &Backend, policy: &Probe, tell: impl Fn(Event)) {
    let check = check(&backend.name, &policy.path, policy.timeout);
    let target = Target::new(&backend.address.to_string()).expect("a socket address is a target");
    loop {
        let started = Instant::now();
        let outcome = tokio::time::timeout(policy.timeout, check.check(&target)).await;
        let took = started.elapsed();
        let verdict = match &outcome {
            Ok(Ok(())) => "success",
            Ok(Err(_)) => "failure",
            Err(_) => "timeout",
        };
        backend.metrics.probed(verdict, took);
        tell(if verdict == "success" { Event::ProbeSucceeded } else { Event::ProbeFailed });

        tokio::time::sleep(policy.interval / SUSPICION_SPACING).await;
        let rest = jittered(policy.interval - policy.interval / SUSPICION_SPACING, random());
        let _ = tokio::time::timeout(rest, backend.suspected.notified()).await;
    }
}

/// The pause, 10 % shorter or longer.
fn jittered(pause: Duration, random: u64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * ((random >> 11) as f64 / (1_u64 << 53) as f64))
}

fn check(host: &str, path: &str, timeout: Duration) -> HttpHealthCheck {
    let mut check = HttpHealthCheck::new(host, false);
    check.peer_template.options.connection_timeout = Some(timeout);
    check.peer_template.options.read_timeout = Some(timeout);
    check.peer_template.options.write_timeout = Some(timeout);
    check.req.set_uri(path.parse().expect("the path was checked with the configuration"));
    let _ = check.req.insert_header("User-Agent", concat!("cirque-probe/", env!("CARGO_PKG_VERSION")));
    check.validator = Some(Box::new(|head| {
        if (200..400).contains(&head.status.as_u16()) {
            return Ok(());
        }
        pingora::Error::e_explain(
            pingora::ErrorType::CustomCode("probe", head.status.as_u16()),
            "unhealthy status",
        )
    }));
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_by_ten_percent() {
        let pause = Duration::from_secs(10);
        assert_eq!(jittered(pause, 0), Duration::from_secs(9));
        assert!(jittered(pause, u64::MAX) <= Duration::from_secs(11));
    }
}
