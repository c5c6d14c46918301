//! What a collector is told of a request and of its attempts, where their trace is recorded.

use std::time::{Duration, SystemTime};

use cirque_shared::metrics::http::{NO_ROUTE, method_label};
use cirque_shared::trace::{Kind, Span, Trace, Value};
use time::OffsetDateTime;

use super::{Active, Exchange, Head};
use crate::respond::Refusal;

impl Head {
    /// Whether the trace of the request is recorded here.
    pub(super) fn is_recorded(&self) -> bool {
        self.trace.is_some_and(|trace| trace.is_recorded)
    }
}

impl Exchange {
    /// What the backend of this attempt is told of the trace. Where it is recorded, each attempt is a part of its own.
    pub(crate) fn trace_onward(&mut self) -> Option<Trace> {
        let trace = self.head.trace?;
        if !trace.is_recorded {
            return Some(trace);
        }
        let attempt = trace.child();
        if let Some(active) = &mut self.active {
            active.trace = Some(attempt);
        }
        Some(attempt)
    }

    /// Tells of an attempt that is over.
    pub(super) fn tell_attempt(&self, arrived: OffsetDateTime, active: &Active, outcome: &'static str) {
        // One that never got as far as its head has no part of its own yet.
        let Some(request) = self.head.trace.filter(|trace| trace.is_recorded) else { return };
        let backend = active.chosen.lease.backend();
        let mut attributes: Vec<(&str, Value)> = vec![
            ("http.request.method", method_label(&self.head.method).into()),
            ("server.address", backend.name.as_str().into()),
            ("cirque.outcome", outcome.into()),
        ];
        if let Some(upstream) = self.route.as_ref().and_then(|route| route.config.action.upstream()) {
            attributes.push(("cirque.upstream", upstream.into()));
            attributes.push(("cirque.backend", self.name_of(active).into()));
        }
        attributes.extend(active.status.map(|status| ("http.response.status_code", Value::from(status))));
        let is_bad = outcome != "answered" || active.status.is_some_and(|status| status >= 500);
        self.edge.traces.record(Span {
            trace: active.trace.unwrap_or_else(|| request.child()),
            name: method_label(&self.head.method).into(),
            kind: Kind::Client,
            began: SystemTime::from(arrived) + active.began.duration_since(self.started),
            took: active.began.elapsed(),
            attributes,
            failed: is_bad.then(|| outcome.into()),
        });
    }

    /// Tells of the request, which is over.
    pub(super) fn tell_request(&self, arrived: OffsetDateTime, status: u16, took: Duration) {
        let Some(trace) = self.head.trace.filter(|trace| trace.is_recorded) else { return };
        let route = self.route.as_deref().map_or(NO_ROUTE, |route| &route.config.name);
        let method = method_label(&self.head.method);
        let reason = self.refusal.map(Refusal::reason);
        let mut attributes: Vec<(&str, Value)> = vec![
            ("http.request.method", method.into()),
            ("http.response.status_code", status.into()),
            ("url.path", self.head.path.as_str().into()),
            ("server.address", self.head.host.as_str().into()),
            ("request.id", self.head.id.as_str().into()),
            ("cirque.route", route.into()),
            ("cirque.attempts", i64::try_from(self.attempts.len()).unwrap_or(i64::MAX).into()),
        ];
        attributes.extend(reason.map(|reason| ("cirque.reason", Value::from(reason))));
        self.edge.traces.record(Span {
            trace,
            name: format!("{method} {route}").into(),
            kind: Kind::Server,
            began: arrived.into(),
            took,
            attributes,
            failed: (status >= 500).then(|| reason.unwrap_or("backend").into()),
        });
    }

    /// What the backend of an attempt is called.
    fn name_of(&self, active: &Active) -> &str {
        let backends = self.route.as_ref().and_then(|route| Some(&route.upstream.as_ref()?.backends));
        let member = backends.and_then(|backends| backends.get(active.chosen.lease.index));
        member.map_or("", |member| member.config.id.as_str())
    }
}
