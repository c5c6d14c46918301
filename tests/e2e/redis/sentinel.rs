//! A group with sentinels: failovers are followed, whoever is killed or frozen.

use std::time::Duration;

use cirque_tests::chaos::Drowsy;
use cirque_tests::redis::{GROUP, Group};
use cirque_tests::throughout;

use super::{BOUND, COUNTED, is_up, readers, site, wait_until_up, within};
use crate::queue::Site;

/// A primary is missed after a second; the sentinels agree, promote and say so within two more.
const FAILOVER: Duration = Duration::from_secs(10);

fn settings(group: &Group) -> String {
    format!("{}{COUNTED}cache = {{ v2_list = '1s', stale_while_revalidate = '0s' }}\n", group.toml())
}

/// Kept answers and rates go through: the server at hand takes writes.
fn writes(site: &Site) -> bool {
    site.nodes.iter().all(|node| {
        let counted = || {
            let metrics = node.metrics();
            metrics.value("redis_commands_total", &[("use", "limits"), ("outcome", "ok")])
        };
        let before = counted();
        node.get("/api/v2/posts?limit=2").expect_status(200);
        is_up(node) && counted() > before
    })
}

// key: app.toml redis.master
#[test]
fn a_primary_that_is_killed_or_frozen_under_load_is_replaced_and_no_request_fails() {
    let mut group = Group::start();
    let site = site(2, &settings(&group));
    let readers = readers(&site, 2);
    let first = group.primary();
    group.servers[first].kill();
    within(BOUND, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    let killed = within(FAILOVER, "another one leads", || writes(&site));
    let second = group.primary();
    assert_ne!(first, second);
    // The one that was killed comes back as a replica.
    group.servers[first].restart();
    within(BOUND, "it follows", || {
        group.servers[first].ask(&["INFO", "replication"]).contains("master_link_status:up")
    });
    within(BOUND, "a sentinel would promote it", || {
        group.sentinels.iter().all(|each| {
            let said = each.ask(&["SENTINEL", "REPLICAS", GROUP]);
            said.contains("master-link-status\nok") && !said.contains("s_down")
        })
    });
    // Sentinels do not begin another failover within twice failover-timeout of the last one.
    group.servers[second].process.stop_signal();
    within(BOUND, "it is noticed", || site.nodes.iter().all(|node| !is_up(node)));
    let frozen = within(Duration::from_secs(20), "another one leads again", || writes(&site));
    group.servers[second].process.cont();
    // It believes that it leads until a sentinel tells it otherwise; nobody asks it meanwhile.
    throughout(
        "the node stays with the one that leads",
        Duration::from_secs(2),
        || writes(&site),
        |writes| *writes,
    );
    let seen = readers.end();
    seen.say(&format!("primary killed: {killed:?} without Redis; primary frozen: {frozen:?}"));
    seen.assert_none_failed("failovers");
}

#[test]
fn a_planned_failover_is_heard_of_and_followed_at_once() {
    let group = Group::start();
    let site = site(2, &settings(&group));
    let readers = readers(&site, 2);
    let first = group.primary();
    group.sentinels[0].ask(&["SENTINEL", "FAILOVER", GROUP]);
    within(BOUND, "another one leads", || group.primary() != first && group.servers[1 - first].leads());
    let took = within(Duration::from_secs(5), "the nodes write to it", || writes(&site));
    site.nodes[0].process.wait_for_line("sentinels name another redis server", BOUND);
    let seen = readers.end();
    seen.say(&format!("planned failover: followed {took:?} after it was done"));
    seen.assert_none_failed("a planned failover");
}

#[test]
fn sentinels_and_replicas_that_are_frozen_or_killed_matter_to_nobody_while_the_primary_is_well() {
    let mut group = Group::start();
    let site = site(1, &settings(&group));
    let replica = 1 - group.primary();
    group.servers[replica].process.stop_signal();
    throughout("Redis is up", Duration::from_secs(1), || is_up(&site.nodes[0]), |up| *up);
    group.servers[replica].kill();
    group.sentinels[0].process.stop_signal();
    group.sentinels[1].kill();
    throughout("Redis is up", Duration::from_secs(2), || is_up(&site.nodes[0]), |up| *up);
    // A node that begins now asks the one that is left.
    let node = cirque_tests::Node::builder().toml(&group.toml()).start();
    wait_until_up(&node);
    group.sentinels[0].process.cont();
}

#[test]
fn a_primary_that_is_slow_and_not_gone_is_not_waited_for_and_no_request_fails() {
    let group = Group::start();
    let site = site(1, &settings(&group));
    let readers = readers(&site, 3);
    // Too slow to be of use, too quick for the sentinels to replace it.
    let first = group.primary();
    let drowsy = Drowsy::make(group.servers[first].process.pid(), Duration::from_millis(90));
    let noticed = within(BOUND, "it is noticed", || !is_up(&site.nodes[0]));
    throughout("the site goes on", Duration::from_secs(1), || (), |()| true);
    drop(drowsy);
    let back = within(BOUND, "it is used again", || writes(&site));
    assert_eq!(group.primary(), first);
    let seen = readers.end();
    seen.say(&format!("a slow primary: noticed after {noticed:?}, back {back:?} after it was quick"));
    seen.assert_none_failed("a slow primary");
}

// key: app.toml redis.sentinel_username, redis.sentinel_password
#[test]
fn sentinels_that_ask_for_a_password_get_it() {
    let group = Group::with(
        "user scout on >s3cret-of-scouts allchannels +@all\nuser default on nopass allchannels -@all +ping",
    );
    let login = "redis = { sentinel_username = 'scout', sentinel_password = 's3cret-of-scouts' }\n";
    let node = cirque_tests::Node::builder().toml(&group.toml()).toml(login).start();
    wait_until_up(&node);
    let stranger = cirque_tests::Node::builder().toml(&group.toml()).start();
    stranger.process.wait_for_line(super::AWAY, BOUND);
    assert!(!is_up(&stranger));
}
