//! One trace leads from the edge through a node to its statements and to the jobs that follow, and so does the log.

use std::time::Duration;

use cirque_tests::node::{self, Node};
use cirque_tests::{Client, Collector, Edge, Request, eventually};
use serde_json::{Value, json};

use crate::queue::{BOUND, app, publish};

const SERVER: i64 = 2;
const CLIENT: i64 = 3;
const CONSUMER: i64 = 5;

fn recording(collector: &Collector) -> String {
    format!("trace.endpoint = '{}'\ntrace.sample = '100%'\n", collector.url())
}

fn token(node: &Node) -> String {
    let file = node.folder().join("app.toml");
    let mut made = app(&["token", "create", "ada", "--ability", "posts:write", "--expires", "1d"], &file);
    assert_eq!(made.expect_exit(BOUND), 0, "{:#?}", made.lines());
    made.text(cirque_tests::process::Stream::Stdout).trim().to_owned()
}

/// The spans of one service and kind.
fn of<'s>(spans: &'s [Value], service: &str, kind: i64) -> Vec<&'s Value> {
    spans.iter().filter(|span| span["service"] == service && span["kind"] == kind).collect()
}

// key: app.toml trace.endpoint
// key: app.toml trace.sample
#[test]
fn a_post_is_followed_from_the_edge_to_sql_and_to_the_jobs_of_another_process() {
    let collector = Collector::start();
    let node = Node::builder().posts(3).toml(&recording(&collector)).toml("log.level = 'debug'");
    let node = node.toml("queue.workers = 0").start();
    let edge = Edge::builder().backend_at("app-1", node.address(), "").without_probe();
    let edge = edge.toml(&recording(&collector)).start();
    let token = token(&node);
    publish(edge.address(), &token, "Followed").expect("it is published");
    let logged = edge.logged("/api/v1/posts");
    let (request, trace) = (logged["request.id"].as_str().unwrap(), logged["trace.id"].as_str().unwrap());

    let worker = node::run(&["work".to_owned()], &node.folder().join("app.toml"));
    let done = worker.wait_for_line("job has ended", BOUND);
    let done: Value = serde_json::from_str(&done).expect("log lines are JSON");
    assert_eq!((&done["request.id"], &done["trace.id"]), (&json!(request), &json!(trace)), "{done}");
    assert!(done["job.name"].is_string() && done["job.id"].is_number() && done["job.attempt"] == 1, "{done}");
    let lines = node.process.json_lines();
    let answered =
        lines.iter().find(|line| line["request.id"] == request).expect("the node logs the request");
    assert_eq!(answered["trace.id"], trace);

    let ours = || {
        let spans = collector.spans().into_iter().filter(|span| span["trace"] == trace);
        spans.collect::<Vec<_>>()
    };
    let spans =
        eventually("the whole trace", BOUND, ours, |spans| of(spans, "cirque-app", CONSUMER).len() >= 4);
    let (entry, attempt) = (of(&spans, "cirque-edge", SERVER)[0], of(&spans, "cirque-edge", CLIENT)[0]);
    let served = of(&spans, "cirque-app", SERVER)[0];
    assert_eq!(entry["parent"], "");
    assert_eq!(attempt["parent"], entry["id"]);
    assert_eq!(served["parent"], attempt["id"]);
    assert_eq!(served["name"], "POST /api/v1/posts");
    assert_eq!(served["facts"]["request.id"], request);
    let statements = of(&spans, "cirque-app", CLIENT);
    let below = |id: &Value| statements.iter().filter(|span| span["parent"] == *id).count();
    assert!(below(&served["id"]) >= 3, "{statements:#?}");
    let insert = statements.iter().find(|span| span["name"] == "INSERT").expect("it writes");
    assert!(!insert["facts"]["db.query.text"].as_str().unwrap().contains("Followed"), "values are not shown");
    for job in of(&spans, "cirque-app", CONSUMER) {
        assert_eq!(job["parent"], served["id"], "{job}");
        assert_eq!(job["facts"]["request.id"], request);
    }
    let sitemap = of(&spans, "cirque-app", CONSUMER).into_iter().find(|job| job["name"] == "update_sitemap");
    assert!(below(&sitemap.expect("the sitemap is made anew")["id"]) >= 1);
    assert!(spans.iter().all(|span| span["error"].is_null()), "{spans:#?}");
}

// key: app.toml trace.timeout
// key: app.toml trace.max_queue
// key: app.toml trace.headers
#[test]
fn a_node_answers_and_stops_while_its_collector_hangs() {
    let collector = Collector::start();
    collector.mood("hang");
    let node = Node::builder().posts(3).toml(&recording(&collector));
    let node =
        node.toml("trace.timeout = '200ms'\ntrace.max_queue = 5\ntrace.headers = { authorization = 'abc' }");
    let mut node = node.toml("cache.max_size = 0").start();
    for _ in 0..30 {
        assert_eq!(node.get("/api/v1/posts").status, 200);
    }
    let dropped = |reason: &str| node.metrics().value("trace_spans_dropped_total", &[("reason", reason)]);
    eventually("what finds no room is dropped", BOUND, || dropped("queue_full"), |dropped| *dropped > 0.0);
    eventually("what was tried in vain as well", BOUND, || dropped("unreachable"), |dropped| *dropped > 0.0);
    assert_eq!(collector.calls()[0]["authorization"], "abc");
    node.process.terminate();
    assert_eq!(node.process.expect_exit(Duration::from_secs(15)), 0);
}

#[test]
fn without_a_collector_the_log_of_a_node_still_says_which_trace_it_was() {
    let node = Node::builder().posts(1).start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    Client::to(node.address())
        .send(&Request::get("/api/v2/posts").header("traceparent", parent))
        .expect_status(200);
    let line = node.process.wait_for_line("\"/api/v2/posts\"", BOUND);
    assert!(line.contains("\"trace.id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""), "{line}");
}
