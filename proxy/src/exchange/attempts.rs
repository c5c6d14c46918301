//! The attempts of one request: who is asked next, what a failure leads to, and what the pool is told of each.

use std::sync::Arc;
use std::time::Duration;

use cirque_shared::request_id::random;
use tokio::time::Instant;

use super::{Active, Exchange, MOST_STALE, Situation};
use crate::access_log::Attempt;
use crate::balance::Key;
use crate::config::policy::HashBy;
use crate::respond::Refusal;
use crate::retry::{self, Attempted, Decision, Failure, GiveUp, backoff};
use crate::site::Route;
use crate::upstream::availability::Event;
use crate::upstream::{Chosen, NoBackend, fault_of};

impl Exchange {
    /// Recognises the request, where its upstream chooses by hash.
    pub(crate) fn recognise(&mut self, key: impl FnOnce(&HashBy) -> Key) {
        if let Some(by) = self.route.as_ref().and_then(|route| route.upstream.as_ref()?.hash_by()) {
            self.key = key(by);
        }
    }

    /// How long one attempt may take, up to the head of its answer.
    pub(crate) fn attempt_timeout(&self) -> Option<Duration> {
        self.route.as_ref().and_then(|route| route.config.retry.attempt_timeout)
    }

    /// Begins an attempt: the backend to ask. Waits for the pause before it, and for room at a backend.
    pub(crate) async fn next_backend(&mut self) -> Result<&Chosen, Refusal> {
        self.release();
        let pause = std::mem::take(&mut self.pause);
        if !pause.is_zero() {
            Box::pin(tokio::time::sleep(pause)).await;
        }
        let deadline = self.deadline();
        let route = self.route.as_ref().ok_or(Refusal::NoRoute)?;
        let mut now = Instant::now();
        if now >= deadline {
            return Err(Refusal::DeadlineReached);
        }
        let upstream = route.upstream.as_ref().ok_or(Refusal::NoRoute)?;
        let mut chosen = upstream.choose(self.key, &self.tried, now);
        if matches!(chosen, Err(NoBackend::Full)) {
            let until = deadline.min(now + upstream.config.queue_timeout);
            // Boxed: few requests wait.
            chosen = Box::pin(upstream.wait(self.key, &self.tried, until)).await;
            now = Instant::now();
        }
        let chosen = chosen.map_err(|why| match why {
            NoBackend::NoneAvailable => Refusal::NoBackend,
            NoBackend::Full | NoBackend::QueueFull => Refusal::QueueFull,
            NoBackend::QueueTimeout if now >= deadline => Refusal::DeadlineReached,
            NoBackend::QueueTimeout => Refusal::QueueTimeout,
            // A stale connection may be followed by a fresh one to the same backend, nothing else.
            NoBackend::AllTried => self.last_failure.map_or(Refusal::NoBackend, Refusal::of),
        })?;
        if let Some(failure) = self.last_failure {
            upstream.metrics.retried(failure);
        }
        Ok(&self
            .active
            .insert(Active { chosen, began: now, status: None, trace: None, is_judged: false })
            .chosen)
    }

    /// The attempt has a connection: an idle one, or a new one since it began.
    pub(crate) fn connected(&self, is_reused: bool) {
        let Some(active) = &self.active else { return };
        let metrics = &active.chosen.lease.metrics;
        if is_reused {
            metrics.reuses.inc();
        } else {
            metrics.connected(active.began.elapsed());
        }
    }

