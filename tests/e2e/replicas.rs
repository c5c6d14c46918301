//! Read replicas under three nodes: killed, frozen, held back, promoted; what was written is never read old.

mod acknowledged;
mod consistency;
mod delayed;
mod gone;
mod lagging;
mod mistakes;
mod promoted;

use std::time::Duration;

use cirque_tests::postgres::Server;
use cirque_tests::{Client, Request, Response, Scrape, eventually};
use serde_json::json;

use crate::queue::Site;

const BOUND: Duration = Duration::from_secs(30);
/// What is acknowledged must be in the log that replicas get.
const PRIMARY: &[&str] = &["synchronous_commit=on"];

/// Nodes over a primary and two replicas. The nodes end before what they depend on.
pub(crate) struct Topology {
    site: Site,
    /// The API token of somebody who only reads.
    reader: String,
    primary: Server,
    replicas: Vec<Server>,
}

impl Topology {
    /// `nodes` nodes, whose `[database]` has these keys too.
    #[track_caller]
    fn start(nodes: usize, keys: &str) -> Topology {
        Topology::with(nodes, keys, "")
    }

    /// The same, with more of the configuration.
    #[track_caller]
    fn with(nodes: usize, keys: &str, more: &str) -> Topology {
        let primary = Server::start(PRIMARY);
        let replicas = vec![primary.replica(), primary.replica()];
        let urls: Vec<String> = replicas.iter().map(|replica| format!("'{}'", replica.url())).collect();
        let urls = urls.join(", ");
        let keys: String = keys.lines().map(|key| format!("database.{key}\n")).collect();
        let toml = format!("queue.workers = 1\ndatabase.replicas = [{urls}]\n{keys}{more}");
        let toml = toml.replace("SUCCESSOR", &format!("'{}'", replicas[0].url()));
        let site = Site::start(Some(&primary.url()), nodes, &toml);
        let token = ["token", "create", "bruno", "--ability", "posts:read", "--expires", "1d"];
        let reader = site.app(&token).trim().to_owned();
        let topology = Topology { site, reader, primary, replicas };
        for replica in &topology.replicas {
            replica.wait_for(&topology.primary);
        }
        for node in 0..nodes {
            topology.wait_until(node, "database_replica_state", &[("state", "admitted")], 2.0);
        }
        topology
    }

    fn client(&self, node: usize) -> Client {
        self.site.nodes[node].client().timeout(Duration::from_secs(10))
    }

    fn metrics(&self, node: usize) -> Scrape {
        self.site.nodes[node].metrics()
    }

    #[track_caller]
    fn wait_until(&self, node: usize, name: &str, labels: &[(&str, &str)], expected: f64) {
        let what = format!("{name}{labels:?} is {expected}");
        eventually(
            &what,
            BOUND,
            || self.metrics(node).value(name, labels),
            |found| (found - expected).abs() < 0.5,
        );
    }

    /// The name that a server has in metrics and logs.
    fn name(server: &Server) -> String {
        server.address().to_string()
    }

    /// Waits until a replica is in this state for a node.
    #[track_caller]
    fn wait_for_state(&self, node: usize, server: &Server, state: &str) {
        let name = Topology::name(server);
        self.wait_until(node, "database_replica_state", &[("server", &name), ("state", state)], 1.0);
    }

    /// A new post's id and slug, once all replicas have it.
    #[track_caller]
    fn post(&self, title: &str) -> (i64, String) {
        let post = self.site.publish(0, title).expect("the post is published");
        self.replicas.iter().for_each(|replica| replica.wait_for(&self.primary));
        post
    }

    /// A change of a post's title.
    fn rename(&self, id: i64, title: &str) -> Request {
        Request::new("PATCH", &format!("/api/v1/posts/{id}"))
            .header("authorization", &format!("Bearer {}", self.site.token))
            .header("content-type", "application/json")
            .body(json!({ "title": title }).to_string())
    }

    /// A read that no cache answers, by somebody who writes nothing.
    fn read(&self, target: &str) -> Request {
        Request::get(target).header("authorization", &format!("Bearer {}", self.reader))
    }

    /// The lines of a node's log that say this of a server.
    fn lines(&self, node: usize, what: &str, server: &Server) -> Vec<String> {
        let name = Topology::name(server);
        let lines = self.site.nodes[node].process.json_lines();
        let text = lines.iter().map(ToString::to_string);
        text.filter(|line| line.contains(what) && line.contains(&name)).collect()
    }
}

fn title(response: &Response) -> String {
    response.json()["data"]["title"].as_str().unwrap_or_default().to_owned()
}
