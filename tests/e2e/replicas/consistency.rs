//! What was written is read back by who wrote it, whatever node and replica answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cirque_tests::{Request, Scrape};

use super::{Topology, title};

const NODES: usize = 3;
const WRITERS: usize = 3;
const TOKEN: &str = "x-consistency-token";

/// How many pairs of a write and a read; `CIRQUE_PAIRS=10000` for the whole number.
fn pairs() -> usize {
    std::env::var("CIRQUE_PAIRS").ok().and_then(|pairs| pairs.parse().ok()).unwrap_or(600)
}

#[expect(clippy::print_stderr, reason = "the figures are what the run is for")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Writes and reads back, each time in another way; how many reads did not show what was written.
fn write_and_read(topology: &Topology, writer: usize, pairs: usize) -> usize {
    let (id, slug) = topology.site.publish(0, &format!("Post of writer {writer}")).expect("it is published");
    let target = format!("/api/v1/posts/{slug}");
    let mut clients: Vec<_> = (0..NODES).map(|node| topology.client(node)).collect();
    let mut stale = 0;
    for pair in 0..pairs {
        let wanted = format!("Title {pair} of writer {writer}");
        let (here, there) = (pair % NODES, (pair + 1 + pair / NODES) % NODES);
        let answer = clients[here].send(&topology.rename(id, &wanted));
        let token = answer.expect_status(200).header(TOKEN).expect("a write answers with a token").to_owned();
        let signed =
            || Request::get(&target).header("authorization", &format!("Bearer {}", topology.site.token));
        let answer = match pair % 3 {
            // Anywhere, with the token: signed in, which no cache answers, and not, which one may.
            0 => clients[there].send(&signed().header(TOKEN, &token)),
            1 => clients[there].send(&Request::get(&target).header(TOKEN, &token)),
            // Where it was written, without: the API token is remembered.
            _ => clients[here].send(&signed()),
        };
        stale += usize::from(title(answer.expect_status(200)) != wanted);
    }
    stale
}

#[test]
fn what_was_written_is_read_back_over_three_nodes_while_replicas_are_two_seconds_behind() {
    let topology = Topology::start(NODES, "max_lag = '10s'");
    topology.replicas.iter().for_each(|replica| replica.delay("2s"));
    let pairs = pairs();
    let before: Vec<Scrape> = (0..NODES).map(|node| topology.metrics(node)).collect();
    let (is_over, others) = (AtomicBool::new(false), AtomicUsize::new(0));
    let stale: usize = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut clients: Vec<_> = (0..NODES).map(|node| topology.client(node)).collect();
            while !is_over.load(Ordering::SeqCst) {
                let turn = others.fetch_add(1, Ordering::SeqCst);
                let read = topology.read(&format!("/api/v1/posts?page={}", 1 + turn % 3));
                clients[turn % NODES].send(&read).expect_status(200);
            }
        });
        let topology = &topology;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write_and_read(topology, writer, pairs / WRITERS)))
            .collect();
        let stale = writers.into_iter().map(|writer| writer.join().expect("a writer finishes")).sum();
        is_over.store(true, Ordering::SeqCst);
        reading.join().expect("the reader finishes");
        stale
    });
    let reads = |target: &str, reason: &str| -> f64 {
        let labels = [("target", target), ("reason", reason)];
        (0..NODES)
            .map(|node| topology.metrics(node).since(&before[node], "database_reads_total", &labels))
            .sum()
    };
    let by_replicas = reads("replica", "any");
    let fallen = reads("primary", "no_replica") + reads("primary", "replica_failed");
    let share = by_replicas / (by_replicas + fallen);
    say(&format!(
        "{pairs} pairs over {NODES} nodes with replicas 2 s behind: {stale} stale. {} other reads: replicas answered \
         {by_replicas} statements, the primary {fallen} in their place ({:.1} % by replicas); own writes on the primary: {}, \
         on replicas: {}",
        others.load(Ordering::SeqCst),
        share * 100.0,
        reads("primary", "own_writes"),
        reads("replica", "position"),
    ));
    assert_eq!(stale, 0);
    assert!(share > 0.9, "{share}");
    assert!(others.load(Ordering::SeqCst) > 0 && by_replicas > 0.0);
}

// key: app.toml database.own_writes
#[test]
fn what_a_caller_wrote_is_forgotten_after_a_while() {
    let topology = Topology::start(1, "own_writes = '1s'\nmax_lag = '10m'\nreplica_wait = '0s'");
    let (id, slug) = topology.post("Remembered for a second");
    topology.replicas.iter().for_each(|replica| replica.pause_replay());
    let mut client = topology.client(0);
    client.send(&topology.rename(id, "New")).expect_status(200);
    let target = format!("/api/v1/posts/{slug}");
    let own = Request::get(&target).header("authorization", &format!("Bearer {}", topology.site.token));
    assert_eq!(title(&client.send(&own)), "New");
    cirque_tests::eventually(
        "a replica answers",
        super::BOUND,
        || title(&client.send(&own)),
        |title| title == "Remembered for a second",
    );
}

// key: app.toml database.replica_wait
#[test]
fn a_read_waits_a_moment_for_a_replica_that_is_almost_there() {
    let topology = Topology::start(1, "replica_wait = '10s'");
    let (id, slug) = topology.post("Almost there");
    topology.replicas.iter().for_each(|replica| replica.delay("500ms"));
    let mut client = topology.client(0);
    for number in 0..3 {
        let wanted = format!("Number {number}");
        client.send(&topology.rename(id, &wanted)).expect_status(200);
        let own = Request::get(&format!("/api/v1/posts/{slug}"))
            .header("authorization", &format!("Bearer {}", topology.site.token));
        assert_eq!(title(&client.send(&own)), wanted);
    }
    assert!(topology.metrics(0).value("database_replica_waits_total", &[("outcome", "reached")]) >= 1.0);
    assert!(topology.metrics(0).value("database_reads_total", &[("reason", "own_writes")]) < 0.5);
}
