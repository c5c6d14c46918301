//! The metrics of the client's side: connections, and what limits refused.

use cirque_shared::metrics::{Counter, CounterFamily, Gauge, GaugeFamily, Registry};

use crate::limit::connections::Full;

/// The families of the client's side.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics {
    connections: GaugeFamily,
    accepted: CounterFamily,
    refused: CounterFamily,
    limited: CounterFamily,
    pub(crate) tls_handshakes: CounterFamily,
    pub(crate) certificate_expiry: GaugeFamily,
    pub(crate) certificate_reloads: CounterFamily,
    pub(crate) http2_closed: CounterFamily,
}

/// One listener's series.
#[derive(Debug)]
pub(crate) struct ListenerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    refused: Vec<(&'static str, Counter)>,
}

/// One rate limit's series.
#[derive(Debug)]
pub(crate) struct LimitMetrics {
    name: String,
    /// Requests that were refused.
    pub(crate) refused: Counter,
    /// Requests that would have been.
    pub(crate) dry_run: Counter,
}

/// A connection that counts as open until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl ClientMetrics {
    /// Declares everything.
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            connections: registry.gauges(
                "proxy_connections_active",
                "Connections of clients that are open.",
                &["listener"],
            ),
            accepted: registry.counters(
                "proxy_connections_accepted_total",
                "Connections of clients that were taken.",
                &["listener"],
            ),
            refused: registry.counters(
                "proxy_connections_refused_total",
                "Connections of clients that were closed as they came, by reason.",
                &["listener", "reason"],
            ),
            limited: registry.counters(
                "proxy_rate_limited_total",
                "Requests above a rate limit, by what came of it.",
                &["limit", "result"],
            ),
            tls_handshakes: registry.counters(
                "proxy_tls_handshakes_total",
                "Handshakes with clients, by version and by what came of them: full, resumed, or why none.",
                &["listener", "version", "result"],
            ),
            certificate_expiry: registry.gauges(
                "proxy_tls_certificate_expiry_timestamp_seconds",
                "When the certificate that is served ends, in seconds since 1970.",
                &["listener", "certificate"],
            ),
            certificate_reloads: registry.counters(
                "proxy_tls_certificate_reloads_total",
                "Changed certificates that were taken over, or could not be.",
                &["listener", "result"],
            ),
            http2_closed: registry.counters(
                "proxy_http2_connections_closed_total",
                "HTTP/2 connections of clients that ended, by reason.",
                &["listener", "reason"],
            ),
        }
    }

    /// The series of one listener, from zero.
    pub(crate) fn listener(&self, listener: &str) -> ListenerMetrics {
        let reasons = Full::ALL.iter().map(|why| why.reason()).chain([ACL, SHORT]);
        ListenerMetrics {
            connections: self.connections.with(&[listener]),
            accepted: self.accepted.with(&[listener]),
            refused: reasons.map(|reason| (reason, self.refused.with(&[listener, reason]))).collect(),
        }
    }

    /// The series of one rate limit, from zero.
    pub(crate) fn limit(&self, limit: &str) -> LimitMetrics {
        LimitMetrics {
            name: limit.to_owned(),
            refused: self.limited.with(&[limit, "refused"]),
            dry_run: self.limited.with(&[limit, "dry_run"]),
        }
    }

    /// Ends the series of a rate limit that is gone.
    pub(crate) fn retire_limit(&self, gone: &LimitMetrics) {
        self.limited.remove_where(&[("limit", &gone.name)]);
    }
}

/// The reason of a connection from an address that may not connect.
pub(crate) const ACL: &str = "acl";

/// The reason of a connection that the system had no room for, open files above all. It may still be taken later.
pub(crate) const SHORT: &str = "system";

impl ListenerMetrics {
    /// Counts a connection until the answer is dropped.
    pub(crate) fn open(&self) -> Open {
        self.accepted.inc();
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts a connection that was closed as it came.
    pub(crate) fn refused(&self, reason: &str) {
        if let Some((_, counter)) = self.refused.iter().find(|(known, _)| *known == reason) {
            counter.inc();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
