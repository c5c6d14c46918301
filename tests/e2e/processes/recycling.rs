//! Processes that have served enough, or hold too much, are replaced under load.

use cirque_tests::{Connection, Edge, Load, Node, eventually};

use super::{LIST, SOON, logged, metric, node, pids, wait_for_metric};

const REQUESTS: [(&str, &str); 1] = [("reason", "requests")];

// key: app.toml processes.max_requests
#[test]
fn recycled_under_load_no_request_fails_and_no_counter_goes_backwards() {
    let node = node("workers = 2, max_requests = 50");
    let before = pids(&node, 2);
    let load = Load::on(node.address(), LIST).connections(4).per_second(200).start();
    let labels = [("route", "/api/v1/posts"), ("code", "200")];
    let (mut last, mut scrapes) = (0.0, 0);
    let look = || {
        if let Some(now) = metric(&node, "http_requests_total", &labels) {
            assert!(now >= last, "{now} after {last}, at scrape {scrapes}");
            (last, scrapes) = (now, scrapes + 1);
        }
        metric(&node, "app_process_exits_total", &REQUESTS)
    };
    eventually("six were replaced", SOON, look, |exits| exits.is_some_and(|exits| exits >= 6.0));
    let report = load.stop();
    report.assert_all_ok();
    wait_for_metric(&node, "http_requests_total", &labels, report.total() as f64);
    assert_eq!(metric(&node, "http_requests_total", &labels), Some(report.total() as f64));
    assert!(logged(&node, "process is replaced, its successor serves").len() >= 6);
    assert!(!node.process.descendants().iter().any(|pid| before.contains(pid)));
    println!("{} requests, {scrapes} scrapes, none failed, none backwards", report.total());
}

#[test]
fn recycled_behind_the_edge_no_request_fails() {
    let node = node("workers = 2, max_requests = 50");
    let edge = Edge::builder().backend_at("app", node.address(), "").start();
    let load = Load::on(edge.address(), LIST).connections(4).per_second(200).start();
    wait_for_metric(&node, "app_process_exits_total", &REQUESTS, 4.0);
    load.stop().assert_all_ok();
}

// key: app.toml processes.max_memory
#[test]
fn a_process_that_holds_too_much_memory_is_replaced() {
    // What a process has when it holds nothing.
    let usual = Node::builder().posts(20).start();
    usual.get(LIST).expect_status(200);
    let limit = usual.process.resident_bytes() + (48 << 20);
    drop(usual);
    let toml = format!("server.max_body_size = '64MiB'\nprocesses = {{ workers = 1, max_memory = {limit} }}");
    let node = Node::builder().posts(20).toml(&toml).start();
    let fat = pids(&node, 1)[0];
    let load = Load::on(node.address(), LIST).connections(2).per_second(50).start();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60000000\r\n\r\n";
    // Held as long as their senders take: nobody knows yet that it is not JSON.
    let hold = |_| {
        let mut connection = Connection::open(node.address());
        connection.write(head).unwrap();
        connection.write(vec![b' '; 40_000_000]).unwrap();
        connection
    };
    let held: Vec<Connection> = (0..3).map(hold).collect();
    eventually(
        "its successor serves",
        SOON,
        || logged(&node, "process is replaced, its successor serves"),
        |lines| lines.iter().any(|line| line["reason"] == "memory"),
    );
    drop(held);
    wait_for_metric(&node, "app_process_exits_total", &[("reason", "memory")], 1.0);
    load.stop().assert_all_ok();
    assert!(!pids(&node, 1).contains(&fat));
}
