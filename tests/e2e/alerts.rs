//! Each problem is told once, by whichever process may tell it, and so is its end; driven by its real cause.

mod channels;
mod commands;
mod edges;
mod fleet;
mod nodes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cirque_tests::edge::Builder;
use cirque_tests::{Backend, Edge, Load, Node, Reply, eventually, postgres, throughout};
use serde_json::Value;
use tempfile::TempDir;

/// A token and its digest.
const TOKEN: (&str, &str) = ("look", "3c01eba119e00d79c82b6f65d70bc5f1044d568618bf41377e6d1432023fc2b8");

const SOON: Duration = Duration::from_secs(40);

/// The built-in rules with short times: the conditions are the same.
fn quick(folder: &TempDir) -> PathBuf {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring/alerts/rules.toml");
    let mut text = std::fs::read_to_string(rules).expect("the rules are in the repository");
    for (long, short) in [("hold = \"10s\"", "hold = \"1s\""), ("hold = \"5s\"", "hold = \"1s\"")] {
        text = text.replace(long, short);
    }
    for long in ["keep_firing = \"1m\"", "keep_firing = \"30s\""] {
        text = text.replace(long, "keep_firing = \"1s\"");
    }
    // A range of a minute is one of five seconds.
    text = text.replace("[1m]", "[5s]");
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, text).expect("the temporary directory is writable");
    path
}

/// `[alerts]` that tell Slack at this backend, quickly.
fn telling(hook: &Backend, rules: &Path) -> String {
    format!(
        "alerts = {{ interval = '1s', group_wait = '0s', line_wait = '3s', rules = '{}', \
         slack = {{ enabled = true, webhook_url = 'http://{}/slack' }} }}",
        rules.display(),
        hook.address()
    )
}

/// The first lines of what was told so far.
fn told(hook: &Backend) -> Vec<String> {
    let text = |body: &[u8]| serde_json::from_slice::<Value>(body).ok()?["text"].as_str().map(str::to_owned);
    hook.requests_to("/slack").iter().filter_map(|request| text(&request.body)).collect()
}

#[track_caller]
fn wait_for(hook: &Backend, expected: &[&str]) {
    eventually(&format!("told: {expected:?}"), SOON, || told(hook), |told| told.len() >= expected.len());
    assert_eq!(told(hook), expected);
}

/// How often this was told, as a first line.
fn count(hook: &Backend, title: &str) -> usize {
    told(hook).iter().filter(|text| text.ends_with(&format!("*{title}*"))).count()
}

#[track_caller]
fn nothing_else(hook: &Backend, n: usize, window: Duration) {
    throughout("nothing else is told", window, || told(hook), |told| told.len() == n);
}

const PROBE: &str = "upstreams.app.probe = { interval = '200ms', timeout = '200ms', fall = 1, rise = 1 }";

fn edge(alerts: &str, backends: &[&Backend]) -> Builder {
    let builder = backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
    builder.toml(alerts).toml(PROBE)
}

/// Two edges that know each other, configured with `toml`; how each is told of the other is `peers`.
fn two_edges(alerts: &str, backends: &[&Backend], toml: &str, peers: &str) -> Vec<Edge> {
    let builders = [0, 1].map(|place| edge(alerts, backends).toml(&format!("{toml}alerts.place = {place}")));
    let admins = [0, 1].map(|n| builders[n].admin());
    let told_of = |n: usize| format!("alerts.peers = ['{}']\n{peers}", admins[1 - n]);
    builders.into_iter().enumerate().map(|(n, builder)| builder.toml(&told_of(n)).start()).collect()
}

/// Three nodes of one PostgreSQL, called a, b and c.
struct Fleet {
    nodes: Vec<Node>,
    server: postgres::Server,
}

impl Fleet {
    fn start(alerts: &str, more: &str) -> Fleet {
        let server = postgres::Server::start(&[]);
        let url = server.url();
        let start = |name: &str| {
            Node::builder()
                .toml(alerts)
                .toml(&format!("server.node = '{name}'\ndatabase.url = '{url}'\ncache.max_size = 0"))
                .toml(more)
                .start()
        };
        let nodes = ["a", "b", "c"].map(start).into_iter().collect();
        let fleet = Fleet { nodes, server };
        fleet.leader();
        for node in &fleet.nodes {
            let seen = || node.metrics().value("alert_instances", &[]);
            eventually("the nodes know each other", SOON, seen, |seen| *seen >= 3.0);
        }
        fleet
    }

    /// The number of the node that tells, as soon as there is exactly one.
    #[track_caller]
    fn leader(&self) -> usize {
        let leads = |node: &Node| node.metrics().value("alert_leader", &[]) > 0.0;
        let leaders = || (0..self.nodes.len()).filter(|n| leads(&self.nodes[*n])).collect::<Vec<_>>();
        eventually("one node leads", SOON, leaders, |leaders| leaders.len() == 1)[0]
    }
}
