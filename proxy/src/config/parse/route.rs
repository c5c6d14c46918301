//! Checks routes: their matches against each other, and the policy of each.

use std::collections::{BTreeMap, BTreeSet};

use cirque_shared::config::Problems;
use cirque_shared::config::units::{ByteSize, Percent};

use super::super::pattern::{HostPattern, PathPattern};
use super::super::policy::{RETRY_ON, Retry, RetryOn};
use super::super::{Route, raw};
use super::value::{in_range, name, one_of, patterns, positive};

pub(super) fn routes(
    raw: Vec<raw::Route>,
    defaults: &raw::Defaults,
    upstreams: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Vec<Route> {
    if raw.is_empty() {
        problems.push("routes", "must not be empty: add [[routes]] with a name, paths and an upstream");
    }
    let inherited = defaults.route.clone().unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut rules = BTreeMap::new();
    let mut routes = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("routes[{index}]");
        let name = name(&format!("{at}.name"), raw.name, &mut names, problems);
        let hosts = patterns(&format!("{at}.hosts"), raw.hosts, "*", HostPattern::parse, problems);
        let paths = patterns(&format!("{at}.paths"), raw.paths, "/*", PathPattern::parse, problems);
        for rule in hosts.iter().flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone()))) {
            if let Some(other) = rules.insert(rule.clone(), name.clone()) {
                let (host, path) = rule;
                problems.push(&at, format!("{host}{path} already belongs to route `{other}`"));
            }
        }
        let upstream = problems.require(&format!("{at}.upstream"), raw.upstream);
        if !upstream.is_empty() && !upstreams.contains(upstream.as_str()) {
            let known = match upstreams.iter().copied().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => format!("none; add [[upstreams.{upstream}.backends]]"),
                known => known,
            };
            problems.push(&format!("{at}.upstream"), format!("no upstream {upstream:?}; there are: {known}"));
        }
        let policy = raw.policy.or(inherited.clone());
        routes.push(Route {
            name,
            hosts,
            paths,
            upstream,
            timeout: positive(&format!("{at}.timeout"), policy.timeout, problems),
            max_body: policy.client_max_body_size.filter(|size| *size != ByteSize(0)).map(|size| size.0),
            retry: retry(&format!("{at}.retry"), policy.retry.unwrap_or_default(), problems),
        });
    }
    routes
}

fn retry(at: &str, raw: raw::Retry, problems: &mut Problems) -> Retry {
    let mut on: Vec<RetryOn> = Vec::new();
    for (index, word) in raw.on.into_iter().flatten().enumerate() {
        if let Some(what) = one_of(&format!("{at}.on[{index}]"), &word, &RETRY_ON, problems) {
            on.push(what);
        }
    }
    Retry {
        on,
        attempts: in_range(&format!("{at}.attempts"), raw.attempts.unwrap_or(1), 1, 10, problems),
        budget: raw.budget.map_or(0.0, Percent::fraction),
        non_idempotent: raw.non_idempotent.unwrap_or_default(),
        buffer: raw.buffer.unwrap_or_default().as_usize(),
    }
}
