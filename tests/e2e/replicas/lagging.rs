//! Replicas that are behind: not read from beyond `max_lag`, and never the source of an old answer in a cache.

use std::time::Duration;

use cirque_tests::{Request, eventually, throughout};

use super::{BOUND, Topology, title};

// key: app.toml database.max_lag
// key: app.toml database.replicas
#[test]
fn a_replica_that_is_too_far_behind_is_not_read_from_until_it_has_caught_up() {
    let topology = Topology::start(1, "max_lag = '1s'");
    let (id, slug) = topology.post("In the beginning");
    let [late, other] = [&topology.replicas[0], &topology.replicas[1]];
    let mut client = topology.client(0);
    let mut number = 0;
    let mut write = || {
        number += 1;
        topology.client(0).send(&topology.rename(id, &format!("Number {number}"))).expect_status(200);
    };
    late.pause_replay();
    let name = Topology::name(late);
    let lagging = [("server", name.as_str()), ("state", "lagging")];
    let is_out = || {
        write();
        topology.metrics(0).value("database_replica_state", &lagging)
    };
    eventually("it is not read from", BOUND, is_out, |state| *state > 0.5);
    assert!(topology.metrics(0).value("database_replica_lag_seconds", &[("server", &name)]) > 1.0);
    assert!(topology.metrics(0).value("database_replica_lag_bytes", &[("server", &name)]) > 0.0);
    let before = topology.metrics(0);
    for _ in 0..20 {
        client.send(&topology.read("/api/v1/posts")).expect_status(200);
    }
    assert!(
        topology.metrics(0).since(
            &before,
            "database_reads_total",
            &[("target", "replica"), ("reason", "any")]
        ) >= 20.0
    );

    // The other one too: then the primary answers, and shows what there is.
    other.pause_replay();
    let name = Topology::name(other);
    let lagging = [("server", name.as_str()), ("state", "lagging")];
    let is_out = || {
        write();
        topology.metrics(0).value("database_replica_state", &lagging)
    };
    eventually("neither is", BOUND, is_out, |state| *state > 0.5);
    write();
    let read = topology.read(&format!("/api/v1/posts/{slug}"));
    assert_eq!(title(&client.send(&read)), format!("Number {number}"));
    assert!(topology.metrics(0).value("database_reads_total", &[("reason", "no_replica")]) >= 1.0);

    for replica in &topology.replicas {
        replica.resume_replay();
        topology.wait_for_state(0, replica, "admitted");
        assert_eq!(topology.lines(0, "lagging", replica).len(), 1);
    }
    client.send(&read).expect_status(200);
}

#[test]
fn a_lagging_replica_never_brings_back_what_a_write_made_stale() {
    let topology = Topology::start(2, "max_lag = '10m'");
    let (id, slug) = topology.post("Old");
    let target = format!("/api/v1/posts/{slug}");
    let mut clients = [topology.client(0), topology.client(1)];
    for client in &mut clients {
        assert_eq!(title(&client.get(&target)), "Old");
    }
    topology.replicas.iter().for_each(|replica| replica.pause_replay());
    for number in 0..3 {
        let wanted = format!("Number {number}");
        clients[0].send(&topology.rename(id, &wanted)).expect_status(200);
        // Here at once, elsewhere within a second, and from then on for everybody.
        assert_eq!(title(&clients[0].get(&target)), wanted);
        let there = || title(&clients[1].get(&target));
        eventually("the other node shows it", Duration::from_secs(5), there, |title| *title == wanted);
        let both = || [title(&topology.client(0).get(&target)), title(&topology.client(1).get(&target))];
        throughout("nobody sees an old one", Duration::from_millis(700), both, |titles| {
            titles.iter().all(|title| *title == wanted)
        });
    }
    // Somebody who is answered by a replica and wrote nothing does see the old one: it is really behind.
    assert_eq!(title(&clients[1].send(&topology.read(&target))), "Old");
    let hits = topology.metrics(1).value("cache_requests_total", &[("result", "hit")]);
    assert!(hits > 0.0, "{hits}");
}

#[test]
fn tokens_that_are_forged_are_as_good_as_none() {
    let topology = Topology::start(1, "max_lag = '10m'");
    let (id, slug) = topology.post("Old");
    topology.replicas.iter().for_each(|replica| replica.pause_replay());
    let mut client = topology.client(0);
    let answer = client.send(&topology.rename(id, "New"));
    let token = answer.expect_status(200).header("x-consistency-token").expect("there is one").to_owned();
    let target = format!("/api/v1/posts/{slug}");
    let with = |token: &str| topology.read(&target).header("x-consistency-token", token);
    assert_eq!(title(&client.send(&with(&token))), "New");
    let changed = format!("{}B", &token[..token.len() - 1]);
    for bad in [changed.as_str(), "", "%%%", &"A".repeat(4000)] {
        assert_eq!(title(client.send(&with(bad)).expect_status(200)), "Old", "{bad}");
    }
    let anonymous = Request::get(&target).header("x-consistency-token", &token);
    assert_eq!(title(&client.send(&anonymous)), "New");
}
