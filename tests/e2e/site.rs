//! The main job: a site of three nodes goes on answering while one of them is killed, frozen or broken.

use std::time::Duration;

use cirque_tests::load::Running;
use cirque_tests::process::{Signal, signal_pid};
use cirque_tests::{Backend, Cluster, Edge, Load, Reply, eventually};

const LIST: &str = "/api/v1/posts?per_page=5";

fn load(cluster: &Cluster) -> Running {
    let load = Load::on(cluster.address(), LIST).connections(6).per_second(120).start();
    load.wait_for(100);
    load
}

/// What a node calls itself in `X-Served-By`.
#[track_caller]
fn name_of(cluster: &Cluster, node: u16) -> String {
    let response = cirque_tests::Client::to(cluster.node_address(node)).get(LIST);
    response.header("x-served-by").expect("every answer names its node").to_owned()
}

/// Waits until the node takes between a quarter and two fifths of the requests again.
#[track_caller]
fn wait_for_its_share(load: &Running, name: &str) {
    let share = || {
        load.take_report().assert_none_failed();
        load.wait_for(150);
        let report = load.take_report();
        report.assert_all_ok();
        report.share(name)
    };
    eventually("it takes its share again", Duration::from_secs(60), share, |share| {
        (0.25..0.42).contains(share)
    });
}

#[test]
fn killing_one_of_three_nodes_fails_no_request_and_it_takes_its_share_again() {
    let cluster = Cluster::start();
    let name = name_of(&cluster, 2);
    let load = load(&cluster);
    let before = cluster.metrics();
    let killed = cluster.node_pid(2);
    cluster.kill_node(2);
    load.wait_for(200);
    load.take_report().assert_all_ok();
    let denied = cluster.metrics().since(&before, "proxy_retries_denied_total", &[]);
    assert_eq!(denied, 0.0, "{:#?}", cluster.metrics().lines("proxy_retries_denied_total"));

    cluster.wait_for_node(2);
    assert_ne!(cluster.node_pid(2), killed);
    wait_for_its_share(&load, &name);
    load.stop().assert_none_failed();
}

#[test]
fn freezing_one_of_three_nodes_fails_no_request_and_it_takes_its_share_again() {
    let cluster = Cluster::start();
    let name = name_of(&cluster, 3);
    let load = load(&cluster);
    let frozen = cluster.freeze_node(3);
    load.wait_for(400);
    signal_pid(frozen, Signal::CONT);
    load.take_report().assert_all_ok();
    wait_for_its_share(&load, &name);
    load.stop().assert_none_failed();
}

#[test]
fn a_node_that_answers_only_500_fails_no_request() {
    let cluster = Cluster::builder().nodes(2).start();
    let broken = Backend::named("broken");
    let edge = Edge::builder()
        .backend_at("app-1", cluster.node_address(1), "")
        .backend_at("app-2", cluster.node_address(2), "")
        .backend(&broken)
        .toml("defaults.route.retry.on = ['error', 'timeout', 'http_500', 'http_502', 'http_503']")
        .toml("upstreams.app.probe.path = '/api/health'")
        .start();
    let load = Load::on(edge.address(), LIST).connections(6).per_second(120).start();
    load.wait_for(100);
    broken.forget_requests();
    broken.script(
        |request| if request.path() == "/api/health" { Reply::ok("well") } else { Reply::status(500) },
    );
    load.wait_for(300);
    load.stop().assert_all_ok();
    let asked = broken.requests_to("/api/v1/posts").len();
    assert!(asked >= 3, "the broken node was asked {asked} times");
    assert!(edge.metrics().value("proxy_retries_total", &[("reason", "http_500")]) >= 3.0);
    edge.process.wait_for_line("backend is ejected", Duration::from_secs(5));
}

#[test]
fn three_equal_nodes_share_the_load_within_ten_percent() {
    let cluster = Cluster::start();
    let report = Load::on(cluster.address(), LIST).connections(2).requests(3000).run();
    report.assert_all_ok();
    assert_eq!(report.served_by.len(), 3, "{:?}", report.served_by);
    for (node, count) in &report.served_by {
        assert!((900..=1100).contains(count), "{node} served {count} of 3000: {:?}", report.served_by);
    }
}
