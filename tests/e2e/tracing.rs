//! A trace goes on through the edge, or begins there, and the log says which one it is.

use cirque_tests::{Backend, Edge, Reply, Request};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn seen(backend: &Backend, path: &str, name: &str) -> Vec<String> {
    let requests = backend.requests_to(path);
    let fields = requests.iter().flat_map(|request| &request.headers);
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone()).collect()
}

// key: proxy.toml trace.context
#[test]
fn a_trace_is_passed_on_with_a_parent_of_ours_or_begun() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    edge.send(&Request::get("/passed").header("traceparent", PARENT).header("tracestate", "v=1"))
        .expect_status(200);
    let passed = &seen(&backend, "/passed", "traceparent")[0];
    assert_eq!((&passed[..36], &passed[52..]), (&PARENT[..36], "-00"));
    assert_ne!(passed, PARENT);
    assert_eq!(seen(&backend, "/passed", "tracestate"), ["v=1"]);
    assert_eq!(edge.logged("/passed")["trace.id"], "4bf92f3577b34da6a3ce929d0e0e4736");

    edge.send(&Request::get("/begun").header("traceparent", "nonsense").header("tracestate", "v=1"))
        .expect_status(200);
    let begun = seen(&backend, "/begun", "traceparent");
    assert_eq!((begun.len(), begun[0].len()), (1, 55), "{begun:?}");
    assert_eq!(edge.logged("/begun")["trace.id"], begun[0][3..35]);
    assert!(seen(&backend, "/begun", "tracestate").is_empty(), "it belongs to another trace");

    let edge = Edge::builder().backend(&backend).toml("trace.context = false").start();
    edge.send(&Request::get("/alone").header("traceparent", PARENT)).expect_status(200);
    assert_eq!(seen(&backend, "/alone", "traceparent"), [PARENT]);
    assert!(edge.logged("/alone").get("trace.id").is_none());
}

#[test]
fn every_attempt_of_a_request_belongs_to_the_same_trace() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(503));
    let edge = Edge::builder().backend_with(&bad, "weight = 100").backend(&good).without_probe().start();
    edge.get("/x").expect_status(200);
    let (first, second) = (seen(&bad, "/x", "traceparent"), seen(&good, "/x", "traceparent"));
    assert_eq!(first[0][..35], second[0][..35]);
}
