//! Decides that every metric named under `monitoring/` is declared in the code.

use std::collections::BTreeSet;

use crate::report;
use crate::source::{files, read, rust};

/// What a name of ours begins with; others (`up`, `process_…`) come from Prometheus and its libraries.
const OURS: [&str; 10] = [
    "http_request",
    "proxy_",
    "app_",
    "alert_",
    "alerts_",
    "cache_",
    "database_",
    "memory_usage_",
    "queue_job",
    "queue_oldest_",
];
/// What the text format adds to the name of a histogram.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

#[test]
fn every_metric_under_monitoring_is_declared() {
    let declared = declared();
    let mut findings = Vec::new();
    for path in ["yml", "json", "toml"].iter().flat_map(|extension| files("monitoring", extension)) {
        let text = read(&path);
        let unknown = names(&text).filter(|name| !is_declared(name, &declared));
        let unknown: BTreeSet<&str> = unknown.collect();
        findings.extend(unknown.into_iter().map(|name| format!("{path}: {name}")));
    }
    report("no metric of this name is declared", &findings);
}

fn is_declared(name: &str, declared: &BTreeSet<String>) -> bool {
    let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    declared.contains(name) || bare.is_some_and(|bare| declared.contains(bare))
}

/// Every string in the code that is the name of a metric.
fn declared() -> BTreeSet<String> {
    let sources = rust().into_iter().filter(|source| !source.path.starts_with("tests/"));
    let mut found = BTreeSet::new();
    for source in sources {
        found.extend(
            source.code().split('"').skip(1).step_by(2).filter(|text| is_name(text)).map(str::to_owned),
        );
    }
    found
}

fn is_name(word: &str) -> bool {
    let is_plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    is_plain && OURS.iter().any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())
}

/// The words of a rule or a dashboard that are names of ours; recording rules (`a:b:c`) are not.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| is_name(word))
}

#[test]
fn names_of_ours_are_found_in_an_expression() {
    let expression =
        "sum(rate(http_requests_total{job=\"app\"}[5m])) by (le) > app_jobs and level:proxy_x:rate5m";
    assert_eq!(names(expression).collect::<Vec<_>>(), ["http_requests_total", "app_jobs"]);
    let declared = BTreeSet::from(["http_request_duration_seconds".to_owned()]);
    assert!(is_declared("http_request_duration_seconds_bucket", &declared));
}
