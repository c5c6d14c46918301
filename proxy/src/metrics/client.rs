//! The metrics of the client's side: connections, and what limits refused.

use cirque_shared::metrics::{Counter, CounterFamily, Gauge, GaugeFamily, Registry, UpDown, UpDownFamily};

use crate::limit::connections::Full;

/// The families of the client's side.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics {
    connections: GaugeFamily,
    accepted: CounterFamily,
    refused: CounterFamily,
    requests: CounterFamily,
    in_flight: UpDownFamily,
    limited: CounterFamily,
    pub(crate) tls_handshakes: CounterFamily,
    pub(crate) certificate_expiry: GaugeFamily,
    pub(crate) certificate_reloads: CounterFamily,
    http2_closed: CounterFamily,
}

/// One listener's series.
#[derive(Debug)]
pub(crate) struct ListenerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    refused: Vec<(&'static str, Counter)>,
    /// By the first digit of the status.
    requests: [Counter; CLASSES.len()],
    /// Requests that came in here and are not answered yet.
    pub(crate) in_flight: UpDown,
    http2_closed: Vec<(&'static str, Counter)>,
}

/// The classes of statuses.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why an HTTP/2 connection may end; a test compares with [`crate::front`]'s.
pub(crate) const HTTP2_ENDS: [&str; 7] =
    ["client", "idle", "requests", "draining", "no_preface", "error", "abuse"];

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
            requests: registry.counters(
                "proxy_listener_requests_total",
                "Requests answered, by listener and class of status.",
                &["listener", "class"],
            ),
            in_flight: registry.up_downs(
                "proxy_listener_requests_in_flight",
                "Requests read and not yet answered, by listener.",
                &["listener"],
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
        let reasons = Full::ALL.iter().map(|why| why.reason()).chain(REASONS);
        let ended = |reason: &'static str| (reason, self.http2_closed.with(&[listener, reason]));
        ListenerMetrics {
            connections: self.connections.with(&[listener]),
            accepted: self.accepted.with(&[listener]),
            refused: reasons.map(|reason| (reason, self.refused.with(&[listener, reason]))).collect(),
            requests: CLASSES.map(|class| self.requests.with(&[listener, class])),
            in_flight: self.in_flight.with(&[listener]),
            http2_closed: HTTP2_ENDS.map(ended).into(),
        }
    }

    /// Ends the series of a listener that is gone. What its last connections still count is counted nowhere.
    pub(crate) fn retire_listener(&self, listener: &str) {
        let wanted = &[("listener", listener)];
        for family in [
            &self.accepted,
            &self.refused,
            &self.requests,
            &self.tls_handshakes,
            &self.certificate_reloads,
            &self.http2_closed,
        ] {
            family.remove_where(wanted);
        }
        for family in [&self.connections, &self.certificate_expiry] {
            family.remove_where(wanted);
        }
        self.in_flight.remove(&[listener]);
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

/// The reason of one that ought to begin with a PROXY header and is from nobody who may speak for others.
pub(crate) const STRANGER: &str = "stranger";

/// The reason of one that does not begin with a PROXY header.
pub(crate) const NO_HEADER: &str = "no_header";

/// The reason of one whose PROXY header does not come in time.
pub(crate) const LATE_HEADER: &str = "late_header";

/// Those beside [`Full`]'s.
const REASONS: [&str; 5] = [ACL, SHORT, STRANGER, NO_HEADER, LATE_HEADER];

impl ListenerMetrics {
    /// Counts an answered request.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100);
        self.requests[if class < CLASSES.len() { class } else { 0 }].inc();
    }

    /// Counts the end of an HTTP/2 connection.
    pub(crate) fn http2_ended(&self, reason: &str) {
        if let Some((_, counter)) = self.http2_closed.iter().find(|(known, _)| *known == reason) {
            counter.inc();
        }
    }

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
