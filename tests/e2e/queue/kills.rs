//! Nodes, workers, Redis and database are killed or frozen at random while posts are published; in the end nothing is lost.
//!
//! `CIRQUE_KILL_SECONDS` says how long each run lasts (20 when left out), `CIRQUE_KILL_SEED` repeats the choices of one
//! that failed; what the machine makes of them may differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cirque_tests::backend::{Backend, Reply};
use cirque_tests::mailbox::Mailbox;
use cirque_tests::postgres::Server;
use cirque_tests::process::{Process, Signal};
use cirque_tests::{eventually, redis, sql};
use tokio::time::Instant;

use super::publisher::Publisher;
use super::{BOUND, Site};

const NODES: usize = 2;
const READERS: usize = 3;
/// What is committed must outlive the server's processes.
const DURABLE: &[&str] = &["synchronous_commit=on"];

/// A small generator: the choices of a run follow from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[expect(clippy::print_stderr, reason = "without its seed a failure cannot be repeated")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[test]
fn whatever_is_killed_over_sqlite_every_event_has_its_effects() {
    killed(None);
}

#[test]
fn whatever_is_killed_over_postgresql_the_server_too_every_event_has_its_effects() {
    killed(Some(Server::start(DURABLE)));
}

fn killed(mut server: Option<Server>) {
    let seed = from_environment("CIRQUE_KILL_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()))
    });
    let lasting = Duration::from_secs(from_environment("CIRQUE_KILL_SECONDS").unwrap_or(20));
    say(&format!("killing for {lasting:?}; repeat with CIRQUE_KILL_SEED={seed}"));
    let mailbox = Mailbox::of_ids();
    let calls = Arc::new(AtomicUsize::new(0));
    let receiver = Backend::start();
    let counted = Arc::clone(&calls);
    // Each seventh call is refused, as in life.
    receiver.script(move |_| {
        Reply::status(if counted.fetch_add(1, Ordering::SeqCst) % 7 == 6 { 503 } else { 204 })
    });
    let mut help = redis::Server::start(&[]);
    // The key of a request whose node was killed is free again after twice the time that a request may take.
    let toml = format!(
        "queue = {{ workers = 4, lease = '1s', poll = '100ms' }}\nmail.smtp = '{}'\nwebhooks = {{ allow = ['127.0.0.0/8'], \
         failures = 1000 }}\nanalytics.flush = '300ms'\ndatabase.acquire_timeout = '2s'\n\
         server.max_execution_time = '8s'\n{}",
        mailbox.url(),
        redis::toml(help.address())
    );
    let mut site = Site::start(server.as_ref().map(Server::url).as_deref(), NODES, &toml);
    site.app(&["webhook", "add", &format!("http://{}/hook", receiver.address())]);
    for reader in 0..READERS {
        let insert = "INSERT INTO subscribers (email, status, requested_at, created_at) VALUES";
        sql::column(&site.url, &format!("{insert} ('reader{reader}@example.com', 'confirmed', 0, 0)"));
    }
    let mut worker = site.worker();
    let publisher = Publisher::start(&site);
    let mut random = Random(seed);
    let until = Instant::now() + lasting;
    let mut kills = 0;
    while Instant::now() < until {
        let before = publisher.count();
        eventually("posts are published meanwhile", BOUND, || publisher.count(), |count| *count > before + 2);
        break_something(&mut site, &mut worker, server.as_mut(), &mut help, &mut random);
        kills += 1;
    }
    for node in 0..NODES {
        if !site.nodes[node].process.is_running() {
            site.revive(node);
        }
    }
    let before = publisher.count();
    eventually("posts are published again", BOUND, || publisher.count(), |count| *count > before + 2);
    let published = publisher.end();
    site.wait_until_all_is_done(Duration::from_secs(150));
    // What a node has counted and not written is written in a moment.
    let viewed = || site.number("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'running')");
    cirque_tests::throughout("nothing new comes", Duration::from_secs(1), viewed, |open| *open < 10);
    site.wait_until_all_is_done(BOUND);
    check(&site, &published, &mailbox, &receiver);
    say(&format!("{kills} kills, {} posts", published.len()));
}

