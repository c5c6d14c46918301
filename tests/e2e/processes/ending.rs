//! Nodes of several processes that are stopped, and started again, one after the other.

use std::time::Duration;

use cirque_tests::client::wait_until_ready;
use cirque_tests::node;
use cirque_tests::process::is_alive;
use cirque_tests::{Client, Connection, Edge, Load, Node, Request, eventually};
use tokio::time::Instant;

use super::{LIST, SOON, logged, pids};

const TWO: &str = "processes.workers = 2\nserver.drain_delay = '1s'";

#[test]
fn a_rolling_restart_of_all_nodes_behind_the_edge_fails_no_request() {
    let mut nodes: Vec<Node> = (0..3).map(|_| Node::builder().posts(20).toml(TWO).start()).collect();
    let mut edge = Edge::builder().toml(
        "upstreams.app.probe = { path = '/readyz', interval = '200ms', timeout = '1s', fall = 1, rise = 1 }",
    );
    for (number, node) in nodes.iter().enumerate() {
        edge = edge.backend_at(&format!("app-{number}"), node.address(), "");
    }
    let edge = edge.start();
    let load = Load::on(edge.address(), LIST).connections(4).per_second(200).start();
    for (number, node) in nodes.iter_mut().enumerate() {
        load.wait_for(50);
        node.process.terminate();
        assert_eq!(node.process.expect_exit(SOON), 0);
        node.process = node::run(&["serve".to_owned()], &node.folder().join("app.toml"));
        wait_until_ready("the node", node.address(), SOON);
        let id = format!("app-{number}");
        edge.wait_for_metric("proxy_backend_up", &[("backend", &id)], 1.0);
    }
    load.wait_for(50);
    load.stop().assert_all_ok();
}

#[test]
fn a_stop_says_so_first_then_finishes_then_ends() {
    let mut node = Node::builder().posts(20).toml(TWO).start();
    let all = pids(&node, 2);
    let began = Instant::now();
    node.process.terminate();
    let ready = || Client::to(node.address()).get("/readyz").status;
    eventually("it says that it is draining", Duration::from_millis(900), ready, |status| *status == 503);
    node.get(LIST).expect_status(200);
    assert_eq!(node.process.expect_exit(SOON), 0);
    assert!(began.elapsed() > Duration::from_millis(900) && began.elapsed() < Duration::from_secs(4));
    assert!(!all.iter().any(|pid| is_alive(*pid)));
    assert_eq!(logged(&node, "node has stopped, and all its processes").len(), 1);
}

#[test]
fn at_the_deadline_what_is_left_is_cut_and_counted() {
    let toml = "processes.workers = 2\nserver = { grace_period = '700ms', write_timeout = '60s' }";
    let mut node = Node::builder().posts(100).toml(toml).start();
    let mut connection = Connection::open(node.address());
    connection.set_timeout(Duration::from_millis(200));
    let request = Request::get("/api/v1/posts?per_page=50").to_bytes();
    // Until nothing more fits: an answer is under way, and nobody reads it.
    while connection.write(&request).is_ok() {}
    let began = Instant::now();
    node.process.terminate();
    assert_eq!(node.process.expect_exit(SOON), 0);
    assert!(began.elapsed() > Duration::from_millis(600) && began.elapsed() < Duration::from_secs(6));
    let cut = logged(&node, "node has stopped and cut connections at the end of its grace period");
    assert_eq!((cut.len(), &cut[0]["connections"]), (1, &1.into()), "{cut:?}");
}
