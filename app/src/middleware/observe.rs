//! Decides what is remembered of a request: one log line, one count, one duration, however it ends.

use std::time::SystemTime;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use cirque_shared::metrics::http::{InFlight, NO_ROUTE, method_label};
use cirque_shared::trace::{Kind, Span, Trace};
use http::Method;
use hyper::body::Body as _;
use tokio::time::Instant;

use super::RequestId;
use crate::client::Client;
use crate::error::{ApiError, Code};
use crate::state::AppState;

/// What stands for a status where there was no answer; see `RouteMetrics::finished`.
const CLIENT_LEFT: u16 = 499;

/// The longest path that is logged, in characters.
const SHOWN: usize = 256;

/// A request in flight. Dropping it without an outcome means that the client left first.
#[derive(Debug)]
pub(super) struct Seen {
    state: AppState,
    started: Instant,
    id: RequestId,
    trace: Trace,
    method: Method,
    route: Option<MatchedPath>,
    path: String,
    client: Option<std::net::IpAddr>,
    is_answered: bool,
    _in_flight: InFlight,
}

/// One event with all that is known of a request, at a level that the macro must know beforehand.
macro_rules! access {
    ($level:ident, $seen:expr, $outcome:expr, $message:literal) => {
        tracing::$level!(
            request.id = $seen.id.as_str(),
            trace.id = $seen.trace.id(),
            http.request.method = $seen.method.as_str(),
            url.path = $seen.path,
            http.route = $seen.template(),
            http.response.status_code = $outcome.status,
            error.kind = $outcome.error.map(|error| error.code().word()),
            error.chain = $outcome.error.and_then(ApiError::chain),
            client.address = $seen.client.map(tracing::field::display),
            cache.outcome = $outcome.cache,
            duration_ms = $seen.started.elapsed().as_secs_f64() * 1000.0,
            bytes_out = $outcome.bytes,
            $message
        )
    };
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome<'a> {
    status: Option<u16>,
    error: Option<&'a ApiError>,
    bytes: Option<u64>,
    cache: Option<&'static str>,
}

impl Seen {
    pub(super) fn of(request: &Request, id: &RequestId, trace: Trace, state: &AppState) -> Self {
        Self {
            started: Instant::now(),
            id: id.clone(),
            trace,
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            path: request.uri().path().chars().take(SHOWN).collect(),
            client: request.extensions().get::<Client>().map(|Client(address)| *address),
            is_answered: false,
            _in_flight: state.metrics.http.enter(),
            state: state.clone(),
        }
    }

    /// Counts and logs the answer.
    pub(super) fn finish(mut self, response: &Response, error: Option<&ApiError>) {
        self.is_answered = true;
        let status = response.status().as_u16();
        self.count(status);
        let outcome = Outcome {
            status: Some(status),
            error,
            bytes: response.body().size_hint().exact(),
            cache: cached(response),
        };
        self.record(outcome);
        if error.is_some_and(|error| error.code() == Code::Internal) {
            access!(error, self, outcome, "request failed");
        } else {
            access!(info, self, outcome, "request answered");
        }
    }

    fn count(&self, status: u16) {
        let route = self.state.metrics.route(self.template());
        route.finished(self.method.as_str(), status, self.started.elapsed());
    }

    /// Tells a collector, where the trace is recorded.
    fn record(&self, outcome: Outcome<'_>) {
        if !self.trace.is_recorded {
            return;
        }
        let took = self.started.elapsed();
        let status = outcome.status.unwrap_or(CLIENT_LEFT);
        let method = method_label(self.method.as_str());
        self.state.traces.record(Span {
            trace: self.trace,
            name: format!("{method} {}", self.template()).into(),
            kind: Kind::Server,
            began: SystemTime::now().checked_sub(took).unwrap_or(SystemTime::UNIX_EPOCH),
            took,
            attributes: vec![
                ("http.request.method", method.into()),
                ("http.route", self.template().into()),
                ("http.response.status_code", status.into()),
                ("url.path", self.path.as_str().into()),
                ("request.id", self.id.as_str().into()),
            ],
            failed: (status >= 500)
                .then(|| outcome.error.map_or("error", |error| error.code().word()).into()),
        });
    }

    fn template(&self) -> &str {
        self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str)
    }
}

/// What `X-Cache` says, in the words of the log.
fn cached(response: &Response) -> Option<&'static str> {
    let word = response.headers().get("x-cache")?.as_bytes();
    [("hit", "HIT"), ("miss", "MISS"), ("stale", "STALE")]
        .into_iter()
        .find_map(|(own, shown)| (word == shown.as_bytes()).then_some(own))
}

impl Drop for Seen {
    fn drop(&mut self) {
        if !self.is_answered {
            self.count(CLIENT_LEFT);
            self.record(Outcome::default());
            access!(info, self, Outcome::default(), "client left before its answer");
        }
    }
}
