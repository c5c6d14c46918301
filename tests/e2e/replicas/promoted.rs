//! A replica that takes the primary's place: writes go on there, and what does not follow it is not read from.

use std::time::Duration;

use cirque_tests::postgres::Server;
use cirque_tests::{Load, Request, eventually, sql, throughout};
use tokio::time::Instant;

use super::{BOUND, Topology, title};

#[expect(clippy::print_stderr, reason = "how long it took is worth knowing")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn has(server: &Server, title: &str) -> bool {
    sql::number(&server.url(), &format!("SELECT count(*) FROM posts WHERE title = '{title}'")) == 1
}

// key: app.toml database.successors
#[test]
fn writes_go_on_at_a_promoted_replica_without_a_restart() {
    let mut topology = Topology::start(2, "max_lag = '10s'\nsuccessors = [SUCCESSOR]");
    let (id, slug) = topology.post("Before");
    let target = format!("/api/v1/posts/{slug}");
    let load = Load::on(topology.site.nodes[1].address(), &target)
        .request(topology.read(&target))
        .connections(2)
        .per_second(20)
        .start();
    load.wait_for(10);
    topology.primary.kill();
    let started = Instant::now();
    topology.replicas[0].promote();
    let mut last = None;
    let write = || {
        let answer = topology.client(0).send(&topology.rename(id, "After"));
        last = answer.header("x-consistency-token").map(str::to_owned);
        answer.status
    };
    eventually("writes go on", BOUND, write, |status| *status == 200);
    say(&format!(
        "writes went on {:?} after the primary was killed and a replica promoted",
        started.elapsed()
    ));
    assert!(has(&topology.replicas[0], "After"));
    let token = last.expect("a write answers with a token");
    let back = || {
        let read = Request::get(&target).header("x-consistency-token", &token);
        let answer = topology.client(1).send(&read);
        (answer.status, title(&answer))
    };
    eventually("the other node finds the new primary", BOUND, back, |(status, _)| *status == 200);
    assert_eq!(back().1, "After");

    // The other replica still follows the old one: nothing that happens from now on comes to it.
    topology.primary.revive();
    topology.wait_for_state(0, &topology.replicas[1], "diverged");
    let write = || {
        let renamed = topology.client(0).send(&topology.rename(id, "Later")).status;
        (renamed, title(&topology.client(0).send(&topology.read(&target))))
    };
    throughout("the old primary is left alone", Duration::from_secs(2), write, |(status, title)| {
        *status == 200 && title == "Later"
    });
    assert!(has(&topology.replicas[0], "Later") && !has(&topology.primary, "Later"));
    load.stop().assert_all_ok();
}
