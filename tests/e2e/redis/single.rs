//! One server that is well: what the nodes share.

use std::time::Duration;

use cirque_tests::node::Node;
use cirque_tests::redis::{Server, toml};
use cirque_tests::{Client, Request, eventually};

use super::{BOUND, COUNTED, site, wait_until_up, within};
use crate::queue::Site;

const LIST: &str = "/api/v2/posts?limit=3";

fn reads(node: &Node) -> f64 {
    node.metrics().value("database_statements_total", &[("intent", "read")])
}

fn title_shown(node: &Node, slug: &str) -> String {
    let answer = node.get(&format!("/api/v2/posts/{slug}"));
    answer.expect_status(200).json()["data"]["title"].as_str().unwrap_or_default().to_owned()
}

// key: app.toml redis.servers, redis.mode, redis.prefix
#[test]
fn what_one_node_made_the_others_take_from_redis() {
    let server = Server::start(&[]);
    let settings =
        format!("redis = {{ mode = 'single', prefix = 'blue', servers = ['{}'] }}\n", server.address());
    let site = site(2, &settings);
    let made = site.nodes[0].get(LIST);
    assert_eq!(made.header("x-cache"), Some("MISS"));
    let stored = || site.nodes[0].metrics().value("cache_shared_total", &[("result", "kept")]);
    eventually("it is kept", BOUND, stored, |kept| *kept > 0.5);
    let before = reads(&site.nodes[1]);
    let taken = site.nodes[1].get(LIST);
    assert_eq!((taken.header("x-cache"), taken.header("etag")), (Some("HIT"), made.header("etag")));
    assert_eq!(taken.text(), made.text());
    assert!(reads(&site.nodes[1]) < before + 0.5, "the database was not asked");
    let keys = server.ask(&["KEYS", "*"]);
    assert!(!keys.is_empty() && keys.lines().all(|key| key.starts_with("blue:")), "{keys}");
    for key in keys.lines() {
        let left: i64 = server.ask(&["PTTL", key]).parse().expect("a number");
        assert!(left > 0, "{key} has an expiry");
    }
}

