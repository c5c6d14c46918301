//! Jobs across processes: nodes, workers and databases that are killed, frozen and started again.

mod fanout;
mod kills;
pub(crate) mod publisher;
mod workers;
mod zombie;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cirque_tests::node::{self, Node};
use cirque_tests::process::{Process, Stream};
use cirque_tests::{Request, eventually, sql};
use serde_json::{Value, json};

pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Nodes and workers over one database.
pub(crate) struct Site {
    pub(crate) url: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) token: String,
}

impl Site {
    /// `nodes` nodes over the database of `url` (SQLite where there is none), configured with `toml`.
    pub(crate) fn start(url: Option<&str>, nodes: usize, toml: &str) -> Site {
        let first = Node::builder().posts(3);
        let url =
            url.map_or_else(|| format!("sqlite:{}", first.folder().join("app.db").display()), str::to_owned);
        let toml = format!("database.url = '{url}'\nserver.public_url = 'https://api.example.com'\n{toml}");
        let mut running = vec![first.toml(&toml).start()];
        running.extend((1..nodes).map(|_| Node::builder().toml(&toml).start()));
        let mut site = Site { url, nodes: running, token: String::new() };
        let token = ["token", "create", "ada", "--ability", "posts:write", "--expires", "1d"];
        site.token = site.app(&token).trim().to_owned();
        site
    }

    pub(crate) fn file(&self, node: usize) -> PathBuf {
        self.nodes[node].folder().join("app.toml")
    }

    /// What `cirque app …` says.
    #[track_caller]
    pub(crate) fn app(&self, arguments: &[&str]) -> String {
        let mut process = app(arguments, &self.file(0));
        assert_eq!(process.expect_exit(BOUND), 0, "{:#?}", process.lines());
        process.text(Stream::Stdout)
    }

    /// A process that only works.
    pub(crate) fn worker(&self) -> Process {
        node::run(&["work".to_owned()], &self.file(0))
    }

    /// Starts a node again.
    pub(crate) fn revive(&mut self, node: usize) {
        let file = self.file(node);
        self.nodes[node].process = node::run(&["serve".to_owned()], &file);
    }

    /// Publishes a post through a node; its id, or nothing when the node did not answer.
    pub(crate) fn publish(&self, node: usize, title: &str) -> Option<(i64, String)> {
        publish(self.nodes[node].address(), &self.token, title)
    }

    #[track_caller]
    pub(crate) fn number(&self, sql: &str) -> i64 {
        sql::number(&self.url, sql)
    }

    /// Waits until nothing waits and nothing runs.
    #[track_caller]
    pub(crate) fn wait_until_all_is_done(&self, bound: Duration) {
        let open = || {
            sql::column(
                &self.url,
                "SELECT id || ' ' || kind || ' ' || state || ' ' || errors FROM jobs WHERE state IN ('waiting', 'running')",
            )
        };
        eventually("every job is over", bound, open, Vec::is_empty);
    }
}

/// Runs `cirque app GROUP COMMAND …` with a configuration.
pub(crate) fn app(arguments: &[&str], file: &Path) -> Process {
    let (words, rest) = arguments.split_at(2);
    let file = file.display().to_string();
    let mut all = vec!["app"];
    all.extend(words);
    all.extend(["-c", &file]);
    all.extend(rest);
    Process::cirque(&format!("app {}", words.join(" ")), &all)
}

pub(crate) fn publish(address: std::net::SocketAddr, token: &str, title: &str) -> Option<(i64, String)> {
    let json = json!({ "title": title, "content": "<p>Words</p>", "category_id": 1, "status": "published" });
    let request = Request::post("/api/v1/posts", json.to_string())
        .header("content-type", "application/json")
        .header("idempotency-key", &title.replace(' ', "-"))
        .header("authorization", &format!("Bearer {token}"));
    let answer =
        cirque_tests::Client::to(address).timeout(Duration::from_secs(10)).try_send(&request).ok()?;
    (answer.status == 201).then(|| {
        let data = &answer.json()["data"];
        (data["id"].as_i64().expect("it has an id"), data["slug"].as_str().expect("it has a slug").to_owned())
    })
}

#[test]
fn jobs_are_seen_and_steered_from_the_command_line() {
    let site = Site::start(None, 1, "queue.workers = 0\n");
    site.publish(0, "News").expect("it is published");
    let listed: Vec<Value> = site
        .app(&["queue", "list", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = listed.iter().rev().map(|job| job["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["update_sitemap", "clear_post_cache", "notify_subscribers", "call_webhooks"]);
    let stats: Value =
        serde_json::from_str(site.app(&["queue", "stats", "--json"]).lines().next().unwrap()).unwrap();
    assert_eq!((&stats["queue"], &stats["pending"]), (&json!("default"), &json!(4)));
    let id = listed[0]["id"].to_string();
    assert!(site.app(&["queue", "show", &id]).contains("call_webhooks"));
    assert_eq!(site.app(&["queue", "discard", &id]), format!("job {id} is discarded"));
    let mut again = app(&["queue", "discard", &id], &site.file(0));
    assert_eq!(again.expect_exit(BOUND), 1);
    assert!(again.text(Stream::Stderr).contains("is discarded: that cannot be done with it"));
    let mut all = app(&["queue", "retry"], &site.file(0));
    assert_eq!(all.expect_exit(BOUND), 1, "a retry of everything must be asked for in words");
    site.app(&["queue", "pause", "default"]);
    assert!(site.app(&["queue", "stats"]).contains("paused since"));
    // The gauges are the same on a node that does not work itself.
    let health = || site.nodes[0].get("/api/health").json()["services"]["queue_size"].as_i64();
    assert_eq!(health(), Some(3));
    let pending = || site.nodes[0].metrics().value("queue_jobs_pending", &[("queue", "default")]);
    eventually("the gauge follows", BOUND, pending, |pending| (pending - 3.0).abs() < 0.5);
    let worker = site.worker();
    worker.wait_for_line("worker has started", BOUND);
    site.app(&["queue", "drain", "default", "--wait", "5s"]);
    site.app(&["queue", "retry", &id]);
    site.app(&["queue", "resume", "default"]);
    site.wait_until_all_is_done(BOUND);
    assert_eq!(
        site.number("SELECT count(*) FROM jobs WHERE state = 'done' AND kind <> 'publish_scheduled'"),
        4
    );
}
