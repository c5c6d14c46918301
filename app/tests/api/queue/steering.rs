//! What a person sees of jobs and does with them.

use std::time::Duration;

use cirque_app::identity::Ability;
use cirque_app::queue::look;
use cirque_app::queue::steer::{self, Filter, Granted, Wish};
use cirque_app::queue::{Queue, State};
use serde_json::{Value, json};

use super::{Bench, FAILING, QUICK, STUCK, all_over, count, jobs, new, start, until, worker, write};
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_buried_is_done_again_when_somebody_asks() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let working = start(worker(&site, &bench));
    write(&site, &[new(FAILING), new(FAILING), new(QUICK)]).await;
    let before = all_over(&site).await;
    let (db, now) = (&site.state.db, site.state.clock.now());
    let granted = steer::wish(db, &bench, (before[0].id, Wish::Retry), now).await.unwrap();
    assert!(matches!(granted, Granted::Is(_)), "{granted:?}");
    site.state.bell.ring();
    let id = before[0].id;
    let after = until(&site, "it was tried again", |jobs| {
        jobs.iter().any(|job| job.id == id && job.attempt == 6 && job.state == "buried")
    })
    .await;
    assert_eq!((after[0].failures, after[1].attempt), (3, 3), "with all its tries, and only this one");
    let filter = Filter { state: Some(State::Buried), ..Filter::default() };
    assert_eq!(steer::wish_all(db, &bench, (&filter, Wish::Discard), now).await.unwrap(), 2);
    assert_eq!((count(&site, State::Discarded).await, count(&site, State::Done).await), (2, 1));
    let unknown = steer::wish(db, &bench, (4711, Wish::Retry), now).await.unwrap();
    assert_eq!(unknown, Granted::Unknown);
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_waits_and_the_others_do_not() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let (db, now) = (&site.state.db, site.state.clock.now());
    assert!(steer::set_paused(db, Queue::Default, true, now).await.unwrap());
    assert!(!steer::set_paused(db, Queue::Default, true, now).await.unwrap(), "it was already");
    let working = start(worker(&site, &bench));
    write(&site, &[new(QUICK), new(STUCK)]).await;
    until(&site, "the other queue goes on", |jobs| jobs[1].state == "running").await;
    assert_eq!(jobs(&site).await[0].state, "waiting");
    let depths = look::depths(db, now).await.unwrap();
    let seen: Vec<_> =
        depths.iter().map(|d| (d.queue, d.pending, d.running, d.paused_at.is_some())).collect();
    assert_eq!(
        seen,
        [(Queue::Default, 1, 0, true), (Queue::Mail, 0, 1, false), (Queue::Webhooks, 0, 0, false)]
    );
    steer::set_paused(db, Queue::Default, false, now).await.unwrap();
    site.state.bell.ring();
    until(&site, "it goes on", |jobs| jobs[0].state == "done").await;
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_that_is_discarded_ends_in_its_worker() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let mut quick = worker(&site, &bench);
    quick.config.lease = Duration::from_millis(300);
    let working = start(quick);
    write(&site, &[new(STUCK)]).await;
    let id = until(&site, "it runs", |jobs| jobs[0].state == "running").await[0].id;
    let now = site.state.clock.now();
    steer::wish(&site.state.db, &bench, (id, Wish::Discard), now).await.unwrap();
    let line = "queue_jobs_total{kind=\"stuck\",outcome=\"refused\",queue=\"mail\"} 1";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !site.state.metrics.text().contains(line) {
        assert!(tokio::time::Instant::now() < deadline, "its worker was not told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(jobs(&site).await[0].state, "discarded");
    working.end().await;
}

#[tokio::test]
async fn a_list_is_bounded_and_goes_on_where_it_ended() {
    let site = Site::seeded(0).await;
    write(&site, &vec![new(QUICK); 30]).await;
    let db = &site.state.db;
    let first = steer::list(db, &Filter::default(), 20).await.unwrap();
    let rest = Filter { before: first.last().map(|job| job.id), ..Filter::default() };
    let rest = steer::list(db, &rest, 20).await.unwrap();
    assert_eq!((first.len(), rest.len()), (20, 10));
    let none = Filter { queue: Some(Queue::Mail), ..Filter::default() };
    assert!(steer::list(db, &none, 20).await.unwrap().is_empty());
}

#[tokio::test]
async fn webhooks_are_listed_added_enabled_and_removed_by_admins() {
    const PATH: &str = "/api/admin/webhooks";
    let site = Site::seeded(0).await;
    let admin = site.data.token("ada", &[Ability::ManageQueue]).await;
    let author = site.data.token("chiyo", &[Ability::ManageQueue]).await;
    let without = site.data.token("ada", &[Ability::ReadPosts]).await;
    let new = json!({ "url": "https://example.com/hook", "events": ["post.published"] });
    assert_eq!(site.call("POST", PATH, None, &new).await.status.as_u16(), 401);
    for token in [&author, &without] {
        assert_eq!(site.call("POST", PATH, Some(token), &new).await.status.as_u16(), 403);
    }
    let made = site.call("POST", PATH, Some(&admin), &new).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    let made = made.json()["data"].clone();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    for (bad, why) in [
        (json!({ "url": "http://127.0.0.1/hook" }), "inside our walls"),
        (json!({ "url": "ftp://example.com" }), "must begin with http"),
        (json!({ "url": "https://example.com", "events": ["post.eaten"] }), "is no event to hear of"),
        (json!({ "url": "https://example.com", "colour": "red" }), "unknown field"),
    ] {
        let refused = site.call("POST", PATH, Some(&admin), &bad).await;
        assert_eq!(refused.status.as_u16(), 422, "{bad}");
        assert!(refused.body.contains(why), "{}", refused.body);
    }
    let listed = site.get_as(&admin, PATH).await.json()["data"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["url"]), (1, &new["url"]));
    assert!(listed[0].get("secret").is_none() && listed[0]["disabled_at"].is_null());
    let one = format!("{PATH}/{}", made["id"]);
    site.data.change("UPDATE webhooks SET disabled_at = 1, failures = 30").await;
    let enabled = site.call("POST", &format!("{one}/enable"), Some(&admin), &json!({})).await;
    assert_eq!((enabled.status.as_u16(), &enabled.json()["data"]["disabled_at"]), (200, &Value::Null));
    assert_eq!(site.call("DELETE", &one, Some(&admin), &json!({})).await.status.as_u16(), 204);
    for (method, path) in
        [("DELETE", one.clone()), ("POST", format!("{one}/enable")), ("DELETE", format!("{PATH}/x"))]
    {
        assert_eq!(site.call(method, &path, Some(&admin), &json!({})).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn no_body_of_an_operators_is_our_fault() {
    let site = Site::seeded(0).await;
    let admin = site.data.token("ada", &[Ability::ManageQueue]).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let many = format!("[{}\"post.published\"]", "\"post.published\",".repeat(1000));
    for (path, body, expected) in [
        ("/api/admin/webhooks", r#"{"url":"https://example.com/\u0000"}"#.to_owned(), 422),
        (
            "/api/admin/webhooks",
            r#"{"url":"https://example.com","url":"https://example.com"}"#.to_owned(),
            422,
        ),
        ("/api/admin/webhooks", format!(r#"{{"url":"https://example.com/{}"}}"#, "x".repeat(100_000)), 422),
        ("/api/admin/webhooks", format!(r#"{{"url":"https://example.com","events":{many}}}"#), 201),
        ("/api/admin/webhooks", format!(r#"{{"url":{deep}}}"#), 422),
        (
            "/api/alerts/silences",
            r#"{"rule":"HighErrorRate","reason":"a\u0000b","seconds":9}"#.to_owned(),
            422,
        ),
        (
            "/api/alerts/silences",
            r#"{"rule":"HighErrorRate","reason":"a","author":"\u0000","seconds":9}"#.to_owned(),
            422,
        ),
        (
            "/api/alerts/silences",
            r#"{"rule":"SlowResponses","labels":{"route":"\u0000"},"reason":"a","seconds":9}"#.to_owned(),
            422,
        ),
        ("/api/alerts/silences", format!(r#"{{"rule":{deep},"reason":"a","seconds":9}}"#), 422),
        ("/api/alerts/test", r#"{"channel":"\u0000"}"#.to_owned(), 200),
        ("/api/alerts/test", "{".to_owned(), 422),
    ] {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {admin}"));
        let shown: String = body.chars().take(80).collect();
        let answer = site.send(request.body(axum::body::Body::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), expected, "{path} {shown}: {}", answer.body);
        assert!(answer.body.len() < 4_000, "{path} {shown}: {}", answer.body.len());
    }
}
