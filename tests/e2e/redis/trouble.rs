//! One server that is slow, frozen, gone or of the wrong kind: the site stays up and fast, says so once, and returns.

use std::time::Duration;

use cirque_tests::chaos::Link;
use cirque_tests::node::Node;
use cirque_tests::process::Process;
use cirque_tests::redis::{Server, toml};
use cirque_tests::{Load, throughout};

use super::{AWAY, BACK, BOUND, COUNTED, is_up, readers, said, site, wait_until_up, within};

const LIST: &str = "/api/v1/posts";

fn health(node: &Node) -> (u16, String, String) {
    let answer = node.get("/api/health");
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (answer.status, word(&answer.json()["status"]), word(&answer.json()["services"]["redis"]))
}

#[expect(clippy::print_stderr, reason = "figures are what these tests are for")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// `CIRQUE_FROZEN_SECONDS` says how long; 30 for the figure in the documents.
fn frozen_for() -> Duration {
    let seconds = std::env::var("CIRQUE_FROZEN_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

#[test]
fn redis_frozen_under_load_cached_reads_stay_under_50_ms_and_none_fails() {
    let mut server = Server::start(&[]);
    let site = site(2, &format!("{}{COUNTED}", toml(server.address())));
    let load =
        |node: usize| Load::on(site.nodes[node].address(), LIST).connections(4).per_second(200).start();
    let running = [load(0), load(1)];
    running.iter().for_each(|running| running.wait_for(100));
    let calm: Vec<_> = running.iter().map(|running| running.take_report().percentile(99)).collect();
    server.process.stop_signal();
    let noticed = within(BOUND, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    assert_eq!(health(&site.nodes[0]), (200, "degraded".to_owned(), "error".to_owned()));
    throughout("the site answers", frozen_for(), || (), |()| true);
    let frozen: Vec<_> = running.iter().map(|running| running.take_report()).collect();
    server.process.cont();
    let back = within(Duration::from_secs(5), "it is back", || site.nodes.iter().all(is_up));
    let after: Vec<_> = running.into_iter().map(cirque_tests::load::Running::stop).collect();
    for (report, calm) in frozen.iter().zip(calm) {
        report.assert_all_ok();
        let [middle, late, last] = [50, 99, 100].map(|percent| report.percentile(percent));
        say(&format!(
            "Redis frozen for {:?}: {} reads, p50 {middle:?}, p99 {late:?} (before: {calm:?}), longest {last:?}; noticed after {noticed:?}, back after {back:?}",
            frozen_for(),
            report.total()
        ));
        assert!(late < Duration::from_millis(50), "{late:?}");
    }
    after.iter().for_each(cirque_tests::load::Report::assert_none_failed);
    for node in &site.nodes {
        assert_eq!(
            (said(&node.process, AWAY), said(&node.process, BACK)),
            (1, 1),
            "each transition is logged once"
        );
        let turns = node.metrics().value("redis_transitions_total", &[("to", "down"), ("reason", "silent")]);
        assert!((turns - 1.0).abs() < 0.5, "{turns}");
    }
    assert_eq!(health(&site.nodes[0]), (200, "healthy".to_owned(), "ok".to_owned()));
}

#[test]
fn redis_killed_under_load_and_started_again_empty_no_request_fails() {
    let mut server = Server::start(&[]);
    let site = site(
        2,
        &format!(
            "{}{COUNTED}cache = {{ v2_list = '1s', stale_while_revalidate = '0s' }}\n",
            toml(server.address())
        ),
    );
    let readers = readers(&site, 3);
    throughout("it runs for a while", Duration::from_secs(1), || (), |()| true);
    server.kill();
    within(BOUND, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    throughout("the site goes on", Duration::from_secs(2), || (), |()| true);
    server.restart();
    // The longest wait between two tries, and three probes.
    let back = within(Duration::from_secs(4), "it is back", || site.nodes.iter().all(is_up));
    throughout("and goes on", Duration::from_secs(1), || (), |()| true);
    let seen = readers.end();
    seen.say(&format!("Redis killed and started again, back after {back:?}"));
    seen.assert_none_failed("Redis killed");
    for node in &site.nodes {
        assert_eq!((said(&node.process, AWAY), said(&node.process, BACK)), (1, 1));
        // One connection before, one after, and perhaps one that met a server that was not ready.
        let connections = node.metrics().value("redis_connections_total", &[]);
        assert!((1.5..3.5).contains(&connections), "{connections}");
    }
}

// key: app.toml redis.slow_after, redis.timeout
#[test]
fn a_slow_redis_is_left_alone_until_it_is_quick_again() {
    let server = Server::start(&[]);
    let link = Link::to(server.address());
    let settings = format!(
        "redis = {{ servers = ['{}'], slow_after = '20ms', timeout = '400ms' }}\n{COUNTED}",
        link.address()
    );
    let site = site(1, &settings);
    let node = &site.nodes[0];
    link.delay(Duration::from_millis(40));
    let running = Load::on(node.address(), LIST).connections(2).per_second(100).start();
    within(BOUND, "it is noticed", || health(node).2 == "slow");
    let before = node.metrics();
    running.take_report();
    running.wait_for(100);
    let report = running.stop();
    report.assert_all_ok();
    // Whoever asked would wait for 80 ms.
    assert!(report.percentile(50) < Duration::from_millis(40), "{:?}", report.percentile(50));
    let asked = |outcome| {
        node.metrics().since(&before, "redis_commands_total", &[("use", "limits"), ("outcome", outcome)])
    };
    assert!(asked("ok") + asked("late") < 0.5 && asked("skipped") > 50.0, "nobody asks it");
    assert_eq!(health(node).1, "degraded");
    // Later than `timeout` is silence.
    link.delay(Duration::from_millis(450));
    within(BOUND, "it is down", || health(node).2 == "error");
    link.restore();
    within(BOUND, "it is quick again", || is_up(node));
    assert_eq!(said(&node.process, AWAY), 2, "slow, then down");
}

// key: app.toml redis.connect_timeout
#[test]
fn a_node_begins_without_redis_and_takes_it_when_it_comes() {
    let abyss = cirque_tests::chaos::Abyss::open();
    let nowhere = Node::builder()
        .toml(&format!("redis = {{ servers = ['{}'], connect_timeout = '200ms' }}\n", abyss.address()))
        .start();
    let line = nowhere.process.wait_for_line(AWAY, BOUND);
    assert!(line.contains("unreachable"), "{line}");
    nowhere.get("/api/v1/posts").expect_status(200);
    let mut server = Server::start(&[]);
    server.kill();
    let node = Node::builder().toml(&toml(server.address())).start();
    node.process.wait_for_line(AWAY, BOUND);
    node.get("/api/v1/posts").expect_status(200);
    server.restart();
    wait_until_up(&node);
}

// key: app.toml redis.database
#[test]
fn a_database_of_its_own_has_the_keys() {
    let server = Server::start(&[]);
    let node = Node::builder()
        .posts(3)
        .toml(&format!("redis = {{ servers = ['{}'], database = 3 }}\n", server.address()))
        .start();
    wait_until_up(&node);
    node.get(LIST).expect_status(200);
    within(BOUND, "something is kept there", || server.ask(&["-n", "3", "DBSIZE"]) != "0");
    assert_eq!(server.ask(&["-n", "0", "DBSIZE"]), "0");
}

#[test]
fn what_a_file_says_wrongly_of_redis_is_said_at_once() {
    let file = Node::builder().toml(
        "redis = { servers = ['redis.example.com', 'a:1', 'b:2'], password = 'env:CIRQUE_NO_SUCH_VARIABLE', ca = 'x.pem', \
         cert = 'y.pem', timeout = '1m', slow_after = '20s', prefix = '{x}' }",
    );
    let file = file.write();
    let mut process = Process::cirque("app check", &["app", "check", "-c", &file.display().to_string()]);
    assert_eq!(process.expect_exit(BOUND), 3);
    let text = process.text(cirque_tests::process::Stream::Stderr);
    for words in [
        "redis.servers[0]",
        "must be one server while redis.mode is",
        "CIRQUE_NO_SUCH_VARIABLE",
        "redis.tls",
        "redis.key",
        "redis.timeout",
        "redis.slow_after",
        "redis.prefix",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
