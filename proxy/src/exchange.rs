//! One request from its head to its log line: which route, which backends, what went wrong, what was answered.
//!
//! The data path reports what happened and is told what to do; this room asks the deciding rooms in order and
//! keeps the record. However a request ends, dropping the exchange releases the backend and writes the line.

mod admission;
mod attempts;
mod spans;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cirque_shared::metrics::http::{InFlight, NO_ROUTE};
use cirque_shared::trace::Trace;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::access_log::combined::Said;
use crate::access_log::{Attempt, Line};
use crate::balance::Key;
use crate::config::policy::Unavailable;
use crate::door::Door;
use crate::edge::Edge;
use crate::limit::concurrency::Slot;
use crate::metrics::route::RouteSeries;
use crate::respond::Refusal;
use crate::retry::{Failure, GiveUp};
use crate::site::{Limit, Route};
use crate::upstream::Chosen;

/// Stale pooled connections that one request may meet before they count as failures.
const MOST_STALE: u32 = 8;

/// What is known of a request from its head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) client: IpAddr,
    /// The listener that the request came in on; `None`: it is the edge's own.
    pub(crate) door: Option<Arc<Door>>,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    /// Whether repeating the request changes nothing (RFC 9110 §9.2.2).
    pub(crate) is_idempotent: bool,
    /// The trace that it belongs to.
    pub(crate) trace: Option<Trace>,
    /// What the combined format asks of its head.
    pub(crate) said: Option<Box<Said>>,
}

