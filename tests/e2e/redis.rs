//! Redis of every layout, killed, frozen, slowed and moved under load: what clients, metrics and logs say.

mod cluster;
mod secured;
mod sentinel;
mod single;
mod trouble;

use std::time::Duration;

use cirque_tests::node::Node;
use cirque_tests::process::Process;
use cirque_tests::{Readers, eventually};
use tokio::time::Instant;

use crate::queue::Site;

pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Every request is counted, against a rate that nobody reaches: so each asks Redis.
const COUNTED: &str = "limits = { public = '1000000/1m', exempt = [] }\n";

/// `nodes` nodes over one database that share this Redis, once they do.
fn site(nodes: usize, toml: &str) -> Site {
    let site = Site::start(None, nodes, toml);
    site.nodes.iter().for_each(wait_until_up);
    site
}

#[track_caller]
fn wait_until_up(node: &Node) {
    within(BOUND, "Redis is up for the node", || is_up(node));
}

fn is_up(node: &Node) -> bool {
    node.metrics().value("redis_up", &[]) > 0.5
}

/// Waits until it holds, and says how long that took.
#[track_caller]
fn within(bound: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    eventually(what, bound, &mut holds, |holds| *holds);
    began.elapsed()
}

/// How often a line with this message is in the log.
fn said(process: &Process, message: &str) -> usize {
    process
        .json_lines()
        .iter()
        .filter(|line| line["message"] == message || line["fields"]["message"] == message)
        .count()
}

const AWAY: &str = "redis is of no use, the node goes on without it";
const BACK: &str = "redis is up again";

/// Readers of all nodes, so many of each.
fn readers(site: &Site, each: usize) -> Readers {
    let addresses: Vec<_> = site.nodes.iter().map(Node::address).collect();
    Readers::start(&addresses, each)
}
