//! What an operator sees of routes, upstreams and backends.

use serde::Serialize;
use tokio::time::Instant;

use crate::config;
use crate::site::{Route, Site};
use crate::upstream::availability::{Outlier, Probe};
use crate::upstream::recent::{Noted, Rates};
use crate::upstream::{Member, Upstream};

#[derive(Serialize)]
pub(super) struct UpstreamView<'a> {
    name: &'a str,
    available: usize,
    backends: Vec<BackendView<'a>>,
}

#[derive(Serialize)]
pub(super) struct BackendView<'a> {
    id: &'a str,
    address: &'a str,
    /// The one at work.
    weight: u32,
    /// The file's, where the operator's is at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    configured_weight: Option<u32>,
    in_flight: u32,
    available: bool,
    /// Why it is not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    operator: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    probe: &'static str,
    outlier: &'static str,
    /// The last seconds.
    recent: Rates,
    /// The newest first.
    last_errors: Vec<Noted>,
}

#[derive(Serialize)]
pub(super) struct RouteView<'a> {
    name: &'a str,
    hosts: Vec<String>,
    paths: Vec<String>,
    /// What it does: `upstream`, `redirect` or `respond`.
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    timeout_seconds: f64,
    retry_attempts: u32,
}

/// An upstream with its backends.
pub(super) fn upstream<'a>(site: &'a Site, upstream: &'a Upstream) -> UpstreamView<'a> {
    let now = Instant::now();
    let backends = upstream.backends.iter().enumerate();
    UpstreamView {
        name: &upstream.config.name,
        available: upstream.n_available(now),
        backends: backends.map(|(index, member)| backend(site, upstream, index, member)).collect(),
    }
}

/// A backend.
pub(super) fn backend<'a>(
    site: &Site,
    upstream: &'a Upstream,
    index: usize,
    member: &'a Member,
) -> BackendView<'a> {
    let facts = upstream.facts(index);
    let verdict = facts.verdict(Instant::now());
    let config::Backend { id, name, weight, .. } = &member.config;
    BackendView {
        id,
        address: name,
        weight: member.weight,
        configured_weight: (*weight != member.weight).then_some(*weight),
        in_flight: member.in_flight(),
        available: verdict.is_ok(),
        reason: verdict.err().map(|why| why.reason()),
        operator: facts.duty.name(),
        comment: site.orders.of(&upstream.config.name, id).comment,
        probe: match facts.probe {
            Probe::Unknown => "unknown",
            Probe::Up { .. } => "up",
            Probe::Down { .. } => "down",
        },
        outlier: match facts.outlier {
            Outlier::Admitted { .. } => "admitted",
            Outlier::Ejected { .. } => "ejected",
        },
        recent: member.recent.rates(&member.sample(Instant::now())),
        last_errors: member.recent.errors(),
    }
}

/// A route.
pub(super) fn route(route: &Route) -> RouteView<'_> {
    RouteView {
        name: &route.config.name,
        hosts: route.config.hosts.iter().map(ToString::to_string).collect(),
        paths: route.config.paths.iter().map(ToString::to_string).collect(),
        action: route.config.action.name(),
        upstream: route.config.action.upstream(),
        timeout_seconds: route.config.timeout.as_secs_f64(),
        retry_attempts: route.config.retry.attempts,
    }
}