/// What the data path knows when an attempt failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// Whether the body, as far as it was read, can be sent again from the start.
    pub(crate) is_replayable: bool,
    /// Whether the client has seen any part of an answer.
    pub(crate) answer_started: bool,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Exchange {
    edge: Arc<Edge>,
    head: Head,
    started: Instant,
    /// When the request arrived, for its line.
    arrived: Option<OffsetDateTime>,
    route: Option<Arc<Route>>,
    attempts: Vec<Attempt>,
    tried: Vec<usize>,
    /// What the request is recognised by, where that decides who is asked.
    key: Key,
    /// Until the next attempt.
    pause: Duration,
    n_stale: u32,
    active: Option<Active>,
    answered_by: Option<usize>,
    status: Option<u16>,
    refusal: Option<Refusal>,
    last_failure: Option<Failure>,
    gave_up: Option<GiveUp>,
    rule: Option<&'static str>,
    /// How much of the path stood before the `*` of its route.
    matched: usize,
    /// What a refusal's answer says besides its reason.
    fields: Vec<(&'static str, String)>,
    /// The last rate limit that it was above.
    limited: Option<Arc<Limit>>,
    slot: Option<Slot>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    _in_flight: InFlight,
}

/// An attempt that is under way.
#[derive(Debug)]
struct Active {
    chosen: Chosen,
    began: Instant,
    status: Option<u16>,
    /// The part of a recorded trace that it is.
    trace: Option<Trace>,
    /// Whether the pool has heard of its outcome: it is told once.
    is_judged: bool,
}

impl Exchange {
    /// Begins a request.
    pub(crate) fn begin(edge: &Arc<Edge>, head: Head) -> Self {
        if let Some(door) = &head.door {
            door.metrics.in_flight.inc();
        }
        Self {
            edge: Arc::clone(edge),
            arrived: (edge.access_log.is_on() || head.is_recorded()).then(OffsetDateTime::now_utc),
            head,
            started: Instant::now(),
            route: None,
            attempts: Vec::new(),
            tried: Vec::new(),
            key: Key::ANY,
            pause: Duration::ZERO,
            n_stale: 0,
            active: None,
            answered_by: None,
            status: None,
            refusal: None,
            last_failure: None,
            gave_up: None,
            rule: None,
            matched: 0,
            fields: Vec::new(),
            limited: None,
            slot: None,
            bytes_in: 0,
            bytes_out: 0,
            _in_flight: edge.metrics.http.enter(),
        }
    }

    /// What the request said.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// The route that was found.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        self.route.as_ref()
    }

    /// Time left until the route's deadline.
    pub(crate) fn remaining(&self) -> Duration {
        let total = self.route.as_ref().map_or(Duration::ZERO, |route| route.config.timeout);
        total.saturating_sub(self.started.elapsed())
    }

    /// When the answer must have begun.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.route.as_ref().map_or(Duration::ZERO, |route| route.config.timeout)
    }

    /// When the current attempt began.
    pub(crate) fn began(&self) -> Instant {
        self.active.as_ref().map_or(self.started, |active| active.began)
    }

    /// Notes where a client that is sent away is to ask instead.
    pub(crate) fn send_to(&mut self, location: String) {
        self.fields.push(("Location", location));
    }

    /// Notes which rule of the protocol the request broke.
    pub(crate) fn broke(&mut self, rule: Option<&'static str>) {
        self.rule = rule;
    }

    /// The head of an answer is on its way to the client.
    pub(crate) fn answering(&mut self, status: u16) {
        self.status = Some(status);
        let Some(active) = &mut self.active else { return };
        active.status = Some(status);
        self.answered_by = Some(active.chosen.lease.index);
        active.chosen.lease.metrics.answered(status, active.began.elapsed());
    }

    /// Whether a status is one that the route's policy would rather not pass on.
    pub(crate) fn is_retryable(&self, status: u16) -> bool {
        let listed = |route: &Arc<Route>| Failure::Status(status).is_listed(&route.config.retry);
        self.route.as_ref().is_some_and(listed)
    }

    /// The edge answers by itself.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.series().refused(refusal);
        self.refusal = Some(refusal);
        let status = self.unavailable(refusal).map_or(refusal.status(), |own| own.status);
        self.status = self.status.or(Some(status));
    }

    /// What the operator wants answered when no backend is available.
    fn unavailable(&self, refusal: Refusal) -> Option<&Unavailable> {
        let route = self.route.as_ref().filter(|_| refusal == Refusal::NoBackend)?;
        Some(&route.upstream.as_ref()?.config.unavailable)
    }

    /// What stands for the last failure, when nothing was answered.
    pub(crate) fn refusal_of_last_failure(&self) -> Option<Refusal> {
        self.last_failure.map(Refusal::of)
    }

    fn series(&self) -> &RouteSeries {
        self.route.as_deref().map_or(&self.edge.no_route, |route| &route.metrics)
    }

    fn write_line(&self) {
        let route = self.route.as_deref();
        let status = self.status.unwrap_or_else(|| Refusal::ClientLeft.status());
        let took = self.started.elapsed();
        let bytes = (self.bytes_in, self.bytes_out);
        self.series().finished(&self.head.method, status, took, bytes);
        if let Some(door) = &self.head.door {
            door.metrics.answered(status);
            door.metrics.in_flight.dec();
        }
        let Some(arrived) = self.arrived else { return };
        self.tell_request(arrived, status, took);
        let backends = route.and_then(|route| Some(&route.upstream.as_ref()?.backends));
        self.edge.access_log.write(&Line {
            arrived,
            request_id: &self.head.id,
            client: self.head.client,
            method: &self.head.method,
            host: &self.head.host,
            path: &self.head.path,
            status,
            reason: self.refusal.map(Refusal::reason),
            rule: self.rule,
            listener: self.head.door.as_ref().map_or("", |door| &door.config.name),
            route: route.map_or(NO_ROUTE, |route| &route.config.name),
            upstream: route.and_then(|route| route.config.action.upstream()),
            backend: self.answered_by.and_then(|index| Some(backends?.get(index)?.config.id.as_str())),
            took,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            attempts: &self.attempts,
            gave_up: self.gave_up.map(GiveUp::reason),
            trace_id: self.head.trace.as_ref().map(Trace::id),
            said: self.head.said.as_deref(),
            limited: self.limited.as_ref().map(|limit| (limit.config.name.as_str(), limit.config.is_dry_run)),
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.status.is_none() && self.refusal.is_none() {
            self.refuse(Refusal::ClientLeft);
        }
        self.release();
        self.write_line();
    }
}