fn break_something(
    site: &mut Site,
    worker: &mut Process,
    server: Option<&mut Server>,
    help: &mut redis::Server,
    random: &mut Random,
) {
    let nap = Duration::from_millis(300 + random.below(2500));
    let node = usize::try_from(random.below(NODES as u64)).expect("it is small");
    match random.below(16) {
        0..=3 => {
            site.nodes[node].process.kill();
            site.nodes[node].process.wait_exit(BOUND);
            site.revive(node);
        }
        4..=5 => {
            worker.kill();
            worker.wait_exit(BOUND);
            *worker = site.worker();
        }
        6..=7 => {
            // Past its lease, or not.
            worker.stop_signal();
            doze("the worker", nap);
            worker.cont();
        }
        // Redis is started again empty, sleeps, or forgets.
        8 => help.restart(),
        9 => {
            help.process.stop_signal();
            doze("Redis", nap);
            help.process.cont();
        }
        10 => {
            help.ask(&["FLUSHALL"]);
        }
        11..=12 => {
            site.nodes[node].process.stop_signal();
            doze("a node", nap);
            site.nodes[node].process.cont();
        }
        what => match (server, what) {
            // It stops at once and tells its clients, is gone with all its processes, or says nothing for a while.
            (Some(server), 13) => {
                server.process.signal(Signal::QUIT);
                server.process.wait_exit(BOUND);
                server.restart(DURABLE);
            }
            (Some(server), 14) => {
                server.kill();
                server.revive();
            }
            (Some(server), _) => {
                server.freeze();
                doze("the database", nap);
                server.thaw();
            }
            (None, _) => {
                worker.kill();
                worker.wait_exit(BOUND);
                *worker = site.worker();
            }
        },
    }
}

fn doze(who: &str, nap: Duration) {
    cirque_tests::throughout(&format!("{who} sleeps"), nap, || (), |()| true);
}

/// Each effect that the database keeps came once, each outside of it at least once and with one name.
fn check(site: &Site, published: &[i64], mailbox: &Mailbox, receiver: &Backend) {
    let stuck = sql::column(
        &site.url,
        "SELECT id || ' ' || kind || ' ' || state || ' ' || errors FROM jobs WHERE state <> 'done' AND kind <> 'publish_scheduled'",
    );
    assert!(stuck.is_empty(), "{stuck:#?}");
    let events = site.number("SELECT count(*) FROM events WHERE name = 'post.published'");
    let posts = site.number("SELECT count(*) FROM posts WHERE title LIKE 'Post number %'");
    // The last one may have been written without its publisher hearing of it.
    assert!(
        posts >= published.len() as i64 && posts <= published.len() as i64 + 1,
        "{posts} {}",
        published.len()
    );
    assert_eq!(events, posts, "one event for each post");
    assert_eq!(site.number("SELECT count(*) FROM notified_posts"), posts, "each was announced");
    for (kind, expected) in
        [("call_webhooks", posts), ("notify_subscribers", posts), ("clear_post_cache", posts)]
    {
        assert_eq!(
            site.number(&format!("SELECT count(*) FROM jobs WHERE kind = '{kind}'")),
            expected,
            "{kind}"
        );
    }
    let per_reader = posts * READERS as i64;
    assert_eq!(site.number("SELECT count(*) FROM jobs WHERE kind = 'mail_subscriber'"), per_reader);
    assert_eq!(site.number("SELECT count(*) FROM jobs WHERE kind = 'call_webhook'"), posts);
    let mut mails: BTreeMap<String, usize> = BTreeMap::new();
    mailbox.ids().into_iter().for_each(|id| *mails.entry(id).or_default() += 1);
    assert_eq!(mails.len() as i64, per_reader, "everybody was written to");
    let mut called: BTreeMap<String, usize> = BTreeMap::new();
    for call in receiver.requests_to("/hook") {
        *called.entry(call.header("webhook-id").unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert_eq!(called.len() as i64, posts, "each event was told");
    let added = if site.url.starts_with("sqlite:") {
        "SELECT coalesce(sum(json_extract(c.value, '$[2]')), 0) FROM events, json_each(payload, '$.counts') AS c \
         WHERE name = 'post.viewed'"
    } else {
        "SELECT coalesce(sum((c ->> 2)::bigint), 0) FROM events, jsonb_array_elements(payload::jsonb -> 'counts') AS c \
         WHERE name = 'post.viewed'"
    };
    let views = "SELECT coalesce(sum(view_count), 0) FROM posts WHERE title LIKE 'Post number %'";
    assert_eq!(site.number(views), site.number(added), "each view that was written is counted once");
    let twice = |seen: &BTreeMap<String, usize>| seen.values().map(|times| times - 1).sum::<usize>();
    say(&format!(
        "came again: {} of {} mails, {} of {} calls",
        twice(&mails),
        mails.len(),
        twice(&called),
        called.len()
    ));
}
