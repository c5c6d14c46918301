//! Decides what an attempt's outcome says about its backend, and tells everyone who keeps count of it.

use std::time::Duration;

use tokio::time::Instant;

use super::availability::Event;
use super::availability::tally::Fault;
use super::{Chosen, Upstream};
use crate::retry::Failure;

/// What a failure or an answer's status says about the backend; `None`: nothing bad.
pub(crate) fn fault_of(failure: Failure) -> Option<Fault> {
    match failure {
        // The connection grew old; that is nobody's fault.
        Failure::StaleConnection => None,
        Failure::Connect
        | Failure::ConnectTimeout
        | Failure::Reset
        | Failure::ReadTimeout
        | Failure::WriteTimeout
        | Failure::AttemptTimeout
        | Failure::Protocol => Some(Fault::Connection),
        Failure::Status(502..=504) => Some(Fault::Gateway),
        Failure::Status(500..) => Some(Fault::Answer),
        Failure::Status(_) => None,
    }
}

impl Upstream {
    /// An attempt was answered well.
    pub(crate) fn succeeded(&self, chosen: &Chosen, now: Instant) {
        let member = &self.backends[chosen.lease.index];
        member.tally.succeeded(self.millis(now), self.window());
        if chosen.is_trial {
            self.apply(chosen.lease.index, Event::TrialSucceeded, now);
        }
    }

    /// An attempt failed; `is_listed`: the route would have it tried again, which is what nginx's rule counts.
    pub(crate) fn failed(&self, chosen: &Chosen, failure: Failure, is_listed: bool, now: Instant) {
        // A status below 500 that a route lists (429) is the backend's word, not its weakness; nginx counts it.
        let fault = fault_of(failure).unwrap_or(Fault::Answer);
        let index = chosen.lease.index;
        let member = &self.backends[index];
        let now_ms = self.millis(now);
        member.penalty.add(now_ms);
        let evidence = member.tally.failed(fault, now_ms, self.window());
        self.apply(
            index,
            if chosen.is_trial {
                Event::TrialFailed { is_listed, fault }
            } else {
                Event::AttemptFailed { is_listed, evidence }
            },
            now,
        );
        member.suspected.notify_one();
    }

    fn window(&self) -> Duration {
        self.config.outlier.window
    }
}
