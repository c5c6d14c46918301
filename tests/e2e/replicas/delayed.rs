//! Servers that answer late: reads turn to the others, and what is later than a second is not read from.

use std::time::Duration;

use cirque_tests::chaos::Link;
use cirque_tests::postgres::Server;
use cirque_tests::{Load, eventually};

use super::{BOUND, PRIMARY};
use crate::queue::Site;

#[expect(clippy::print_stderr, reason = "how long it took is worth knowing")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn through(link: &Link) -> String {
    format!("postgres://cirque@{}/postgres", link.address())
}

#[test]
fn servers_that_answer_late_are_avoided_and_no_read_fails() {
    let primary = Server::start(PRIMARY);
    let replicas = [primary.replica(), primary.replica()];
    let [to_primary, late] = [&primary, &replicas[0]].map(|server| Link::to(server.address()));
    let toml = format!(
        "queue.workers = 0\ncache.max_size = '0B'\ndatabase.max_lag = '10s'\ndatabase.replicas = ['{}', '{}']\n",
        through(&late),
        replicas[1].url()
    );
    let site = Site::start(Some(&through(&to_primary)), 1, &toml);
    let node = &site.nodes[0];
    let admitted = || node.metrics().value("database_replica_state", &[("state", "admitted")]);
    eventually("both are read from", BOUND, admitted, |admitted| (admitted - 2.0).abs() < 0.5);
    let load = Load::on(node.address(), "/api/v1/posts").connections(4).per_second(50).start();
    load.wait_for(50);
    let calm = load.take_report();
    calm.assert_all_ok();

    // A fifth of a second each way: slower, and of use.
    late.delay(Duration::from_millis(200));
    load.wait_for(10);
    load.take_report();
    load.wait_for(150);
    let slower = load.take_report();
    slower.assert_all_ok();
    assert!(
        slower.percentile(50) < Duration::from_millis(300),
        "most go to the other: {:?}",
        slower.percentile(50)
    );

    // Later than a look may take.
    late.delay(Duration::from_millis(1500));
    let name = late.address().to_string();
    let out = || node.metrics().value("database_replica_state", &[("server", &name), ("state", "slow")]);
    eventually("it is not read from", BOUND, out, |out| *out > 0.5);
    load.wait_for(10);
    let turned = load.take_report();
    turned.assert_all_ok();
    load.wait_for(50);
    let without = load.take_report();
    without.assert_all_ok();
    assert!(without.percentile(99) < Duration::from_millis(500), "{:?}", without.percentile(99));
    late.restore();
    eventually("both are read from again", BOUND, admitted, |admitted| (admitted - 2.0).abs() < 0.5);

    // A primary that is slow is not gone: writes take their time, reads do not notice.
    load.take_report();
    to_primary.delay(Duration::from_millis(20));
    let began = tokio::time::Instant::now();
    site.publish(0, "Slowly").expect("it is published");
    let written = began.elapsed();
    assert!(written > Duration::from_millis(160), "{written:?}");
    to_primary.restore();
    load.wait_for(20);
    let beside = load.stop();
    beside.assert_all_ok();
    assert_eq!(node.get("/api/health").json()["services"]["primary"], "ok");
    let [calm, slower, turned, without, beside] = [&calm, &slower, &turned, &without, &beside]
        .map(|report| (report.percentile(50), report.percentile(99)));
    say(&format!(
        "reads, p50 and p99: calm {calm:?}; one of two replicas 0.2 s late {slower:?}; turning away from one that is 1.5 s \
         late {turned:?}; without it {without:?}; beside a primary that is 0.02 s late {beside:?}, where a write took {written:?}"
    ));
}
