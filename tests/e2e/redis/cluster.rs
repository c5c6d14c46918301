//! A cluster of six: primaries are lost and frozen, slots move, and clients see nothing of it.

use std::time::Duration;

use cirque_tests::redis::Shards;
use cirque_tests::throughout;

use super::{COUNTED, is_up, readers, site, within};

/// A primary is missed after a second; its replica is elected and everybody told within some more.
const FAILOVER: Duration = Duration::from_secs(12);

fn settings(shards: &Shards) -> String {
    format!("{}{COUNTED}cache = {{ v2_list = '1s', stale_while_revalidate = '0s' }}\n", shards.toml())
}

#[test]
fn primaries_that_are_killed_or_frozen_under_load_are_replaced_and_no_request_fails() {
    let mut shards = Shards::start();
    let site = site(2, &settings(&shards));
    let readers = readers(&site, 2);
    throughout("it runs for a while", Duration::from_secs(1), || (), |()| true);
    let primaries = shards.primaries();
    assert_eq!(primaries.len(), 3);
    shards.servers[primaries[0]].kill();
    within(FAILOVER, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    let killed = within(FAILOVER, "its replica has its place", || site.nodes.iter().all(is_up));
    throughout("Redis is up", Duration::from_secs(1), || site.nodes.iter().all(is_up), |up| *up);
    shards.servers[primaries[1]].process.stop_signal();
    within(FAILOVER, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    let frozen = within(FAILOVER, "its replica has its place", || site.nodes.iter().all(is_up));
    shards.servers[primaries[1]].process.cont();
    throughout("Redis is up", Duration::from_secs(1), || site.nodes.iter().all(is_up), |up| *up);
    let seen = readers.end();
    seen.say(&format!("a primary killed: {killed:?} without Redis; one frozen: {frozen:?}"));
    seen.assert_none_failed("a cluster that loses primaries");
}

#[test]
fn slots_move_under_load_and_nothing_is_lost_by_it() {
    let shards = Shards::start();
    let site = site(2, &settings(&shards));
    let readers = readers(&site, 2);
    let primaries = shards.primaries();
    shards.reshard(primaries[0], primaries[1], 1500);
    throughout("Redis is up", Duration::from_secs(1), || site.nodes.iter().all(is_up), |up| *up);
    let seen = readers.end();
    seen.say("1,500 slots moved");
    seen.assert_none_failed("slots that move");
    for node in &site.nodes {
        let metrics = node.metrics();
        let commands = |outcome: &str| -> f64 {
            let of = |purpose: &&str| {
                metrics.value("redis_commands_total", &[("use", purpose), ("outcome", outcome)])
            };
            ["limits", "cache", "flight"].iter().map(of).sum()
        };
        let (fine, failed) = (commands("ok"), commands("failed") + commands("late") + commands("refused"));
        assert!(fine > 100.0 && failed < fine / 20.0, "{fine} fine, {failed} not");
    }
}
