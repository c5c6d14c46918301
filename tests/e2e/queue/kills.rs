//! Nodes, workers, Redis and database are killed or frozen at random while posts are published; in the end nothing is lost.
//!
//! `CIRQUE_KILL_SECONDS` says how long each run lasts (20 when left out), `CIRQUE_KILL_SEED` repeats the choices of one
//! that failed; what the machine makes of them may differ.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cirque_tests::backend::{Backend, Reply};
use cirque_tests::mailbox::Mailbox;
use cirque_tests::postgres::Server;
use cirque_tests::process::{Process, Signal};
use cirque_tests::{Client, Request, eventually, redis, sql};
use tokio::time::Instant;

use super::{BOUND, Site, publish};

const NODES: usize = 2;
const READERS: usize = 3;
/// What is committed must outlive the server's processes.
const DURABLE: &[&str] = &["synchronous_commit=on"];
const READER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

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

/// Publishes posts one after the other, each again until it is there, and looks at each once.
struct Publisher {
    stop: Arc<AtomicBool>,
    published: Arc<Mutex<Vec<i64>>>,
    count: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Publisher {
    fn start(site: &Site) -> Publisher {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let count = Arc::new(AtomicUsize::new(0));
        let addresses: Vec<_> = site.nodes.iter().map(cirque_tests::node::Node::address).collect();
        let token = site.token.clone();
        let (ending, known, counted) = (Arc::clone(&stop), Arc::clone(&published), Arc::clone(&count));
        let thread = thread::spawn(move || {
            let (mut number, mut turn) = (0, 0);
            while !ending.load(Ordering::SeqCst) {
                turn += 1;
                let address = addresses[turn % addresses.len()];
                // A title is a key: asked twice for one, a node writes one post.
                let Some((id, slug)) = publish(address, &token, &format!("Post number {number}")) else {
                    continue;
                };
                number += 1;
                known.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                counted.fetch_add(1, Ordering::SeqCst);
                let view = Request::get(&format!("/api/v2/posts/{slug}")).header("user-agent", READER);
                let _ = Client::to(address).timeout(Duration::from_secs(5)).try_send(&view);
            }
        });
        Publisher { stop, published, count, thread }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn end(self) -> Vec<i64> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it does not panic");
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.clone()
    }
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
    match random.below(13) {
        0..=3 => {
            let node = usize::try_from(random.below(NODES as u64)).expect("it is small");
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
            let asleep = Duration::from_millis(300 + random.below(2500));
            cirque_tests::throughout("the worker sleeps", asleep, || (), |()| true);
            worker.cont();
        }
        // Redis is started again empty, sleeps, or forgets.
        8 => help.restart(),
        9 => {
            help.process.stop_signal();
            let asleep = Duration::from_millis(300 + random.below(2500));
            cirque_tests::throughout("Redis sleeps", asleep, || (), |()| true);
            help.process.cont();
        }
        10 => {
            help.ask(&["FLUSHALL"]);
        }
        _ => match server {
            Some(server) => {
                server.process.signal(Signal::QUIT);
                server.process.wait_exit(BOUND);
                server.restart(DURABLE);
            }
            None => {
                site.nodes[0].process.stop_signal();
                cirque_tests::throughout("a node sleeps", Duration::from_millis(1500), || (), |()| true);
                site.nodes[0].process.cont();
            }
        },
    }
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
