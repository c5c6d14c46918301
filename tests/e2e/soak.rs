//! A whole site under mixed load for a while, with reloads and a node that dies now and then: nothing grows, nothing slows down.

use std::time::Duration;

use cirque_tests::load::{Report, Running};
use cirque_tests::scrape::Scrape;
use cirque_tests::{Client, Cluster, Load, Request, eventually};

/// What is measured together; the site is quiet between two of them.
const ROUND: Duration = Duration::from_secs(10);
/// The victim. What the others hold is looked at.
const KILLED: u16 = 2;

/// What the processes held when a round was over, and how long its slowest hundredth took.
#[derive(Debug, Clone, Copy)]
struct Held {
    edge_bytes: f64,
    edge_descriptors: f64,
    edge_tasks: f64,
    node_bytes: f64,
    node_descriptors: f64,
    node_tasks: f64,
    p99: Duration,
}

impl Held {
    fn after(site: &Cluster, p99: Duration) -> Held {
        let (edge, node) = (site.metrics(), Scrape::fetch(site.node_address(1), "/api/metrics"));
        let (bytes, descriptors, tasks) =
            ("process_resident_memory_bytes", "process_open_fds", "runtime_tasks");
        Held {
            edge_bytes: edge.value(bytes, &[]),
            edge_descriptors: edge.value(descriptors, &[]),
            edge_tasks: edge.value(tasks, &[]),
            node_bytes: node.value(bytes, &[]),
            node_descriptors: node.value(descriptors, &[]),
            node_tasks: node.value(tasks, &[]),
            p99,
        }
    }
}

/// Two minutes, or as many seconds as CIRQUE_SOAK_SECONDS says.
fn rounds() -> usize {
    let asked: Option<u64> = std::env::var("CIRQUE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(120).div_ceil(ROUND.as_secs()).max(6) as usize
}

/// Lists and single posts of both versions, answered from memory and not, kept connections and new ones.
fn mixed_load(site: &Cluster, round: usize) -> Report {
    // Pages that nobody asked for before are read from the database.
    let page = format!("/api/v1/posts?per_page=5&page={}", 1 + round % 8);
    let streams = [
        Load::on(site.address(), "/api/v1/posts?per_page=5").connections(4).per_second(100),
        Load::on(site.address(), "/api/v2/posts?fields=id,title&limit=20").connections(4).per_second(60),
        Load::on(site.address(), &page).connections(2).per_second(40),
        Load::on(site.address(), "/")
            .request(Request::get("/sitemap.xml").header("connection", "close"))
            .connections(2)
            .per_second(20),
    ];
    let running: Vec<_> = streams.into_iter().map(|stream| stream.lasting(ROUND).start()).collect();
    // In the middle of it.
    running[0].wait_for(200);
    Client::to(site.admin()).send(&Request::new("POST", "/v1/reload")).expect_status(200);
    if round % 3 == 1 {
        site.kill_node(KILLED);
    }
    running.into_iter().map(Running::join).fold(Report::default(), Report::with)
}

/// Requests and attempts that are counted as under way.
fn in_flight(site: &Cluster) -> f64 {
    let metrics = site.metrics();
    metrics.value("http_requests_in_flight", &[]) + metrics.value("proxy_upstream_in_flight", &[])
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "the figures are worth reading")]
fn assert_flat(what: &str, held: &[Held], of: impl Fn(&Held) -> f64, slack: f64) {
    // The first third is for getting warm.
    let (middle, last) = (&held[held.len() / 3..held.len() * 2 / 3], &held[held.len() * 2 / 3..]);
    let mean = |part: &[Held]| part.iter().map(&of).sum::<f64>() / part.len() as f64;
    let (before, after) = (mean(middle), mean(last));
    println!("{what}: {before:.1} in the middle third, {after:.1} in the last");
    assert!(after <= before * 1.05 + slack, "{what} grew from {before} to {after}: {held:#?}");
}

#[test]
fn nothing_grows_and_nothing_slows_down_under_mixed_load_with_reloads_and_a_dying_node() {
    let site = Cluster::builder().seed(200).start();
    let mut held = Vec::new();
    let mut answered = 0;
    for round in 0..rounds() {
        let report = mixed_load(&site, round);
        report.assert_all_ok();
        answered += report.total();
        site.wait_for_node(KILLED);
        eventually(
            "nothing is in flight",
            Duration::from_secs(10),
            || in_flight(&site),
            |count| *count == 0.0,
        );
        held.push(Held::after(&site, report.percentile(99)));
    }
    println!("{answered} requests answered, none failed");
    let mib = 1024.0 * 1024.0;
    assert_flat("memory of the edge, MiB", &held, |held| held.edge_bytes / mib, 4.0);
    assert_flat("memory of a node, MiB", &held, |held| held.node_bytes / mib, 4.0);
    assert_flat("descriptors of the edge", &held, |held| held.edge_descriptors, 4.0);
    assert_flat("descriptors of a node", &held, |held| held.node_descriptors, 4.0);
    assert_flat("tasks of the edge", &held, |held| held.edge_tasks, 4.0);
    assert_flat("tasks of a node", &held, |held| held.node_tasks, 4.0);
    assert_flat("99th percentile, ms", &held, |held| held.p99.as_secs_f64() * 1000.0, 25.0);
    let metrics = site.metrics();
    assert!(metrics.value("proxy_config_reloads_total", &[("result", "applied")]) >= held.len() as f64);
}
