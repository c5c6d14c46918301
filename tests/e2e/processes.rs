//! A node of several processes: what happens to one of them, no client notices.

mod ending;
mod files;
mod recycling;
mod trouble;

use std::fs;
use std::time::Duration;

use cirque_tests::node::{self, Node};
use cirque_tests::process::Stream;
use cirque_tests::scrape::Scrape;
use cirque_tests::{Client, Connection, Load, Request, eventually};
use serde_json::Value;

pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const LIST: &str = "/api/v1/posts?per_page=5";

/// Starts with these `[processes]`.
#[track_caller]
pub(crate) fn node(processes: &str) -> Node {
    Node::builder().posts(20).toml(&format!("processes = {{ {processes} }}")).start()
}

/// The value of a metric, or nothing while the node does not say.
pub(crate) fn metric(node: &Node, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let answer = Client::to(node.address()).try_send(&Request::get("/api/metrics")).ok()?;
    (answer.status == 200).then(|| Scrape::parse(&answer.text()).value(name, labels))
}

#[track_caller]
pub(crate) fn wait_for_metric(node: &Node, name: &str, labels: &[(&str, &str)], least: f64) {
    let what = format!("{name}{labels:?} reaches {least}");
    eventually(&what, SOON, || metric(node, name, labels), |value| value.is_some_and(|value| value >= least));
}

/// The lines of the log with this message.
pub(crate) fn logged(node: &Node, message: &str) -> Vec<Value> {
    node.process.json_lines().into_iter().filter(|line| line["message"] == message).collect()
}

/// The pids of the processes that serve, once there are so many.
#[track_caller]
pub(crate) fn pids(node: &Node, count: usize) -> Vec<u32> {
    eventually("so many processes run", SOON, || node.process.descendants(), |pids| pids.len() == count)
}

/// The same file says something else from now on.
pub(crate) fn rewrite(node: &Node, change: impl Fn(&str) -> String) {
    let file = node.folder().join("app.toml");
    let text = fs::read_to_string(&file).expect("the node has a file");
    let changed = change(&text);
    assert_ne!(text, changed, "the change finds its place");
    fs::write(&file, changed).expect("the temporary directory is writable");
}

/// How many sockets this process has.
fn sockets(pid: u32) -> usize {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

// key: app.toml processes.workers
#[test]
fn several_processes_share_one_address_and_are_counted_together() {
    let toml = "processes.workers = 3\nmetrics.guide_names = false";
    let node = Node::builder().posts(20).toml(toml).start();
    let supervisor = node.process.pid();
    assert_eq!(pids(&node, 3).len(), 3);
    let report = Load::on(node.address(), LIST).connections(12).requests(600).run();
    report.assert_all_ok();
    let labels = [("route", "/api/v1/posts"), ("code", "200")];
    // Whichever process is asked.
    for _ in 0..6 {
        let scrape = node.metrics();
        assert_eq!(
            scrape.value("http_requests_total", &labels),
            600.0,
            "{:?}",
            scrape.lines("http_requests_total")
        );
        assert_eq!(scrape.value("app_processes", &[("state", "serving")]), 3.0);
        assert_eq!(scrape.value("app_build_info", &[]), 1.0);
        assert_eq!(scrape.value("app_database_up", &[]), 1.0);
    }
    assert_eq!(node.metrics().promtool_findings(), "");
    // Whoever waits is next: 30 connections are shared among three. The one that asks is the only one before.
    eventually("the load is gone", SOON, || metric(&node, "app_connections", &[]), |open| *open == Some(1.0));
    let all = pids(&node, 3);
    let before: Vec<usize> = all.iter().map(|pid| sockets(*pid)).collect();
    let open = |_| {
        let mut connection = Connection::open(node.address());
        connection.exchange(&Request::get("/livez")).unwrap().expect_status(200);
        connection
    };
    let _open: Vec<Connection> = (0..30).map(open).collect();
    let more = || all.iter().zip(&before).map(|(pid, before)| sockets(*pid).saturating_sub(*before));
    let shares = || more().collect::<Vec<_>>();
    let shared = eventually("all are accepted", SOON, shares, |shares| shares.iter().sum::<usize>() >= 29);
    assert!(shared.iter().all(|share| *share >= 5), "{shared:?}");
    println!("30 connections over three processes: {shared:?}");
    assert_eq!(report.served_by.len(), 1, "they are one node: {:?}", report.served_by);
    let listening = logged(&node, "node is listening");
    assert_eq!(listening.len(), 3, "{listening:?}");
    assert!(!node.process.descendants().contains(&supervisor));
}

#[test]
fn one_process_without_limits_needs_no_supervisor() {
    let node = node("workers = 1");
    assert_eq!(node.process.descendants(), Vec::<u32>::new());
    assert!(!node.metrics().has("app_processes", &[]));
}

#[test]
fn flags_win_over_the_file() {
    let builder = Node::builder().toml("processes.workers = 3");
    let (address, file) = (builder.address(), builder.write());
    let mut migrate = node::run(&["migrate".to_owned()], &file);
    assert_eq!(migrate.expect_exit(SOON), 0, "{:#?}", migrate.lines());
    let flags = ["serve", "--workers=2", "--max-requests=20", "--max-memory=1GiB", "--max-execution-time=1"];
    let serving = node::run(&flags.map(str::to_owned), &file);
    cirque_tests::client::wait_until_ready("the node", address, SOON);
    assert_eq!(serving.descendants().len(), 2);
    Load::on(address, "/livez").connections(4).requests(100).run().assert_all_ok();
    serving.wait_for_line("process is replaced", SOON);
    let mut slow = Connection::open(address);
    slow.write("POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{").unwrap();
    let refused = slow.read_response("POST").unwrap();
    refused.expect_status(503);
    for wrong in ["--workers=0", "--max-memory=1MiB", "--max-execution-time=soon"] {
        let mut refused = node::run(&["serve".to_owned(), wrong.to_owned()], &file);
        assert_eq!(refused.expect_exit(SOON), 2, "{wrong}: {:#?}", refused.lines());
    }
}

#[test]
fn a_node_whose_processes_cannot_start_says_why_and_ends() {
    let builder = Node::builder().toml("processes.workers = 2");
    let mut process = node::run(&["serve".to_owned()], &builder.write());
    assert_eq!(process.expect_exit(SOON), 1);
    let said = process.text(Stream::Stderr);
    assert!(
        said.contains("the first processes could not start") && said.contains("cirque app migrate"),
        "{said}"
    );
}
