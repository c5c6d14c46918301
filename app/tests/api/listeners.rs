//! What follows from a change, done by the workers of a node, as those outside see it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cirque_app::listeners;
use cirque_app::queue::Queue;
use cirque_app::queue::steer::Shown;
use cirque_tests::backend::{Backend, Reply};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::queue::all_over;
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
