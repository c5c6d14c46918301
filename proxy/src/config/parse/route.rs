//! Checks routes: their matches against each other, and the policy of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cirque_shared::config::Problems;
use cirque_shared::config::units::{ByteSize, Percent};

use super::super::pattern::{HostPattern, PathPattern};
use super::super::policy::{Conditions, Retry, RetryOn};
use super::super::{Route, raw};
use super::value::{in_range, name, patterns, positive};
use super::{headers, limits, routing};

pub(super) fn routes(
    raw: Vec<raw::Route>,
    upstreams: &BTreeSet<&str>,
    rate_limits: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Vec<Route> {
    if raw.is_empty() {
        problems.push("routes", "must not be empty: add [[routes]] with a name, paths and an upstream");
    }
    let mut names = BTreeSet::new();
    let mut places = BTreeMap::new();
    let mut routes = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("routes[{index}]");
        let name = name(&format!("{at}.name"), raw.name.clone(), &mut names, problems);
        let hosts = patterns(&format!("{at}.hosts"), raw.hosts.clone(), "*", HostPattern::parse, problems);
        let paths = patterns(&format!("{at}.paths"), raw.paths.clone(), "/*", PathPattern::parse, problems);
        let conditions = routing::conditions(&at, &raw, problems);
        for place in hosts.iter().flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone())))
        {
            let (host, path) = (place.0.clone(), place.1.clone());
            let owners: &mut Vec<(String, Conditions)> = places.entry(place).or_default();
            if let Some((other, _)) = owners.iter().find(|(_, asked)| *asked == conditions) {
                problems.push(&at, format!("{host}{path} already belongs to route `{other}`"));
            }
            owners.push((name.clone(), conditions.clone()));
        }
        let action = routing::action(&at, &raw, upstreams, problems);
        let rewrite = routing::rewrite(&at, &raw, &action, problems);
        let policy = raw.policy;
        routes.push(Route {
            name,
            hosts,
            paths,
            conditions,
            action,
            rewrite,
            timeout: positive(&format!("{at}.timeout"), policy.timeout, problems),
            max_body: policy.client_max_body_size.filter(|size| *size != ByteSize(0)).map(|size| size.0),
            trailers: trailers(&format!("{at}.trailers"), policy.trailers, problems),
            retry: retry(&format!("{at}.retry"), policy.retry.unwrap_or_default(), problems),
            request_headers: headers::rules(
                &format!("{at}.request_headers"),
                policy.request_headers,
                headers::Side::Request,
                problems,
            ),
            response_headers: headers::rules(
                &format!("{at}.response_headers"),
                policy.response_headers,
                headers::Side::Response,
                problems,
            ),
            error_pages: routing::error_pages(&format!("{at}.error_pages"), policy.error_pages, problems),
            maintenance: routing::maintenance(&format!("{at}.maintenance"), policy.maintenance, problems),
            access: limits::access(&at, policy.allow, policy.deny, problems),
            rate_limits: limits::named(
                &format!("{at}.rate_limits"),
                policy.rate_limits,
                rate_limits,
                problems,
            ),
            compress: routing::compress(&format!("{at}.compress"), policy.compress, problems),
            max_requests: policy.max_requests.filter(|most| *most > 0),
        });
    }
    routes
}

/// Fields that frame a message, say whom it is for or who sends it: never after a body (RFC 9110 §6.5.1).
const NO_TRAILERS: [&str; 14] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

fn trailers(at: &str, written: Option<Vec<String>>, problems: &mut Problems) -> Arc<[String]> {
    let written = written.unwrap_or_default();
    for (index, name) in written.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::try_from(name.as_str()).is_err() {
            problems.push(&format!("{at}[{index}]"), format!("must be the name of a field, got {name:?}"));
        } else if NO_TRAILERS.contains(&lower.as_str())
            || lower.starts_with("x-forwarded-")
            || lower.contains('_')
        {
            problems.push(
                &format!("{at}[{index}]"),
                format!("{name} may not come after a body (RFC 9110 §6.5.1)"),
            );
        }
    }
    written.into()
}

fn retry(at: &str, raw: raw::Retry, problems: &mut Problems) -> Retry {
    let mut on: Vec<RetryOn> = Vec::new();
    for (index, word) in raw.on.into_iter().flatten().enumerate() {
        match RetryOn::parse(&word) {
            Ok(what) => on.push(what),
            Err(why) => problems.push(&format!("{at}.on[{index}]"), why),
        }
    }
    Retry {
        on,
        attempts: in_range(&format!("{at}.attempts"), raw.attempts.unwrap_or(1), 1, 10, problems),
        attempt_timeout: raw.attempt_timeout.filter(|timeout| !timeout.is_zero()),
        backoff: raw.backoff.unwrap_or_default(),
        max_backoff: raw.max_backoff.unwrap_or_default(),
        budget: raw.budget.map_or(0.0, Percent::fraction),
        budget_floor: in_range(
            &format!("{at}.budget_floor"),
            raw.budget_floor.unwrap_or_default(),
            0,
            100,
            problems,
        ),
        non_idempotent: raw.non_idempotent.unwrap_or_default(),
        buffer: raw.buffer.unwrap_or_default().as_usize(),
    }
}
