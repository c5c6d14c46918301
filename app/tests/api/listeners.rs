//! What follows from a change, done by the workers of a node, as those outside see it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cirque_app::identity::Ability;
use cirque_app::listeners;
use cirque_app::queue::Queue;
use cirque_app::queue::steer::Shown;
use cirque_app::webhooks::admin::Webhooks;
use cirque_tests::backend::{Backend, Reply};
use cirque_tests::webhook::Receiver;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::queue::{all_over, until};
use crate::site::{Data, Site};

/// The workers of a node.
pub(crate) struct Working(CancellationToken, JoinHandle<()>);

impl Working {
    pub(crate) fn of(site: &Site) -> Self {
        let stop = CancellationToken::new();
        let worker = listeners::worker(&site.state, Queue::ALL.to_vec(), Duration::from_secs(5));
        Self(stop.clone(), tokio::spawn(worker.run(stop)))
    }

    pub(crate) async fn end(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

/// Publishes a post of chiyo's and hands it out as v1 shows it.
pub(crate) async fn publish(site: &Site, token: &str, title: &str) -> Value {
    let json = json!({ "title": title, "content": "<p>Words</p>", "category_id": 4, "status": "published" });
    let answer = site.call("POST", "/api/v1/posts", Some(token), &json).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    answer.json()["data"].clone()
}

pub(crate) fn of_kind<'j>(jobs: &'j [Shown], kind: &str) -> Vec<&'j Shown> {
    jobs.iter().filter(|job| job.kind == kind).collect()
}

// key: cache.purge_url
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_front_is_told_what_to_forget_until_it_has_heard() {
    let cache = Backend::start();
    let times = AtomicU32::new(0);
    cache.script(move |_| Reply::status(if times.fetch_add(1, Ordering::SeqCst) == 0 { 503 } else { 204 }));
    let mut data = Data::seeded(3).await;
    data.config.cache.purge_url = Some(format!("http://{}/purge", cache.address()));
    data.config.server.public_url = "https://api.example.com".to_owned();
    let site = data.open().await;
    let token = site.data.full_token("chiyo").await;
    let post = publish(&site, &token, "News").await;
    let working = Working::of(&site);
    let jobs = all_over(&site).await;
    let told = cache.requests_to("/purge");
    assert_eq!(told.len(), 2, "once more after it was refused");
    assert_eq!(told[0].header("idempotency-key"), told[1].header("idempotency-key"));
    let body: Value = serde_json::from_slice(&told[1].body).unwrap();
    let id = &post["id"];
    assert_eq!(body["tags"][1], format!("post:{id}"));
    assert_eq!(body["urls"][0], "https://api.example.com/api/v1/posts/news");
    assert_eq!(of_kind(&jobs, "clear_post_cache")[0].state, "done");
    working.end().await;
}

#[tokio::test]
async fn a_change_and_what_follows_from_it_last_together_or_not_at_all() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let post = publish(&site, &token, "News").await;
    let path = format!("/api/v1/posts/{}", post["id"]);
    let draft = json!({ "title": "Draft", "content": "<p>x</p>", "category_id": 4 });
    site.call("POST", "/api/v1/posts", Some(&token), &draft).await;
    let refused = site.call("PATCH", &path, Some(&token), &json!({ "category_id": 4711 })).await;
    assert_eq!(refused.status.as_u16(), 422);
    site.call("PATCH", &path, Some(&token), &json!({ "title": "Old news" })).await;
    site.call("DELETE", &path, Some(&token), &json!({})).await;
    let names = site.data.column::<String>("SELECT name FROM events ORDER BY id").await;
    assert_eq!(names, ["post.published", "post.updated", "post.deleted"]);
    let told = site.data.column::<String>("SELECT payload FROM events ORDER BY id").await;
    assert!(
        told[1].contains("\"title\":\"Old news\"") && told[1].contains("\"previous_status\":\"published\"")
    );
    let twice = site
        .data
        .ids("SELECT count(*) FROM jobs WHERE event_id IS NOT NULL GROUP BY event_id, kind HAVING count(*) > 1")
        .await;
    assert_eq!(twice, [0_i64; 0]);
    let requests = site.data.ids("SELECT count(*) FROM events WHERE request_id IS NULL").await;
    assert_eq!(requests, [0], "each event knows its request");
}