#[test]
fn a_change_ends_what_is_kept_and_a_late_writer_cannot_bring_it_back() {
    let server = Server::start(&[]);
    let mut site = site(2, &toml(server.address()));
    let (id, slug) = site.publish(0, "First words").expect("it is published");
    eventually("it is shown", BOUND, || title_shown(&site.nodes[1], &slug), |title| title == "First words");
    let path = format!("/api/v2/posts/{slug}");
    eventually(
        "it is kept",
        BOUND,
        || site.nodes[0].get(&path).header("x-cache").map(str::to_owned),
        |word| word.as_deref() == Some("HIT"),
    );
    let old: Vec<String> = server.ask(&["KEYS", "*:answer:*"]).lines().map(str::to_owned).collect();
    assert!(!old.is_empty());
    for key in &old {
        server.ask(&["COPY", key, &format!("late:{key}")]);
    }
    let change = Request::new("PATCH", &format!("/api/v1/posts/{id}"))
        .header("content-type", "application/json")
        .header("authorization", &format!("Bearer {}", site.token))
        .body(r#"{"title":"Other words"}"#);
    site.nodes[0].client().send(&change).expect_status(200);
    assert_eq!(title_shown(&site.nodes[0], &slug), "Other words", "at once, for whoever wrote");
    let took = within(Duration::from_millis(1500), "for all within a second", || {
        title_shown(&site.nodes[1], &slug) == "Other words"
    });
    assert!(took < Duration::from_millis(1200), "{took:?}");
    // A writer that was slow: what it read is from before the change.
    for key in &old {
        server.ask(&["COPY", &format!("late:{key}"), key, "REPLACE"]);
    }
    site.nodes[1].process.kill();
    site.nodes[1].process.wait_exit(BOUND);
    site.revive(1);
    eventually(
        "it runs again",
        BOUND,
        || Client::to(site.nodes[1].address()).try_send(&Request::get("/readyz")).is_ok(),
        |ready| *ready,
    );
    wait_until_up(&site.nodes[1]);
    assert_eq!(
        title_shown(&site.nodes[1], &slug),
        "Other words",
        "a node that remembers nothing is not fooled"
    );
}

#[test]
fn nodes_that_miss_the_same_answers_at_once_make_each_of_them_once() {
    const NODES: usize = 3;
    const ANSWERS: usize = 40;
    let server = Server::start(&[]);
    let site = site(NODES, &toml(server.address()));
    for answer in 0..ANSWERS {
        let path = format!("/api/v2/posts?limit={}", answer + 1);
        std::thread::scope(|scope| {
            for reader in 0..NODES * 4 {
                let address = site.nodes[reader % NODES].address();
                let path = &path;
                scope.spawn(move || Client::to(address).get(path).expect_status(200).status);
            }
        });
    }
    let sum = |result: &str| -> f64 {
        let of = |node: &Node| node.metrics().value("cache_shared_total", &[("result", result)]);
        site.nodes.iter().map(of).sum()
    };
    eventually("each is kept", BOUND, || sum("kept"), |kept| *kept >= ANSWERS as f64 - 0.5);
    let [kept, waited, impatient] = ["kept", "waited", "impatient"].map(sum);
    let statements: f64 = site.nodes.iter().map(reads).sum();
    let text = format!(
        "{NODES} nodes, {ANSWERS} answers, {} requests: made {kept}, waited for {waited}, impatient {impatient}, statements {statements}",
        ANSWERS * NODES * 4
    );
    say(&text);
    assert!(kept < ANSWERS as f64 + 0.5, "{text}");
    assert!(impatient < 0.5, "{text}");
}

#[expect(clippy::print_stderr, reason = "figures are what these tests are for")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[test]
fn a_rate_holds_for_all_nodes_together_and_for_each_alone_when_redis_is_gone() {
    let mut server = Server::start(&[]);
    let limits = "limits = { public = '30/10m', exempt = [] }\n";
    let site = site(3, &format!("{}{limits}", toml(server.address())));
    let ask = |turn: usize, from: &str| {
        let request = Request::get(LIST).header("x-forwarded-for", from);
        site.nodes[turn % 3].client().send(&request)
    };
    let answered = (0..60).filter(|turn| ask(*turn, "198.51.100.7").status == 200).count();
    assert!((30..=32).contains(&answered), "{answered} of 60 were answered");
    let told = ask(1, "198.51.100.8");
    assert_eq!(
        (told.header("x-ratelimit-limit"), told.header("x-ratelimit-remaining")),
        (Some("30"), Some("29"))
    );
    assert_eq!(ask(2, "198.51.100.8").header("x-ratelimit-remaining"), Some("28"));
    server.kill();
    let statuses: Vec<u16> = (0..180).map(|turn| ask(turn, "198.51.100.9").status).collect();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!((30..=93).contains(&answered), "{answered}: each of three nodes counts to thirty");
    assert_eq!(ask(0, "198.51.100.7").status, 429, "what was known before is not forgotten");
}

#[test]
fn a_job_that_one_node_writes_another_begins_at_once() {
    let server = Server::start(&[]);
    let first = Node::builder().posts(3);
    let url = format!("sqlite:{}", first.folder().join("app.db").display());
    let common = format!(
        "{}database.url = '{url}'\nserver.public_url = 'https://api.example.com'\n",
        toml(server.address())
    );
    let writer = first.toml(&format!("{common}queue = {{ workers = 0, poll = '1m' }}\n")).start();
    let worker = Node::builder().toml(&format!("{common}queue = {{ workers = 4, poll = '1m' }}\n")).start();
    let mut site = Site { url, nodes: vec![writer, worker], token: String::new() };
    let token = ["token", "create", "ada", "--ability", "posts:write", "--expires", "1d"];
    site.token = site.app(&token).trim().to_owned();
    site.nodes.iter().for_each(wait_until_up);
    // The one who listens has looked once when it began to.
    site.wait_until_all_is_done(BOUND);
    let (id, _) = site.publish(0, "To be told").expect("it is published");
    let done = format!(
        "SELECT count(*) FROM jobs WHERE kind = 'clear_post_cache' AND state = 'done' AND payload LIKE '%{id}%'"
    );
    let took = within(BOUND, "it is done long before anybody would ask", || site.number(&done) > 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_redis_that_may_fill_up_is_warned_of() {
    for (settings, expected) in [
        (&["--maxmemory", "0"][..], Some("has no limit of memory")),
        (&["--maxmemory", "64mb", "--maxmemory-policy", "noeviction"][..], Some("refuses writes")),
        (&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"][..], None),
    ] {
        let server = Server::start(settings);
        let node = Node::builder().toml(&toml(server.address())).start();
        wait_until_up(&node);
        match expected {
            Some(words) => {
                node.process.wait_for_line(words, BOUND);
            }
            None => assert_eq!(super::said(&node.process, "redis may run out of memory"), 0),
        }
    }
}

/// Refused writes are no reason to go without: what is there is still read.
#[test]
fn a_redis_that_is_full_costs_nothing_but_its_use() {
    let server = Server::start(&["--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"]);
    let site = site(1, &format!("{}{COUNTED}", toml(server.address())));
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    for limit in 1..30 {
        site.nodes[0].get(&format!("/api/v2/posts?limit={limit}")).expect_status(200);
    }
    let refused =
        site.nodes[0].metrics().value("redis_commands_total", &[("use", "limits"), ("outcome", "refused")]);
    assert!(refused > 10.0, "{refused}");
    assert!(super::is_up(&site.nodes[0]));
}
