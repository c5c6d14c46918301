//! Requests that are sent again with their `Idempotency-Key`.

use axum::body::Body;
use cirque_app::identity::Ability;
use http::Request;
use serde_json::{Value, json};

use crate::site::{Answer, Site, json_request};

const POSTS: &str = "/api/v1/posts";

fn article(title: &str) -> Value {
    json!({ "title": title, "content": "<p>x</p>", "category_id": 4 })
}

fn request(token: &str, key: &str, json: &Value) -> Request<Body> {
    let mut request = json_request("POST", POSTS, Some(token), json);
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn write(site: &Site, token: &str, key: &str, json: &Value) -> Answer {
    site.send(request(token, key, json)).await
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_carried_out_once() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let first = write(&site, &token, "k1", &article("Once")).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (201, ""), "{}", first.body);
    for _ in 0..2 {
        let again = write(&site, &token, "k1", &article("Once")).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for header in ["location", "etag", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
    assert_eq!(site.data.ids("SELECT count(*) FROM posts WHERE title = 'Once'").await, [1]);
    // Without a key, or with another, it is another request.
    assert_eq!(site.call("POST", POSTS, Some(&token), &article("Once")).await.status.as_u16(), 201);
    assert_eq!(write(&site, &token, "k2", &article("Once")).await.json()["data"]["slug"], "once-3");
}

#[tokio::test]
async fn a_key_stands_for_one_body_of_one_token_for_a_day() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    assert_eq!(write(&site, &token, "k", &article("One")).await.status.as_u16(), 201);
    let other = write(&site, &token, "k", &article("Two")).await;
    assert_eq!(other.status.as_u16(), 422, "{}", other.body);
    assert!(other.body.contains("was used for another request"), "{}", other.body);
    let dario = site.data.full_token("dario").await;
    assert_eq!(write(&site, &dario, "k", &article("Two")).await.status.as_u16(), 201);
    site.data.change("UPDATE idempotency_keys SET created_at = created_at - 86400001").await;
    assert_eq!(write(&site, &token, "k", &article("Two")).await.status.as_u16(), 201);
    for key in ["", "a b", &"x".repeat(256)] {
        assert_eq!(write(&site, &token, key, &article("Three")).await.status.as_u16(), 400, "{key:?}");
    }
    let stranger = write(&site, "cirque_bad", "k", &article("One")).await;
    assert_eq!(stranger.status.as_u16(), 401, "an answer is not shown to others");
}

#[tokio::test]
async fn a_request_that_failed_may_be_tried_again() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let bad = json!({ "title": "Bad" });
    for _ in 0..2 {
        assert_eq!(write(&site, &token, "k", &bad).await.json()["message"], "2 fields are not valid.");
    }
    site.data.change("ALTER TABLE cache_tags RENAME TO elsewhere").await;
    assert_eq!(write(&site, &token, "k", &article("Good")).await.status.as_u16(), 500);
    site.data.change("ALTER TABLE elsewhere RENAME TO cache_tags").await;
    assert_eq!(write(&site, &token, "k", &article("Good")).await.status.as_u16(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_carried_out_and_the_others_wait_or_repeat_it() {
    let site = std::sync::Arc::new(Site::seeded(3).await);
    let token = site.data.full_token("chiyo").await;
    let sent = (0..8).map(|_| {
        let (site, token) = (site.clone(), token.clone());
        tokio::spawn(async move { write(&site, &token, "k", &article("Race")).await.status.as_u16() })
    });
    let mut statuses = Vec::new();
    for answer in sent.collect::<Vec<_>>() {
        statuses.push(answer.await.unwrap());
    }
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
    assert!(statuses.contains(&201), "{statuses:?}");
    assert_eq!(site.data.ids("SELECT count(*) FROM posts WHERE title = 'Race'").await, [1]);
}

#[tokio::test]
async fn a_request_whose_node_fell_over_is_in_the_way_for_a_while_only() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    assert_eq!(write(&site, &token, "k", &article("Lost")).await.status.as_u16(), 201);
    site.data.change("UPDATE idempotency_keys SET status = NULL").await;
    let running = write(&site, &token, "k", &article("Lost")).await;
    assert_eq!((running.status.as_u16(), running.header("retry-after")), (409, "1"));
    // Twice the time that a request may take.
    site.data.change("UPDATE idempotency_keys SET created_at = created_at - 60001").await;
    assert_eq!(write(&site, &token, "k", &article("Lost")).await.json()["data"]["slug"], "lost-2");
}

#[tokio::test]
async fn signing_in_is_not_kept() {
    let site = Site::seeded(3).await;
    let admin = site.data.admin.clone().unwrap();
    let json = json!({ "email": admin.email, "password": admin.password });
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let mut request = json_request("POST", "/api/v1/auth/login", None, &json);
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        tokens.push(site.send(request).await.json()["meta"]["token"].clone());
    }
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(site.data.ids("SELECT count(*) FROM idempotency_keys").await, [0]);
}

#[tokio::test]
async fn what_operators_send_again_is_carried_out_once_as_well() {
    let site = Site::seeded(3).await;
    let token = site.data.token("ada", &[Ability::ManageQueue]).await;
    let silence = json!({ "rule": "HighErrorRate", "reason": "new disk", "seconds": 60 });
    for (path, body, table) in [
        ("/api/admin/webhooks", json!({ "url": "https://example.com/hook" }), "webhooks"),
        ("/api/alerts/silences", silence, "alert_silences"),
    ] {
        let send = || async {
            let mut request = json_request("POST", path, Some(&token), &body);
            request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
            site.send(request).await
        };
        let (first, again) = (send().await, send().await);
        assert_eq!((first.status.as_u16(), &again.body), (201, &first.body), "{path}");
        assert_eq!(
            (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
            ("", "true")
        );
        assert_eq!(site.data.ids(&format!("SELECT count(*) FROM {table}")).await, [1], "{path}");
    }
}
