//! A cluster of six: primaries are lost and frozen, slots move, and clients see nothing of it.

use std::time::Duration;

use cirque_tests::chaos::Drowsy;
use cirque_tests::redis::Shards;
use cirque_tests::{Request, throughout};

use super::{AWAY, BOUND, COUNTED, is_up, readers, said, site, within};
use crate::queue::Site;

/// A primary is missed after a second; its replica is elected and everybody told within some more.
const FAILOVER: Duration = Duration::from_secs(12);

fn settings(shards: &Shards) -> String {
    format!("{}{COUNTED}cache = {{ v2_list = '1s', stale_while_revalidate = '0s' }}\n", shards.toml())
}

/// It is well, and stays so.
#[track_caller]
fn settles(site: &Site) {
    let are_up = || site.nodes.iter().all(is_up);
    within(BOUND, "Redis is up", are_up);
    throughout("Redis stays up", Duration::from_secs(1), are_up, |are_up| *are_up);
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
    settles(&site);
    shards.servers[primaries[1]].process.stop_signal();
    within(FAILOVER, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    let frozen = within(FAILOVER, "its replica has its place", || site.nodes.iter().all(is_up));
    shards.servers[primaries[1]].process.cont();
    settles(&site);
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
    settles(&site);
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

/// While a slot is handed over, its server sends those who ask for a key that went on (`ASK`); afterwards it sends all
/// (`MOVED`). A rate that is counted there is neither lost nor begun anew.
#[test]
fn a_key_whose_slot_is_being_handed_over_is_found_where_it_is() {
    let shards = Shards::start();
    let limits = "limits = { public = '60/10m', exempt = [] }\n";
    let site = site(1, &format!("{}{limits}", shards.toml()));
    let node = &site.nodes[0];
    let left = |address: &str| -> i64 {
        let request = Request::get("/api/v2/posts?limit=2").header("x-forwarded-for", address);
        let answer = node.client().send(&request);
        let left = answer.expect_status(200).header("x-ratelimit-remaining").map(str::to_owned);
        left.and_then(|left| left.parse().ok()).expect("it says what is left")
    };
    assert_eq!(left("198.51.100.7"), 59);
    let rate = |index: &usize| shards.servers[*index].ask(&["--scan", "--pattern", "cirque:rate:*"]);
    let primaries = shards.primaries();
    let from = *primaries.iter().find(|index| !rate(index).is_empty()).expect("somebody counts");
    let to = *primaries.iter().find(|index| **index != from).expect("there are three");
    let (key, [source, target]) = (rate(&from), [from, to].map(|index| &shards.servers[index]));
    let (slot, port) = (source.ask(&["CLUSTER", "KEYSLOT", &key]), target.address().port().to_string());
    let ids = [source, target].map(|server| server.ask(&["CLUSTER", "MYID"]));
    target.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]);
    source.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]);
    assert_eq!(left("198.51.100.7"), 58, "the key is still there");
    source.ask(&["MIGRATE", "127.0.0.1", &port, &key, "0", "1000"]);
    assert!(source.try_ask(&["GET", &key]).is_err_and(|error| error.contains("ASK ")));
    for wanted in (48..=57).rev() {
        assert_eq!(left("198.51.100.7"), wanted, "between two servers");
    }
    for server in [target, source] {
        server.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]]);
    }
    assert!(source.try_ask(&["GET", &key]).is_err_and(|error| error.contains("MOVED ")));
    for wanted in (38..=47).rev() {
        assert_eq!(left("198.51.100.7"), wanted, "at another server");
    }
    let metrics = node.metrics();
    let failed = |outcome| metrics.value("redis_commands_total", &[("use", "limits"), ("outcome", outcome)]);
    assert!(failed("failed") + failed("refused") + failed("late") < 0.5);
    assert_eq!(said(&node.process, AWAY), 0);
}

#[test]
fn replicas_of_a_cluster_matter_to_nobody_and_a_primary_that_is_slow_is_not_waited_for() {
    let mut shards = Shards::start();
    let site = site(1, &settings(&shards));
    let readers = readers(&site, 3);
    let primaries = shards.primaries();
    let replicas: Vec<usize> = (0..6).filter(|index| !primaries.contains(index)).collect();
    shards.servers[replicas[0]].kill();
    shards.servers[replicas[1]].process.stop_signal();
    settles(&site);
    shards.servers[replicas[1]].process.cont();
    let drowsy = Drowsy::make(shards.servers[primaries[2]].process.pid(), Duration::from_millis(200));
    let noticed = within(BOUND, "it is noticed", || !is_up(&site.nodes[0]));
    throughout("the site goes on", Duration::from_secs(1), || (), |()| true);
    drop(drowsy);
    let back = within(BOUND, "it is used again", || is_up(&site.nodes[0]));
    let seen = readers.end();
    seen.say(&format!(
        "replicas gone, then a slow primary: noticed after {noticed:?}, back {back:?} after it was quick"
    ));
    seen.assert_none_failed("a slow primary");
}
