//! The metrics of one route: what its clients saw, how much went through, and what was refused.

use std::sync::OnceLock;
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
    /// By the place of the refusal: made at the first of its kind, so that a flood of them takes no lock.
    refused: [OnceLock<Counter>; Refusal::ALL.len()],
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
            refused: std::array::from_fn(|_| OnceLock::new()),
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
        let counter = &self.refused[refusal as usize];
        // What a retired route still refuses must not bring its series back.
        if counter.get().is_some() || !self.is_retired.load(Ordering::Acquire) {
            counter.get_or_init(|| self.families.refusals.with(&[&self.name, refusal.reason()])).inc();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_counted_under_its_route_until_the_route_is_gone() {
        let registry = Registry::new();
        let (families, http) = (Families::new(&registry), HttpMetrics::new(&registry));
        let route = families.route(&http, "api");
        let shown = |text: &str| registry.text().contains(text);
        assert!(shown(r#"proxy_refusals_total{reason="rate",route="none"} 0"#));
        assert!(!shown(r#"proxy_refusals_total{reason="rate",route="api"}"#), "not before the first");
        (0..3).for_each(|_| route.refused(Refusal::Rate));
        assert!(shown(r#"proxy_refusals_total{reason="rate",route="api"} 3"#));
        route.retire();
        route.refused(Refusal::Rate);
        route.refused(Refusal::Overload);
        assert!(!shown(r#"route="api""#), "{}", registry.text());
    }
}
