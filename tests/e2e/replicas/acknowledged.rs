//! What a client was told is written, is there, whatever happens to the primary.

use std::collections::BTreeSet;
use std::time::Duration;

use cirque_tests::postgres::psql;
use cirque_tests::{eventually, sql};
use tokio::time::Instant;

use super::{BOUND, Topology};
use crate::queue::publisher::Publisher;

#[expect(clippy::print_stderr, reason = "how long it took is worth knowing")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Waits for more posts; how long that took.
#[track_caller]
fn go_on(publisher: &Publisher) -> Duration {
    let (began, before) = (Instant::now(), publisher.count());
    eventually("posts are published", BOUND, || publisher.count(), |count| *count > before + 5);
    began.elapsed()
}

/// The primary waits for both replicas, as PostgreSQL lets it be told: else a promotion may lose what the last moment wrote.
#[test]
fn no_acknowledged_write_is_lost_when_the_primary_is_killed_frozen_or_replaced() {
    // The key of a request whose server was killed under it is free again after twice this time.
    let more = "server.max_execution_time = '3s'\n";
    let mut topology = Topology::with(2, "max_lag = '10s'\nsuccessors = [SUCCESSOR]", more);
    let primary = topology.primary.address();
    psql(primary, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '2 (*)'");
    psql(primary, "postgres", "SELECT pg_reload_conf()");
    let url = topology.primary.url();
    let shown = || sql::column(&url, "SHOW synchronous_standby_names");
    eventually("the primary waits for both", BOUND, shown, |shown| shown[0] == "2 (*)");
    let publisher = Publisher::start(&topology.site);
    go_on(&publisher);
    topology.primary.kill();
    topology.primary.revive();
    let killed = go_on(&publisher);
    topology.primary.freeze();
    topology.wait_until(0, "database_has_primary", &[], 0.0);
    topology.primary.thaw();
    let frozen = go_on(&publisher);
    topology.primary.kill();
    topology.replicas[0].promote();
    let replaced = go_on(&publisher);
    let acknowledged = publisher.end();
    let posts = "SELECT id FROM posts WHERE title LIKE 'Post number %' AND deleted_at IS NULL";
    let there: BTreeSet<String> = sql::column(&topology.replicas[0].url(), posts).into_iter().collect();
    let lost: Vec<&i64> = acknowledged.iter().filter(|id| !there.contains(&id.to_string())).collect();
    say(&format!(
        "{} posts were acknowledged, {} lost; six more were there after the primary was killed and back {killed:?}, frozen \
         and thawed {frozen:?}, killed and replaced {replaced:?}",
        acknowledged.len(),
        lost.len()
    ));
    assert!(lost.is_empty(), "{lost:?}");
    let different: BTreeSet<&i64> = acknowledged.iter().collect();
    assert_eq!(different.len(), acknowledged.len(), "each is a post of its own");
    // Each was asked for under one key until it was there: the last one may be there unheard of.
    assert!(there.len() <= acknowledged.len() + 1, "{} {}", there.len(), acknowledged.len());
}
