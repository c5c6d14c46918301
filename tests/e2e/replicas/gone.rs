//! Servers that are killed or frozen under load: reads go on, writes are refused in bounded time, and all comes back.

use std::time::Duration;

use cirque_tests::{Load, eventually};
use serde_json::json;
use tokio::time::Instant;

use super::{BOUND, Topology};

#[expect(clippy::print_stderr, reason = "how long it took is worth knowing")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[test]
fn a_replica_that_is_killed_or_frozen_costs_no_read() {
    let mut topology = Topology::start(1, "max_lag = '10s'");
    let load = Load::on(topology.site.nodes[0].address(), "/api/v1/posts")
        .request(topology.read("/api/v1/posts"))
        .connections(4)
        .per_second(40)
        .start();
    load.wait_for(40);
    topology.replicas[0].kill();
    topology.wait_for_state(0, &topology.replicas[0], "unreachable");
    topology.replicas[0].revive();
    topology.wait_for_state(0, &topology.replicas[0], "admitted");
    topology.replicas[1].freeze();
    topology.wait_for_state(0, &topology.replicas[1], "slow");
    topology.replicas[1].thaw();
    topology.wait_for_state(0, &topology.replicas[1], "admitted");
    let report = load.stop();
    say(&format!("slowest read while replicas were killed and frozen: {:?}", report.percentile(100)));
    report.assert_all_ok();
    assert!(report.percentile(100) < Duration::from_secs(5), "{:?}", report.percentile(100));
    for (replica, reason) in topology.replicas.iter().zip(["unreachable", "slow"]) {
        let lines = topology.lines(0, "read from", replica);
        let told = lines.iter().filter(|line| line.contains(reason)).count();
        assert_eq!(told, 1, "one line for each transition: {lines:#?}");
        assert!(lines.last().is_some_and(|line| line.contains("replica is read from")), "{lines:#?}");
    }
}

#[test]
fn without_a_primary_reads_go_on_and_writes_are_refused_until_it_is_back() {
    let mut topology = Topology::start(1, "max_lag = '10s'");
    let (id, slug) = topology.post("Before");
    let load = Load::on(topology.site.nodes[0].address(), "/api/v1/posts")
        .request(topology.read(&format!("/api/v1/posts/{slug}")))
        .connections(2)
        .per_second(20)
        .start();
    load.wait_for(10);
    for is_frozen in [false, true] {
        if is_frozen {
            topology.primary.freeze()
        } else {
            topology.primary.kill()
        }
        let mut client = topology.client(0);
        let started = Instant::now();
        let refused = client.send(&topology.rename(id, "Never"));
        let took = started.elapsed();
        say(&format!("the first write without a primary (frozen: {is_frozen}) was refused after {took:?}"));
        assert!(took < Duration::from_secs(6), "{took:?}");
        refused.expect_status(503);
        assert!(refused.header("retry-after").is_some());
        topology.wait_until(0, "database_has_primary", &[], 0.0);
        let started = Instant::now();
        client.send(&topology.rename(id, "Never")).expect_status(503);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        if !is_frozen {
            // What the alert looks at.
            topology.wait_until(0, "app_database_up", &[], 0.0);
        }
        let health = client.get("/api/health");
        assert_eq!(health.expect_status(200).json()["status"], "degraded");
        assert_eq!(health.json()["services"]["primary"], "error");
        assert_eq!(health.json()["services"]["replicas"], json!({ "admitted": 2, "all": 2 }));
        if is_frozen {
            topology.primary.thaw()
        } else {
            topology.primary.revive()
        }
        let started = Instant::now();
        let write = || topology.client(0).send(&topology.rename(id, "After")).status;
        eventually("writes go on", BOUND, write, |status| *status == 200);
        say(&format!("writes went on {:?} after the primary was back", started.elapsed()));
    }
    let report = load.stop();
    say(&format!("slowest read without a primary: {:?}", report.percentile(100)));
    report.assert_all_ok();
}