    /// An attempt failed: the backend is judged, and the answer says whether to try another one.
    pub(crate) fn fail(&mut self, failure: Failure, situation: Situation) -> Decision {
        let Some(mut active) = self.active.take() else { return Decision::GiveUp(GiveUp::NoneLeft) };
        let Some(route) = self.route.clone() else { return Decision::GiveUp(GiveUp::NoneLeft) };
        let Some(upstream) = &route.upstream else { return Decision::GiveUp(GiveUp::NoneLeft) };
        let is_stale = failure == Failure::StaleConnection && self.n_stale < MOST_STALE;
        let failure = if failure == Failure::StaleConnection && !is_stale { Failure::Reset } else { failure };
        if is_stale {
            self.n_stale += 1;
            active.chosen.lease.metrics.failed(failure);
        } else {
            self.tried.push(active.chosen.lease.index);
            judge(&route, &mut active, Some(failure), &self.head.id);
        }
        let attempts = u32::try_from(self.tried.len()).unwrap_or(u32::MAX);
        let pause =
            if is_stale { Duration::ZERO } else { backoff::pause(&route.config.retry, attempts, random()) };
        let request = Attempted {
            attempts,
            is_idempotent: self.head.is_idempotent,
            is_replayable: situation.is_replayable,
            answer_started: situation.answer_started,
            remaining: self.remaining(),
            pause,
            untried: upstream.n_untried(&self.tried, Instant::now(), !matches!(failure, Failure::Status(_))),
        };
        let decision = retry::decide(&route.config.retry, failure, &request, &route.budget);
        self.last_failure = Some(failure);
        match decision {
            Decision::Retry => self.pause = pause,
            Decision::GiveUp(why) => {
                upstream.metrics.denied(why);
                self.gave_up = Some(why);
            }
        }
        match (failure, decision) {
            // A status that is passed on is still being answered by this backend: it stays in flight.
            (Failure::Status(_), Decision::GiveUp(_)) => self.active = Some(active),
            (Failure::Status(status), Decision::Retry) => {
                active.chosen.lease.metrics.answered(status, active.began.elapsed());
                self.record(&Active { status: Some(status), ..active }, failure.reason());
            }
            _ => self.record(&active, failure.reason()),
        }
        decision
    }

    /// The time of the request ran out while something else than the backend was slow: it is not blamed.
    pub(crate) fn run_out(&mut self) {
        self.gave_up = Some(GiveUp::DeadlineReached);
        self.release();
    }

    /// The answer went out whole.
    pub(crate) fn succeed(&mut self) {
        if let (Some(mut active), Some(route)) = (self.active.take(), self.route.clone()) {
            let failure = active.status.map(Failure::Status).filter(|failure| fault_of(*failure).is_some());
            judge(&route, &mut active, failure, &self.head.id);
            if let (None, false, Some(upstream)) = (failure, self.tried.is_empty(), &route.upstream) {
                upstream.metrics.retry_success.inc();
            }
            self.record(&active, "answered");
        }
    }

    /// Keeps what the line says of an attempt.
    fn record(&mut self, active: &Active, outcome: &'static str) {
        let Some(arrived) = self.arrived else { return };
        self.tell_attempt(arrived, active, outcome);
        self.attempts.push(Attempt {
            backend: Arc::clone(active.chosen.lease.backend()),
            outcome,
            status: active.status,
            took: active.began.elapsed(),
            fail_open: active.chosen.is_fail_open,
        });
    }

    /// Ends an attempt that nothing more is known of.
    pub(super) fn release(&mut self) {
        if let Some(active) = self.active.take() {
            let upstream = self.route.as_ref().and_then(|route| route.upstream.as_ref());
            if let (true, false, Some(upstream)) = (active.chosen.is_trial, active.is_judged, upstream) {
                upstream.apply(active.chosen.lease.index, Event::TrialAbandoned, Instant::now());
            }
            self.record(&active, "unfinished");
        }
    }
}

/// Tells the pool, once, how an attempt went. A bad answer counts, whether it was retried or passed on.
fn judge(route: &Route, active: &mut Active, failure: Option<Failure>, request_id: &str) {
    let Some(upstream) = &route.upstream else { return };
    if std::mem::replace(&mut active.is_judged, true) {
        return;
    }
    let now = Instant::now();
    let Some(failure) = failure else { return upstream.succeeded(&active.chosen, now) };
    let is_listed = failure.is_listed(&route.config.retry);
    // The counter of failures is of those that a route minds; every status has a counter of its own.
    if is_listed || !matches!(failure, Failure::Status(_)) {
        active.chosen.lease.metrics.failed(failure);
    }
    active.chosen.lease.recent.note(failure.reason(), request_id);
    upstream.failed(&active.chosen, failure, is_listed, now);
}
