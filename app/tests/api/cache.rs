//! What is answered from memory: for how long, until which change, and when the database is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use cirque_app::changes::{Tag, bump};
use cirque_app::config;
use cirque_app::state::AppState;
use cirque_tests::eventually;
use cirque_tests::redis::Server;
use http::Request;
use proptest::prelude::*;
use sea_query::{Expr, ExprTrait, Query};

use crate::site::{Answer, Data, Site, ids};

const MIB: u64 = 1 << 20;

/// A site that keeps answers.
async fn site(posts: u64) -> Site {
    let mut data = Data::seeded(posts).await;
    data.config.cache.max_size = 16 * MIB;
    data.open().await
}

/// Changes the title of a post as a handler would.
async fn retitle(state: &AppState, id: i64, title: &str) {
    let update =
        Query::update().table("posts").value("title", title).and_where(Expr::col("id").eq(id)).take();
    let mut writer = state.db.write().await.unwrap();
    writer.execute(&update).await.unwrap();
    bump(&mut writer, &BTreeSet::from([Tag::Posts, Tag::Post(id)])).await.unwrap();
    writer.commit().await.unwrap();
    state.cache.catch_up().await;
}

fn cached(answer: &Answer) -> (&str, u64) {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    (answer.header("x-cache"), answer.header("x-cache-ttl").parse().unwrap())
}

const S: fn(u64) -> Duration = Duration::from_secs;

#[tokio::test]
async fn the_second_answer_comes_from_memory_and_says_so() {
    let site = site(30).await;
    let first = site.get("/api/v1/posts").await;
    assert_eq!((cached(&first), first.header("age")), (("MISS", 600), "0"));
    assert_eq!(first.header("cache-control"), "public, no-cache");
    assert!(first.header("surrogate-key").split(' ').any(|key| key == "posts"), "{:?}", first.headers);
    let reads = site.reads();
    site.state.clock.put_forward(S(7));
    let second = site.get("/api/v1/posts").await;
    assert_eq!((cached(&second), second.header("age")), (("HIT", 593), "7"));
    assert_eq!((&second.body, second.header("etag")), (&first.body, first.header("etag")));
    assert_eq!(site.reads(), reads, "nothing was read");
    let request = Request::get("/api/v1/posts").header("If-None-Match", first.header("etag"));
    let third = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((third.status.as_u16(), third.body.as_str(), third.header("x-cache")), (304, "", "HIT"));
    assert_eq!(third.header("etag"), first.header("etag"));
}

