//! Where a request would go and why, without sending it: the same questions as a request's, asked in words.

use serde::Serialize;
use tokio::time::Instant;

use crate::route::{Asked, Found};
use crate::site::Site;
use crate::upstream::Upstream;

/// What is asked about.
#[derive(Debug, Default)]
pub(super) struct Question {
    pub(super) host: String,
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case, with their values.
    pub(super) headers: Vec<(String, String)>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    out_because: Option<&'static str>,
    in_flight: u32,
    weight: u32,
    /// `(in_flight + 1) / weight`: the lowest is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// Explains.
pub(super) fn explain(site: &Site, question: &Question) -> Explanation {
    let Question { host, method, path, headers } = question;
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
    explanation.candidates = candidates(pool);
    because.push(conclusion(pool, &explanation.candidates));
    explanation
}

fn candidates(pool: &Upstream) -> Vec<Candidate> {
    let now = Instant::now();
    let members = pool.backends.iter().enumerate();
    let candidate = members.map(|(index, member)| {
        let verdict = pool.facts(index).verdict(now);
        let (in_flight, weight) = (member.in_flight(), member.weight);
        let score = (f64::from(in_flight) + 1.0) / f64::from(weight.max(1));
        Candidate {
            backend: member.config.id.clone(),
            available: verdict.is_ok(),
            out_because: verdict.err().map(|why| why.reason()),
            in_flight,
            weight,
            score: verdict.is_ok().then_some((score * 1000.0).round() / 1000.0),
        }
    });
    candidate.collect()
}

fn conclusion(pool: &Upstream, candidates: &[Candidate]) -> String {
    let scores = candidates.iter().filter_map(|candidate| candidate.score);
    let Some(best) = scores.min_by(f64::total_cmp) else {
        return if pool.config.fail_open {
            "no backend is available: all but those that the operator took out are tried (fail_open)"
                .to_owned()
        } else {
            "no backend is available, and fail_open is off: 503".to_owned()
        };
    };
    let lowest = candidates.iter().filter(|candidate| candidate.score.is_some_and(|score| score <= best));
    let names: Vec<&str> = lowest.map(|candidate| candidate.backend.as_str()).collect();
    match names.as_slice() {
        [one] => format!("`{one}` has the lowest score"),
        several => format!("{} share the lowest score: drawn in proportion to weight", several.join(", ")),
    }
}

fn joined(patterns: &[impl ToString]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
