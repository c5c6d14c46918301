//! Where a request would go and why, without sending it: the same questions as a request's, asked in words.

use std::net::IpAddr;

use serde::Serialize;
use tokio::time::Instant;

use crate::balance::key::key;
use crate::balance::{self, Key};
use crate::config::policy::{BALANCE, Balance};
use crate::route::{Asked, Found};
use crate::site::Site;
use crate::upstream::Upstream;
use crate::upstream::choice::Prospect;

/// What is asked about.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) host: String,
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case, with their values.
    pub(super) headers: Vec<(String, String)>,
    /// Who would ask.
    pub(super) client: IpAddr,
}

#[derive(Serialize)]
pub(super) struct Explanation {
    request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<Candidate>,
    /// The conclusion, step by step.
    because: Vec<String>,
}

#[derive(Serialize)]
struct Candidate {
    backend: String,
    available: bool,
    /// Why it cannot be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    out_because: Option<&'static str>,
    in_flight: u32,
    weight: u32,
    backup: bool,
    /// `(in flight + recent failures + 1) / weight`, the weight lower in a slow start.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// Explains.
pub(super) fn explain(site: &Site, question: &Question) -> Explanation {
    let Question { host, method, path, headers, client } = question;
    let mut explanation = Explanation {
        request: format!("{method} {path} for {}", if host.is_empty() { "no host" } else { host }),
        route: None,
        upstream: None,
        balance: None,
        candidates: Vec::new(),
        because: Vec::new(),
    };
    let because = &mut explanation.because;
    let path = path.split('?').next().unwrap_or_default();
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_bytes())
    };
    let asked = Asked { method, host, path: path.as_bytes(), header: &header };
    let route = match site.table.find(&asked) {
        Found::Route { target, .. } => target,
        Found::WrongMethod(methods) => {
            because.push(format!("this place is known for {} only: 405", methods.join(", ")));
            return explanation;
        }
        Found::Nothing => {
            because.push(format!("no route has the host {host:?} and a path that matches {path:?}: 404"));
            return explanation;
        }
    };
    because.push(format!(
        "route `{}` has the most specific host ({}), within it the most specific path ({}), and its conditions hold",
        route.config.name,
        joined(&route.config.hosts),
        joined(&route.config.paths)
    ));
    explanation.route = Some(route.config.name.clone());
    let Some(pool) = &route.upstream else {
        because.push(format!("the edge answers by itself: {}", route.config.action.name()));
        return explanation;
    };
    explanation.upstream = Some(pool.config.name.clone());
    let balance = BALANCE.iter().find(|(_, balance)| *balance == pool.config.balance);
    explanation.balance = balance.map(|(name, _)| *name);
    let now = Instant::now();
    explanation.candidates = candidates(pool, now);
    let values = |name: &str| {
        headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_bytes()).collect()
    };
    let key = key(&pool.config.hash_by, *client, path.as_bytes(), values);
    because.push(conclusion(pool, &explanation.candidates, key, now));
    explanation
}

fn candidates(pool: &Upstream, now: Instant) -> Vec<Candidate> {
    let members = pool.backends.iter().enumerate();
    let candidate = members.map(|(index, member)| {
        let verdict = pool.facts(index).verdict(now);
        let (standing, backup) = match pool.prospect(index, now) {
            Prospect::Candidate { candidate, is_backup } => (Ok(score(candidate)), is_backup),
            Prospect::Full => (Err("full"), member.config.backup),
            Prospect::NoShare => (Err("weight 0"), member.config.backup),
            Prospect::Unavailable => {
                (Err(verdict.err().map_or("unavailable", |why| why.reason())), member.config.backup)
            }
        };
        Candidate {
            backend: member.config.id.clone(),
            available: verdict.is_ok(),
            out_because: standing.err(),
            in_flight: member.in_flight(),
            weight: member.weight,
            backup,
            score: standing.ok(),
        }
    });
    candidate.collect()
}

fn score(candidate: balance::Candidate) -> f64 {
    let score = (f64::from(candidate.load) + 1.0) * 1000.0 / f64::from(candidate.share.max(1));
    (score * 1000.0).round() / 1000.0
}

fn conclusion(pool: &Upstream, candidates: &[Candidate], key: Key, now: Instant) -> String {
    let has_usual = candidates.iter().any(|candidate| candidate.score.is_some() && !candidate.backup);
    let running: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| candidate.score.is_some() && (!has_usual || !candidate.backup))
        .collect();
    if running.is_empty() {
        return nobody(pool, candidates);
    }
    let names = |chosen: &[&Candidate]| {
        chosen.iter().map(|candidate| candidate.backend.as_str()).collect::<Vec<_>>().join(", ")
    };
    match pool.config.balance {
        Balance::Hash => {
            let led = pool.leads_to(key, now).map(|index| pool.backends[index].config.id.as_str());
            format!("its key leads to `{}`", led.unwrap_or("nobody"))
        }
        Balance::RoundRobin => format!("in turn by weight: {}", names(&running)),
        Balance::Random => format!("by lot in proportion to weight: {}", names(&running)),
        Balance::LeastConn => {
            let scores = running.iter().filter_map(|candidate| candidate.score);
            let best = scores.min_by(f64::total_cmp).unwrap_or_default();
            let is_lowest = |candidate: &&Candidate| candidate.score.is_some_and(|score| score <= best);
            let lowest: Vec<&Candidate> = running.iter().copied().filter(|found| is_lowest(found)).collect();
            match lowest.as_slice() {
                [one] => format!("`{}` has the lowest score", one.backend),
                several => {
                    format!("{} share the lowest score: drawn in proportion to weight", names(several))
                }
            }
        }
    }
}

/// What holds when no backend can be taken.
fn nobody(pool: &Upstream, candidates: &[Candidate]) -> String {
    if candidates.iter().any(|candidate| candidate.out_because == Some("full")) {
        "every backend that is available has all the requests that it may have: the request waits in line"
            .to_owned()
    } else if pool.config.fail_open {
        "no backend is available: all but those that the operator took out are tried (fail_open)".to_owned()
    } else {
        "no backend is available, and fail_open is off: the edge refuses".to_owned()
    }
}

fn joined(patterns: &[impl ToString]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