// key: cache.v1_list, cache.v1_detail, cache.v2_list, cache.v2_detail, cache.stale_while_revalidate
#[tokio::test]
async fn each_shelf_has_its_time_and_then_a_moment_to_be_filled_anew() {
    let mut data = Data::seeded(30).await;
    let cache = &mut data.config.cache;
    cache.max_size = MIB;
    (cache.v1_list, cache.v1_detail, cache.v2_list, cache.v2_detail) = (S(10), S(20), S(30), S(40));
    cache.stale_while_revalidate = S(5);
    let site = data.open().await;
    let slug = site.json("/api/v2/posts?limit=1").await["data"][0]["slug"].clone();
    let slug = slug.as_str().unwrap();
    for (path, time) in [
        ("/api/v1/posts?per_page=3".to_owned(), 10),
        (format!("/api/v1/posts/{slug}"), 20),
        ("/api/v1/categories".to_owned(), 10),
        ("/api/v1/authors/ada".to_owned(), 20),
        ("/api/v2/posts?limit=3".to_owned(), 30),
        (format!("/api/v2/posts/{slug}"), 40),
        ("/api/v2/tags".to_owned(), 30),
        ("/api/v2/tags/weather".to_owned(), 40),
    ] {
        assert_eq!(cached(&site.get(&path).await), ("MISS", time), "{path}");
        site.state.clock.put_forward(S(time - 1));
        assert_eq!(cached(&site.get(&path).await), ("HIT", 1), "{path}");
        site.state.clock.put_forward(S(2));
        assert_eq!(cached(&site.get(&path).await), ("STALE", 0), "{path}");
        let refreshed = loop {
            let answer = site.get(&path).await;
            if answer.header("x-cache") != "STALE" {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(cached(&refreshed), ("HIT", time), "{path}");
        site.state.clock.put_forward(S(time + 6));
        assert_eq!(cached(&site.get(&path).await), ("MISS", time), "{path}: later, it is made anew");
    }
}

// key: cache.client_max_age
#[tokio::test]
async fn clients_may_keep_an_answer_for_as_long_as_they_are_told() {
    let mut data = Data::seeded(3).await;
    data.config.cache.client_max_age = S(15);
    data.config.cache.max_size = MIB;
    let site = data.open().await;
    assert_eq!(site.get("/api/v1/posts").await.header("cache-control"), "public, max-age=15");
}

// key: cache.max_size
#[tokio::test]
async fn what_is_kept_is_bounded_in_bytes() {
    let mut data = Data::seeded(60).await;
    data.config.cache.max_size = 64 << 10;
    let site = data.open().await;
    for size in 1..=50 {
        site.json(&format!("/api/v1/posts?per_page={size}")).await;
    }
    let metrics = site.get("/api/metrics").await.body;
    let value = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert!((1..=64 << 10).contains(&value("cache_bytes ")), "{metrics}");
    assert!(value("cache_entries ") < 50);
    assert_eq!(value("cache_requests_total{result=\"miss\"} "), 50);
    let off = Site::seeded(3).await;
    for _ in 0..2 {
        assert_eq!(cached(&off.get("/api/v1/posts").await), ("MISS", 0), "0 keeps nothing");
    }
}

#[tokio::test]
async fn defect_15_a_cached_answer_has_one_name_whatever_else_a_client_says() {
    let site = site(30).await;
    assert_eq!(cached(&site.get("/api/v1/posts?tag=maps&page=2").await).0, "MISS");
    for same in ["page=2&tag=maps", "page=02&tag=maps&search=", "tag=%6Daps&&page=2"] {
        let request = Request::get(format!("/api/v1/posts?{same}")).header("Host", "evil.example");
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(cached(&answer).0, "HIT", "{same}");
        assert!(!answer.body.contains("evil.example"));
    }
    let before = site.get("/api/metrics").await.body;
    for unknown in 0..20 {
        assert_eq!(site.get(&format!("/api/v1/posts?x{unknown}=1")).await.status.as_u16(), 422);
    }
    let entries =
        |text: &str| text.lines().find(|line| line.starts_with("cache_entries ")).unwrap().to_owned();
    assert_eq!(entries(&before), entries(&site.get("/api/metrics").await.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_who_miss_at_once_reach_the_database_once() {
    let site = std::sync::Arc::new(site(60).await);
    let reads = site.reads();
    let asking = (0..200).map(|_| {
        let site = std::sync::Arc::clone(&site);
        tokio::spawn(async move { site.get("/api/v1/posts?per_page=50").await })
    });
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().status.as_u16(), 200);
    }
    assert_eq!(site.reads() - reads, 1);
}

#[tokio::test]
async fn defect_08_a_write_ends_what_it_touches_and_nothing_else() {
    let site = site(60).await;
    let list = site.json("/api/v2/posts?limit=2").await;
    let (id, slug) = (ids(&list)[0], list["data"][0]["slug"].as_str().unwrap().to_owned());
    let other = list["data"][1]["slug"].as_str().unwrap().to_owned();
    for slug in [&slug, &other] {
        site.json(&format!("/api/v1/posts/{slug}")).await;
    }
    retitle(&site.state, id, "Changed").await;
    let changed = site.get(&format!("/api/v1/posts/{slug}")).await;
    assert_eq!((cached(&changed).0, &changed.json()["data"]["title"]), ("MISS", &"Changed".into()));
    assert_eq!(cached(&site.get("/api/v2/posts?limit=2").await).0, "MISS");
    assert_eq!(cached(&site.get(&format!("/api/v1/posts/{other}")).await).0, "HIT");
}

#[tokio::test]
async fn another_node_shows_a_write_within_a_second() {
    let site = site(30).await;
    let other = site.beside().await;
    let list = other.json("/api/v2/posts?limit=1").await;
    assert_eq!(cached(&other.get("/api/v2/posts?limit=1").await).0, "HIT");
    retitle(&site.state, ids(&list)[0], "Changed").await;
    other.state.clock.put_forward(S(1));
    let answer = other.get("/api/v2/posts?limit=1").await;
    assert_eq!((cached(&answer).0, &answer.json()["data"][0]["title"]), ("MISS", &"Changed".into()));
}

#[tokio::test]
async fn who_comes_with_credentials_is_not_answered_from_memory() {
    let site = site(30).await;
    site.json("/api/v1/posts").await;
    let request = Request::get("/api/v1/posts").header("Authorization", "Bearer 1|nonsense");
    let answer = site.send(request.body(Body::empty()).unwrap()).await;
    if answer.status.as_u16() == 200 {
        assert_eq!(cached(&answer), ("MISS", 0));
        assert_eq!(answer.header("cache-control"), "private, no-cache");
    }
    assert!(site.get("/api/metrics").await.body.contains("cache_requests_total{result=\"hit\"} 0"));
}

// key: cache.stale_if_error
#[tokio::test]
async fn a_broken_database_is_not_seen_by_those_who_ask_for_what_was_asked_before() {
    let mut data = Data::seeded(30).await;
    data.config.cache.max_size = MIB;
    data.config.cache.stale_if_error = S(3600);
    let site = data.open().await;
    let before = site.get("/api/v1/posts").await;
    site.data.change("ALTER TABLE posts RENAME TO gone").await;
    site.data.change("ALTER TABLE cache_tags RENAME TO gone_too").await;
    for later in [2, 600, 2900] {
        site.state.clock.put_forward(S(later));
        let stale = site.get("/api/v1/posts").await;
        assert_eq!((cached(&stale), &stale.body), (("STALE", 0), &before.body), "{later}");
    }
    assert!(site.get("/api/v1/posts?page=2").await.status.is_server_error(), "this was never asked");
    site.data.change("ALTER TABLE gone RENAME TO posts").await;
    site.data.change("ALTER TABLE gone_too RENAME TO cache_tags").await;
    site.state.clock.put_forward(S(2));
    let back = site.get("/api/v1/posts").await;
    assert_eq!((back.header("x-cache"), &back.body), ("MISS", &before.body));
    site.data.change("ALTER TABLE posts RENAME TO gone").await;
    site.state.clock.put_forward(S(600 + 3601));
    assert!(site.get("/api/v1/posts").await.status.is_server_error(), "too old for need, too");
}

#[tokio::test]
async fn what_is_gone_is_not_kept() {
    let site = site(30).await;
    let slug = site.json("/api/v2/posts?limit=1").await["data"][0]["slug"].clone();
    let path = format!("/api/v1/posts/{}", slug.as_str().unwrap());
    let id = site.json(&path).await["data"]["id"].as_i64().unwrap();
    site.data.change(&format!("UPDATE posts SET deleted_at = 1 WHERE id = {id}")).await;
    retitle(&site.state, id, "Gone").await;
    assert_eq!(site.get(&path).await.status.as_u16(), 404);
}

/// One step of a random day.
#[derive(Clone, Debug)]
enum Step {
    Write {
        node: usize,
    },
    Read {
        node: usize,
        path: usize,
    },
    Wait {
        ms: u64,
    },
    /// The node begins again, and remembers nothing.
    Begin {
        node: usize,
    },
    /// Somebody who was slow writes to Redis what was there before the last write.
    Late,
    /// Redis forgets.
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_usize..2).prop_map(|node| Step::Write { node }),
        6 => (0_usize..2, 0_usize..3).prop_map(|(node, path)| Step::Read { node, path }),
        2 => (0_u64..1500).prop_map(|ms| Step::Wait { ms }),
        1 => (100_000_u64..2_000_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn step_with_redis() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => step(),
        1 => (0_usize..2).prop_map(|node| Step::Begin { node }),
        2 => Just(Step::Late),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// Whatever is read, written and waited for: a reader sees every write that is older than a second, and every
    /// write that went through the node that is asked.
    #[test]
    fn no_reader_ever_sees_a_version_older_than_the_promise(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(a_day(&steps, None))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// The same with Redis between the nodes, whatever is written there late or lost.
    #[test]
    fn redis_between_the_nodes_never_makes_a_reader_see_less(steps in proptest::collection::vec(step_with_redis(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = Server::start(&[]);
        runtime.block_on(a_day(&steps, Some(&server)))?;
    }
}

/// Keeps copies of all answers, or puts them back.
const COPY: &str = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. 'cirque:answer:*')) do \
                    local other = ARGV[1] == '' and 'late:' .. key or string.sub(key, 6) \
                    redis.call('COPY', key, other, 'REPLACE') end return 1";

fn shared(server: &Server) -> config::Redis {
    let address = server.address();
    let here = config::redis::Server { host: address.ip().to_string(), port: address.port() };
    config::Redis {
        layout: config::redis::Layout::Single(here, 0),
        prefix: "cirque".to_owned(),
        login: config::redis::Login::default(),
        tls: None,
        connect_timeout: S(1),
        timeout: S(1),
        slow_after: S(1),
    }
}

fn wait_for_redis(site: &Site) {
    let is_up = || site.state.redis.as_ref().is_none_or(cirque_app::redis::Redis::is_up);
    eventually("Redis is up", S(20), is_up, |up| *up);
}

async fn a_day(steps: &[Step], redis: Option<&Server>) -> Result<(), TestCaseError> {
    let mut data = Data::seeded(3).await;
    data.config.cache.max_size = 16 * MIB;
    data.config.redis = redis.map(shared);
    let first = data.open().await;
    let second = first.beside().await;
    first
        .data
        .change("UPDATE posts SET title = '0', status = 'published', deleted_at = NULL, published_at = 5")
        .await;
    let rows = first.json("/api/v2/posts?limit=3").await;
    let (id, slug) = (ids(&rows)[0], rows["data"][0]["slug"].as_str().unwrap().to_owned());
    let paths = [
        "/api/v1/posts?per_page=3".to_owned(),
        "/api/v2/posts?limit=3".to_owned(),
        format!("/api/v1/posts/{slug}"),
    ];
    let mut nodes = [first, second];
    nodes.iter().for_each(wait_for_redis);
    let mut forward = Duration::ZERO;
    // When each version was written, and through which node.
    let mut written = vec![(i64::MIN, 0)];
    for step in steps {
        match step {
            Step::Wait { ms } => {
                forward += Duration::from_millis(*ms);
                nodes.iter().for_each(|node| node.state.clock.put_forward(Duration::from_millis(*ms)));
            }
            Step::Begin { node } => {
                nodes[*node] = nodes[*node].beside().await;
                nodes[*node].state.clock.put_forward(forward);
                wait_for_redis(&nodes[*node]);
            }
            Step::Late => {
                let _ = redis.map(|server| server.ask(&["EVAL", COPY, "0", "late:"]));
            }
            Step::Flush => {
                let _ = redis.map(|server| server.ask(&["FLUSHALL"]));
            }
            Step::Write { node } => {
                let _ = redis.map(|server| server.ask(&["EVAL", COPY, "0", ""]));
                retitle(&nodes[*node].state, id, &written.len().to_string()).await;
                written.push((nodes[*node].state.clock.now().0, *node));
            }
            Step::Read { node, path } => {
                let asked_at = nodes[*node].state.clock.now().0;
                let answer = nodes[*node].get(&paths[*path]).await;
                let json = answer.json();
                let rows = json["data"].as_array().cloned().unwrap_or_else(|| vec![json["data"].clone()]);
                let row = rows.iter().find(|row| row["id"] == id).unwrap();
                let seen: usize = row["title"].as_str().unwrap().parse().unwrap();
                let is_due = |(at, through): &(i64, usize)| *at <= asked_at - 1000 || through == node;
                let due = written.iter().rposition(is_due).unwrap();
                prop_assert!(seen >= due, "{:?} {}: {seen} of {due}", answer.headers, paths[*path]);
            }
        }
    }
    Ok(())
}
