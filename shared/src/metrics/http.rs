//! The HTTP metrics that both tiers have in common, declared once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Counter, CounterFamily, DURATION_BUCKETS, Histogram, HistogramFamily, Registry, UpDown};

/// The methods that have a series of their own; all others are counted as `OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// The answers whose series exist from the start, so that the first error is visible to `rate()`.
const USUAL: [(&str, u16); 5] = [("GET", 200), ("GET", 500), ("GET", 502), ("GET", 503), ("GET", 504)];

/// What a method is called in metrics: itself when well known, else `OTHER`, so that clients cannot grow the series.
pub fn method_label(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or("OTHER")
}

/// The label of requests that matched no route.
pub const NO_ROUTE: &str = "none";

/// Requests as the client saw them.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: CounterFamily,
    durations: HistogramFamily,
    /// Requests that were read and not yet answered. Move it only by [`InFlight`].
    pub in_flight: UpDown,
}

/// One route's series, looked up once and then counted without a lock per label.
#[derive(Debug)]
pub struct RouteMetrics {
    route: String,
    family: HttpMetrics,
    duration: Histogram,
    /// The series that exist from the start, by (method, status).
    usual: Vec<((&'static str, u16), Counter)>,
    is_retired: AtomicBool,
}

/// Counts one request in flight until it is dropped.
#[derive(Debug)]
pub struct InFlight(UpDown);

impl HttpMetrics {
    /// Declares the common metrics.
    pub fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(
                "http_requests_total",
                "Requests answered, by route, method and status.",
                &["route", "method", "code"],
            ),
            durations: registry.histograms(
                "http_request_duration_seconds",
                "Time from the request's head to the end of its answer, by route.",
                &["route"],
                DURATION_BUCKETS,
            ),
            in_flight: registry.up_down("http_requests_in_flight", "Requests read and not yet answered."),
        }
    }

    /// Shows durations also by the guide's name, in milliseconds.
    pub fn also_in_milliseconds(&self, registry: &Registry) {
        registry.also_as(
            &self.durations,
            "http_request_duration_milliseconds",
            "As http_request_duration_seconds, in the unit that the guide names.",
            &["route"],
            1000.0,
        );
    }

    /// The series of one route, shown from now on with zeroes for GET's success and failures.
    pub fn route(&self, route: &str) -> RouteMetrics {
        let counter = |(method, status): (&'static str, u16)| {
            ((method, status), self.requests.with(&[route, method, &code_label(status)]))
        };
        RouteMetrics {
            route: route.to_owned(),
            family: self.clone(),
            duration: self.durations.with(&[route]),
            usual: USUAL.into_iter().map(counter).collect(),
            is_retired: AtomicBool::new(false),
        }
    }

    /// Counts a request as in flight.
    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }
}

impl RouteMetrics {
    /// Counts one finished request with the status it was answered with (499: the client left before).
    pub fn finished(&self, method: &str, status: u16, duration: Duration) {
        let method = method_label(method);
        match self.usual.iter().find(|((m, s), _)| *s == status && *m == method) {
            Some((_, counter)) => counter.inc(),
            // What a retired route still finishes must not bring its series back.
            None if self.is_retired.load(Ordering::Acquire) => {}
            None => self.family.requests.with(&[&self.route, method, &code_label(status)]).inc(),
        }
        self.duration.observe(duration);
    }

    /// Ends the route's series: it is gone from the configuration.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        self.family.requests.remove_where(&[("route", &self.route)]);
        self.family.durations.remove(&[&self.route]);
    }
}

/// A status as a label; values outside 100–599 cannot come from us and are counted together.
fn code_label(status: u16) -> String {
    if (100..600).contains(&status) { status.to_string() } else { "other".to_owned() }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_and_statuses_share_one_series() {
        let registry = Registry::new();
        let route = HttpMetrics::new(&registry).route("api");
        for method in ["BREW", "PROPFIND", "get"] {
            route.finished(method, 999, Duration::ZERO);
        }
        let text = registry.text();
        assert!(text.contains(r#"http_requests_total{code="other",method="OTHER",route="api"} 3"#), "{text}");
    }

    #[test]
    fn a_retired_route_has_no_series_and_gets_none_back() {
        let registry = Registry::new();
        let route = HttpMetrics::new(&registry).route("api");
        route.finished("GET", 404, Duration::ZERO);
        route.retire();
        route.finished("GET", 200, Duration::ZERO);
        route.finished("GET", 418, Duration::ZERO);
        assert!(!registry.text().contains("route=\"api\""), "{}", registry.text());
    }

    #[test]
    fn in_flight_returns_to_zero_however_a_request_ends() {
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry);
        let guard = metrics.enter();
        assert_eq!(metrics.in_flight.get(), 1);
        drop(guard);
        assert_eq!(metrics.in_flight.get(), 0);
    }

    /// What both tiers count of each request: one in flight, a status, a duration. The figure is in the guide.
    #[test]
    fn what_is_counted_of_a_request_costs_a_share_of_a_microsecond() {
        const REQUESTS: u32 = 200_000;
        let metrics = HttpMetrics::new(&Registry::new());
        let route = metrics.route("api");
        let started = tokio::time::Instant::now();
        for request in 0..REQUESTS {
            let _in_flight = metrics.enter();
            route.finished("GET", 200, Duration::from_micros(u64::from(request % 5_000)));
        }
        let each = started.elapsed().as_nanos() / u128::from(REQUESTS);
        println!("{each} ns to count a request");
        // Without optimisation, on a machine that does other things: it must only not have grown beyond all bounds.
        assert!(each < 20_000, "{each} ns");
    }
}
