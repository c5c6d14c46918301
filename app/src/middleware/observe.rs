//! Decides what is remembered of a request: one log line, one count, one duration.

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use cirque_shared::metrics::http::{InFlight, NO_ROUTE};
use http::Method;
use hyper::body::Body as _;
use tokio::time::Instant;

use super::{Peer, RequestId};
use crate::error::ApiError;
use crate::metrics::Metrics;

/// The longest path that is logged, in characters.
const SHOWN: usize = 256;

/// A request in flight.
#[derive(Debug)]
pub(super) struct Seen {
    started: Instant,
    method: Method,
    route: Option<MatchedPath>,
    path: String,
    client: Option<std::net::IpAddr>,
    _in_flight: InFlight,
}

impl Seen {
    pub(super) fn of(request: &Request, metrics: &Metrics) -> Self {
        Self {
            started: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            path: request.uri().path().chars().take(SHOWN).collect(),
            client: request.extensions().get::<Peer>().map(|peer| peer.0.ip()),
            _in_flight: metrics.http.enter(),
        }
    }

    /// Counts and logs the outcome.
    pub(super) fn finish(
        self,
        metrics: &Metrics,
        response: &Response,
        id: &RequestId,
        error: Option<&ApiError>,
    ) {
        let duration = self.started.elapsed();
        let status = response.status().as_u16();
        let route = self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        metrics.route(route).finished(self.method.as_str(), status, duration);
        if let Some(chain) = error.and_then(ApiError::chain) {
            tracing::error!(request.id = id.as_str(), error.chain = chain, "request failed");
        }
        tracing::info!(
            request.id = id.as_str(),
            http.request.method = self.method.as_str(),
            url.path = self.path,
            http.route = route,
            http.response.status_code = status,
            error.kind = error.map(|error| error.code().word()),
            client.address = self.client.map(tracing::field::display),
            duration_ms = duration.as_secs_f64() * 1000.0,
            bytes_out = response.body().size_hint().exact(),
            "request answered"
        );
    }
}