// key: webhooks.allow
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_as_others_libraries_check_it() {
    let mut data = Data::seeded(3).await;
    data.config.webhooks.allow = vec!["127.0.0.0/8".parse().unwrap()];
    let site = data.open().await;
    let webhooks = Webhooks::open(&site.data.config).await.unwrap();
    let address = Receiver::free_address();
    let (_, secret) = webhooks.add(&format!("http://{address}/hook"), &[]).await.unwrap();
    let (_, unused) =
        webhooks.add(&format!("http://{address}/other"), &["post.deleted".to_owned()]).await.unwrap();
    assert!(secret.starts_with("whsec_") && secret != unused);
    let receiver = Receiver::start(address, &secret);
    let token = site.data.full_token("chiyo").await;
    let post = publish(&site, &token, "News: „Łódź“").await;
    let working = Working::of(&site);
    let jobs = all_over(&site).await;
    assert_eq!(of_kind(&jobs, "call_webhook").len(), 1, "the other one did not want it");
    let received = receiver.received();
    assert_eq!(received.len(), 1, "{received:?}");
    let (payload, event) =
        (&received[0]["payload"], site.data.column::<String>("SELECT id FROM events").await);
    assert_eq!((&received[0]["error"], &received[0]["id"]), (&Value::Null, &json!(event[0])));
    assert_eq!((&payload["type"], &payload["data"]["id"]), (&json!("post.published"), &post["id"]));
    assert_eq!(payload["data"]["title"], "News: „Łódź“");
    working.end().await;
    webhooks.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_our_walls_is_called_unless_it_is_allowed() {
    let inside = Backend::start();
    let site = Site::seeded(3).await;
    let webhooks = Webhooks::open(&site.data.config).await.unwrap();
    let port = inside.address().port();
    let refused = webhooks.add(&format!("http://127.0.0.1:{port}/"), &[]).await.unwrap_err();
    assert!(refused.to_string().contains("webhooks.allow"), "{refused}");
    // A name says nothing of where it leads.
    webhooks.add(&format!("http://localhost:{port}/"), &[]).await.unwrap();
    let token = site.data.full_token("chiyo").await;
    publish(&site, &token, "News").await;
    let working = Working::of(&site);
    let jobs = until(&site, "it failed", |jobs| {
        jobs.iter().any(|job| job.kind == "call_webhook" && job.failures > 0)
    })
    .await;
    let error = of_kind(&jobs, "call_webhook")[0].last_error().unwrap();
    assert!(error.contains("inside our walls"), "{error}");
    assert_eq!(inside.connections(), 0);
    working.end().await;
    webhooks.close().await;
}

// key: webhooks.failures
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_again_and_again_is_switched_off_and_on_again() {
    let receiver = Backend::answering(Reply::status(500));
    let mut data = Data::seeded(3).await;
    data.config.webhooks.allow = vec!["127.0.0.0/8".parse().unwrap()];
    data.config.webhooks.failures = 2;
    let site = data.open().await;
    let webhooks = Webhooks::open(&site.data.config).await.unwrap();
    let (id, _) = webhooks.add(&format!("http://{}/hook", receiver.address()), &[]).await.unwrap();
    let token = site.data.full_token("chiyo").await;
    let working = Working::of(&site);
    for title in ["One", "Two", "Three"] {
        publish(&site, &token, title).await;
    }
    until(&site, "each was tried or dropped", |jobs| {
        // What comes after it was switched off is not even written.
        let (calls, fans) = (of_kind(jobs, "call_webhook"), of_kind(jobs, "call_webhooks"));
        fans.iter().all(|job| job.state == "done")
            && calls.len() >= 2
            && calls.iter().all(|job| job.attempt > 0 && job.state != "running")
    })
    .await;
    let listed = webhooks.list().await.unwrap().remove(0);
    assert!(listed.disabled_at.is_some() && listed.failures >= 2, "{listed:?}");
    assert_eq!(listed.last_error.as_deref(), Some("it answered 500 Internal Server Error"));
    webhooks.enable(id).await.unwrap();
    receiver.answer(Reply::status(204));
    site.state.clock.put_forward(Duration::from_secs(60));
    site.state.bell.ring();
    let jobs = all_over(&site).await;
    assert!(of_kind(&jobs, "call_webhook").iter().all(|job| job.state == "done"));
    assert_eq!(webhooks.list().await.unwrap()[0].failures, 0);
    assert!(webhooks.remove(id).await.is_ok() && webhooks.remove(id).await.is_err());
    working.end().await;
    webhooks.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_part_of_the_sitemap_that_a_post_is_in_is_made_anew() {
    let mut data = Data::seeded(3).await;
    data.config.cache.max_size = 1 << 20;
    data.config.cache.v1_list = Duration::from_secs(3600);
    let site = data.open().await;
    site.data
        .change(
            "INSERT INTO posts (id, title, slug, excerpt, content, status, published_at, category_id, author_id, \
             created_at, updated_at) SELECT 10001, 'Far', 'far', '', '', 'published', 1, category_id, author_id, 1, 1 \
             FROM posts WHERE id = 1",
        )
        .await;
    let token = site.data.full_token("ada").await;
    let get = async |path: &str| {
        let answer = site.get(path).await;
        (answer.header("x-cache").to_owned(), answer.body)
    };
    for path in ["/sitemap.xml", "/sitemaps/0.xml", "/sitemaps/1.xml"] {
        assert_eq!(get(path).await.0, "MISS");
    }
    let working = Working::of(&site);
    let answer = site.call("PATCH", "/api/v1/posts/10001", Some(&token), &json!({ "title": "Near" })).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let jobs = all_over(&site).await;
    assert_eq!(of_kind(&jobs, "update_sitemap")[0].key.as_deref(), Some("1"));
    assert_eq!(get("/sitemaps/0.xml").await.0, "HIT", "nothing changed there");
    assert_eq!(get("/sitemaps/1.xml").await.0, "MISS");
    let index = get("/sitemap.xml").await;
    assert!(index.0 == "MISS" && index.1.contains("/sitemaps/1.xml</loc><lastmod>20"), "{index:?}");
    // Many changes while nobody works are one job.
    working.end().await;
    for title in ["A", "B", "C"] {
        site.call("PATCH", "/api/v1/posts/10001", Some(&token), &json!({ "title": title })).await;
    }
    let waiting = crate::queue::jobs(&site).await;
    let waiting =
        of_kind(&waiting, "update_sitemap").into_iter().filter(|job| job.state == "waiting").count();
    assert_eq!(waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_steer_the_queue_over_the_api_and_nobody_else() {
    let site = Site::seeded(3).await;
    let all = [Ability::ReadPosts, Ability::WritePosts, Ability::ManageQueue];
    let (admin, editor) = (site.data.token("ada", &all).await, site.data.token("bruno", &all).await);
    let plain = site.data.full_token("ada").await;
    publish(&site, &plain, "News").await;
    for token in [&editor, &plain] {
        assert_eq!(site.get_as(token, "/api/admin/queue").await.status.as_u16(), 403);
    }
    assert_eq!(site.get("/api/admin/queue").await.status.as_u16(), 401);
    let stats = site.get_as(&admin, "/api/admin/queue").await.json();
    assert_eq!((&stats["data"][0]["queue"], &stats["data"][0]["pending"]), (&json!("default"), &json!(4)));
    let paused = site.call("POST", "/api/admin/queue/default/pause", Some(&admin), &json!({})).await;
    assert!(paused.json()["data"]["paused_at"].is_string(), "{}", paused.body);
    let listed =
        site.get_as(&admin, "/api/admin/queue/jobs?kind=clear_post_cache&state=waiting").await.json();
    let id = listed["data"][0]["id"].as_i64().unwrap();
    let discard = format!("/api/admin/queue/jobs/{id}/discard");
    assert_eq!(
        site.call("POST", &discard, Some(&admin), &json!({})).await.json()["data"]["state"],
        "discarded"
    );
    assert_eq!(site.call("POST", &discard, Some(&admin), &json!({})).await.status.as_u16(), 409);
    let retry = format!("/api/admin/queue/jobs/{id}/retry");
    assert_eq!(site.call("POST", &retry, Some(&admin), &json!({})).await.json()["data"]["state"], "waiting");
    site.call("POST", "/api/admin/queue/default/resume", Some(&admin), &json!({})).await;
    let working = Working::of(&site);
    all_over(&site).await;
    let job = site.get_as(&admin, &format!("/api/admin/queue/jobs/{id}")).await.json();
    assert_eq!((&job["data"]["state"], &job["data"]["attempt"]), (&json!("done"), &json!(1)));
    for nothing in ["/api/admin/queue/jobs/4711", "/api/admin/queue/jobs/x"] {
        assert_eq!(site.get_as(&admin, nothing).await.status.as_u16(), 404);
    }
    working.end().await;
}
