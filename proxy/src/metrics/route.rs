//! The metrics of one route: what its clients saw, how much went through, and what was refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cirque_shared::metrics::http::{HttpMetrics, NO_ROUTE, RouteMetrics};
use cirque_shared::metrics::{Counter, CounterFamily, Registry};

use crate::respond::Refusal;

/// The families.
#[derive(Clone, Debug)]
pub(super) struct Families {
    received: CounterFamily,
    sent: CounterFamily,
    refusals: CounterFamily,
}

/// One route's series.
#[derive(Debug)]
pub(crate) struct RouteSeries {
    name: String,
    common: RouteMetrics,
    families: Families,
    received: Counter,
    sent: Counter,
    is_retired: AtomicBool,
}

impl Families {
    /// Declares everything.
    pub(super) fn new(registry: &Registry) -> Self {
        let this = Self {
            received: registry.counters(
                "proxy_request_body_bytes_total",
                "Bytes of bodies that clients sent, by route.",
                &["route"],
            ),
            sent: registry.counters(
                "proxy_response_body_bytes_total",
                "Bytes of bodies that were sent to clients, by route.",
                &["route"],
            ),
            refusals: registry.counters(
                "proxy_refusals_total",
                "Requests that did not get a whole answer from a backend, by route and reason.",
                &["route", "reason"],
            ),
        };
        // Every reason is there from the start once; a route shows those that it had, or hundreds of routes would
        // show thousands of zeroes.
        for refusal in Refusal::ALL {
            this.refusals.with(&[NO_ROUTE, refusal.reason()]);
        }
        this
    }

    /// The series of one route, from zero.
    pub(super) fn route(&self, http: &HttpMetrics, name: &str) -> RouteSeries {
        RouteSeries {
            name: name.to_owned(),
            common: http.route(name),
            received: self.received.with(&[name]),
            sent: self.sent.with(&[name]),
            families: self.clone(),
            is_retired: AtomicBool::new(false),
        }
    }
}

impl RouteSeries {
    /// Counts one finished request with the status it was answered with (499: the client left before), and the
    /// bytes of its body and of its answer's.
    pub(crate) fn finished(&self, method: &str, status: u16, took: Duration, (received, sent): (u64, u64)) {
        self.common.finished(method, status, took);
        if received > 0 {
            self.received.inc_by(received);
        }
        if sent > 0 {
            self.sent.inc_by(sent);
        }
    }

    /// Counts an answer of the edge's own.
    pub(crate) fn refused(&self, refusal: Refusal) {
        // What a retired route still refuses must not bring its series back.
        if !self.is_retired.load(Ordering::Acquire) {
            self.families.refusals.with(&[&self.name, refusal.reason()]).inc();
        }
    }

    /// Ends the route's series: it is gone from the configuration.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        self.common.retire();
        for family in [&self.families.received, &self.families.sent, &self.families.refusals] {
            family.remove_where(&[("route", &self.name)]);
        }
    }
}
