//! What the access log says of a request, in the words of these tests.

use cirque_tests::Edge;
use serde_json::Value;

/// The status that was logged for the request of this path.
#[track_caller]
pub(crate) fn logged_status(edge: &Edge, path: &str) -> u64 {
    let line = edge.logged(path);
    line["http.response.status_code"].as_u64().unwrap_or_else(|| panic!("no status in {line}"))
}

/// The backends that were tried for the request of this path, in order, each with what came of it.
#[track_caller]
pub(crate) fn logged_attempts(edge: &Edge, path: &str) -> Vec<(String, String)> {
    let line = edge.logged(path);
    let attempts = line["attempts"].as_array().unwrap_or_else(|| panic!("no attempts in {line}"));
    attempts.iter().map(|attempt| (text(&attempt["backend"]), text(&attempt["outcome"]))).collect()
}

/// The backends that were tried for the request of this path, in order.
#[track_caller]
pub(crate) fn logged_backends(edge: &Edge, path: &str) -> Vec<String> {
    logged_attempts(edge, path).into_iter().map(|(backend, _)| backend).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Waits until no request and no attempt is counted as in flight: what every failure must leave behind.
#[track_caller]
pub(crate) fn nothing_in_flight(edge: &Edge) {
    edge.wait_for_metric("http_requests_in_flight", &[], 0.0);
    edge.wait_for_metric("proxy_upstream_in_flight", &[], 0.0);
}
