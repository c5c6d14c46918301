//! A trace goes on through the edge, or begins there, the log says which one it is, and a collector is told of it.

use std::time::Duration;

use cirque_tests::edge::Builder;
use cirque_tests::process::Signal;
use cirque_tests::{Backend, Collector, Edge, Load, Reply, Request, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// What OpenTelemetry calls kinds of spans.
const SERVER: i64 = 2;
const CLIENT: i64 = 3;

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

fn recording(edge: Builder, collector: &Collector, sample: &str) -> Builder {
    edge.toml(&format!("trace.endpoint = '{}'\ntrace.sample = '{sample}'\n", collector.url()))
}

fn with(spans: &[Value], kind: i64) -> Vec<&Value> {
    spans.iter().filter(|span| span["kind"] == kind).collect()
}

// key: proxy.toml trace.endpoint
// key: proxy.toml trace.headers
#[test]
fn a_collector_is_told_of_a_request_and_of_each_of_its_attempts() {
    let (bad, good, collector) = (Backend::named("bad"), Backend::named("good"), Collector::start());
    bad.answer(Reply::status(503));
    let edge = Edge::builder().backend_with(&bad, "weight = 100").backend(&good).without_probe();
    let edge =
        recording(edge, &collector, "100%").toml("trace.headers = { authorization = 'Bearer abc' }").start();
    edge.send(&Request::get("/x?secret=1").header("traceparent", PARENT)).expect_status(200);
    let spans = eventually("three parts", SOON, || collector.spans(), |spans| spans.len() == 3);
    let (request, attempts) = (with(&spans, SERVER)[0], with(&spans, CLIENT));
    assert_eq!(request["service"], "cirque-edge");
    assert_eq!(
        (&request["trace"], &request["parent"]),
        (&json!("4bf92f3577b34da6a3ce929d0e0e4736"), &json!("00f067aa0ba902b7"))
    );
    assert_eq!(request["facts"]["http.response.status_code"], 200);
    assert_eq!(request["facts"]["url.path"], "/x", "never the query");
    assert_eq!(request["facts"]["request.id"], edge.logged("/x")["request.id"]);
    for (attempt, backend, outcome) in [(attempts[0], &bad, "http_503"), (attempts[1], &good, "answered")] {
        let told = &seen(backend, "/x", "traceparent")[0];
        assert_eq!(told[36..52], *attempt["id"].as_str().unwrap(), "what comes after it is below it");
        assert!(told.ends_with("-01"), "{told}");
        assert_eq!(attempt["parent"], request["id"]);
        assert_eq!(attempt["facts"]["cirque.outcome"], outcome);
        assert_eq!(attempt["error"].is_null(), outcome == "answered");
        assert!(attempt["began"].as_u64() >= request["began"].as_u64());
        assert!(attempt["ended"].as_u64() <= request["ended"].as_u64());
    }
    let call = &collector.calls()[0];
    assert_eq!(
        (&call["path"], &call["type"], &call["authorization"]),
        (&json!("/v1/traces"), &json!("application/x-protobuf"), &json!("Bearer abc"))
    );
    edge.wait_for_metric("trace_spans_exported_total", &[], 3.0);
}

// key: proxy.toml trace.sample
#[test]
fn the_share_of_recorded_traces_is_the_operators_and_changes_with_a_reload() {
    let (backend, collector) = (Backend::start(), Collector::start());
    let mut edge = recording(Edge::builder().backend(&backend), &collector, "0%").start();
    edge.send(&Request::get("/none").header("traceparent", &PARENT.replace("-00", "-01"))).expect_status(200);
    let told = seen(&backend, "/none", "traceparent");
    assert_eq!((&told[0][..35], &told[0][52..]), (&PARENT[..35], "-00"), "nobody behind us records either");
    edge.rewrite(|builder| builder.toml("trace.sample = '100%'"));
    edge.process.signal(Signal::HUP);
    edge.wait_for_metric("proxy_config_reloads_total", &[("result", "applied")], 1.0);
    edge.get("/all").expect_status(200);
    let spans = eventually("both parts of one", SOON, || collector.spans(), |spans| spans.len() == 2);
    assert!(spans.iter().all(|span| span["trace"] == edge.logged("/all")["trace.id"]), "{spans:?}");
}

// key: proxy.toml trace.timeout
// key: proxy.toml trace.max_queue
#[test]
fn a_collector_that_hangs_or_is_gone_holds_up_nothing() {
    let (backend, mut collector) = (Backend::start(), Collector::start());
    collector.mood("hang");
    let edge = recording(Edge::builder().backend(&backend), &collector, "100%");
    let mut edge = edge.toml("trace.timeout = '200ms'\ntrace.max_queue = 20").start();
    let dropped =
        |edge: &Edge, reason: &str| edge.metrics().value("trace_spans_dropped_total", &[("reason", reason)]);
    let report = Load::on(edge.address(), "/x").connections(4).requests(1200).run();
    report.assert_all_ok();
    assert!(report.percentile(99) < Duration::from_millis(200), "{:?}", report.percentile(99));
    assert!(dropped(&edge, "queue_full") > 0.0);
    edge.process.wait_for_line("traces do not arrive and are dropped", SOON);
    assert!(dropped(&edge, "unreachable") > 0.0);
    collector.mood("take");
    let again = || {
        edge.get("/again").expect_status(200);
        collector.spans().len()
    };
    eventually("traces arrive again", SOON, again, |taken| *taken > 0);
    collector.mood("reject 1");
    eventually(
        "one is refused",
        SOON,
        || (again(), dropped(&edge, "refused")),
        |(_, refused)| *refused > 0.0,
    );
    collector.process.kill();
    Load::on(edge.address(), "/x").connections(4).requests(200).run().assert_all_ok();
    edge.process.terminate();
    assert_eq!(edge.process.expect_exit(SOON), 0, "nor is the stop");
}

#[test]
fn the_last_parts_are_sent_before_the_edge_ends() {
    let (backend, collector) = (Backend::start(), Collector::start());
    let mut edge = recording(Edge::builder().backend(&backend), &collector, "100%").start();
    edge.get("/last").expect_status(200);
    edge.process.terminate();
    assert_eq!(edge.process.expect_exit(SOON), 0);
    assert_eq!(collector.spans().len(), 2);
}
