//! What one request may take: time, connections to the database, bytes.

use std::time::Duration;

use axum::body::Body;
use cirque_app::db::Error;
use http::Request;

use crate::site::{Data, Store};

// key: server.max_execution_time
#[tokio::test]
async fn a_request_that_takes_too_long_is_told_so() {
    let mut data = Data::seeded(20).await;
    data.add_a_heavy_post().await;
    data.config.server.max_execution_time = Duration::from_millis(20);
    let site = data.open().await;
    let answer = site.get(&Data::slow_search()).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.body, r#"{"message":"The request took longer than 0.02 seconds."}"#);
    assert_eq!(site.state.metrics.overruns.get(), 1);
}

// key: database.max_readers
#[tokio::test]
async fn reads_share_a_bounded_number_of_connections() {
    let mut data = Data::seeded(20).await;
    data.config.database.max_readers = 2;
    let site = data.open().await;
    let (a, b, c, d) = tokio::join!(
        site.get("/api/v1/posts"),
        site.get("/api/v1/posts"),
        site.get("/api/v1/posts"),
        site.get("/api/v1/posts")
    );
    assert!([a, b, c, d].iter().all(|answer| answer.status.as_u16() == 200));
    let text = site.get("/api/metrics").await.body;
    let of = |state: &str| {
        let line = format!("database_connections{{pool=\"read\",state=\"{state}\"}} ");
        text.lines().find_map(|other| other.strip_prefix(&line)).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(of("idle") + of("used"), 2);
}

// key: database.acquire_timeout
#[tokio::test]
async fn a_request_waits_for_a_connection_only_so_long() {
    let mut data = Data::seeded(1).await;
    data.config.database.max_readers = 1;
    data.config.database.acquire_timeout = Duration::from_secs(1);
    let site = data.open().await;
    let db = site.state.db.clone();
    let holding = tokio::spawn(async move { db.read().first(&Data::endless()).await.map(drop) });
    // Until it holds the only connection; another page each time, for no answer that is kept.
    let mut page = 1;
    let second = loop {
        let answer = site.get(&format!("/api/v1/posts?page={page}")).await;
        assert!(!holding.is_finished(), "it does not end");
        if answer.status.as_u16() != 200 {
            break answer;
        }
        page += 1;
    };
    holding.abort();
    assert_eq!((second.status.as_u16(), second.header("retry-after")), (503, "1"));
    assert_eq!(second.body, r#"{"message":"The service is busy. Try again in a moment."}"#);
}

// key: database.max_writers
#[tokio::test]
async fn writes_share_a_bounded_number_of_connections() {
    let mut data = Data::seeded(0).await;
    data.config.database.max_writers = 2;
    data.config.database.acquire_timeout = Duration::from_millis(50);
    let site = data.open().await;
    let first = site.state.db.write().await.unwrap();
    let second = site.state.db.write().await;
    assert_eq!(second.is_ok(), Store::under_test() == Store::Postgres, "SQLite has one writer");
    assert!(matches!(site.state.db.write().await, Err(Error::Saturated)));
    drop((first, second));
    site.state.db.write().await.unwrap();
}

// key: server.max_body_size
#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let mut data = Data::seeded(1).await;
    data.config.server.max_body_size = 10;
    let site = data.open().await;
    for (body, expected) in [("0123456789", 200), ("0123456789a", 413)] {
        let answer = site.send(Request::get("/livez").body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.body);
    }
}
