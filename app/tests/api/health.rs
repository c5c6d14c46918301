//! Alive, ready and healthy; and what is counted.

use cirque_tests::scrape::Scrape;
use serde_json::json;

use crate::site::{Data, Site, names};

#[tokio::test]
async fn a_healthy_node_says_what_it_looked_at() {
    let site = Site::seeded(5).await;
    let health = site.json("/api/health").await;
    assert_eq!(names(&health), ["status", "timestamp", "node", "services"]);
    assert_eq!(health["status"], "healthy");
    assert_eq!(
        health["services"],
        json!({ "database": "ok", "cache": "disabled", "redis": "disabled", "queue": "ok", "queue_size": 0 })
    );
}

#[tokio::test]
async fn health_asks_the_database() {
    let site = Site::seeded(5).await;
    site.data.change("ALTER TABLE settings RENAME TO elsewhere").await;
    let answer = site.get("/api/health").await;
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(answer.json()["services"]["database"], "error");
    // A node that lives is not restarted because its database is down.
    assert_eq!(site.get("/livez").await.status.as_u16(), 200);
}

// key: health.timeout
#[tokio::test]
async fn a_database_that_does_not_answer_in_time_is_down() {
    let mut data = Data::seeded(20).await;
    data.add_a_heavy_post().await;
    data.config.health.timeout = std::time::Duration::from_millis(10);
    data.config.health.fresh = std::time::Duration::ZERO;
    data.config.database.max_readers = 1;
    let site = data.open().await;
    let slow = Data::slow_search();
    let (search, health) = tokio::join!(site.get(&slow), site.get("/api/health"));
    assert_eq!(search.status.as_u16(), 200, "{}", search.body);
    assert_eq!(health.status.as_u16(), 503);
    let mut is_up = false;
    for _ in 0..100 {
        is_up |= site.get("/api/health").await.status.as_u16() == 200;
    }
    assert!(is_up, "it is up again");
}

// key: health.fresh
#[tokio::test]
async fn however_many_ask_for_health_the_database_is_asked_once_in_a_while() {
    let mut data = Data::seeded(5).await;
    data.config.health.fresh = std::time::Duration::from_millis(500);
    let site = std::sync::Arc::new(data.open().await);
    let statements = || Scrape::parse(&site.state.metrics_text()).value("database_statements_total", &[]);
    let before = statements();
    let asking = (0..50).map(|_| {
        let site = std::sync::Arc::clone(&site);
        tokio::spawn(async move { site.get("/api/health").await.status.as_u16() })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    let of_all = statements() - before;
    site.data.change("ALTER TABLE settings RENAME TO elsewhere").await;
    let mut said = Vec::new();
    while said.last() != Some(&503) {
        said.push(site.get("/api/health").await.status.as_u16());
    }
    assert!(said.len() > 1 && said[0] == 200, "what was found before is still said: {said:?}");
    assert!(of_all <= 10.0, "{of_all} statements for 50 who asked");
}

#[tokio::test]
async fn a_queue_that_is_too_long_is_a_warning_and_no_reason_to_send_nobody_here() {
    let mut data = Data::seeded(5).await;
    data.config.health.fresh = std::time::Duration::ZERO;
    let site = data.open().await;
    for (waiting, queue, status) in [(1000, "ok", "healthy"), (1001, "warning", "degraded")] {
        site.data.change("DELETE FROM jobs").await;
        let rows = vec!["('default', 'quick', '{}', 'waiting', 0, 0)"; waiting].join(", ");
        let insert = "INSERT INTO jobs (queue, kind, payload, state, run_at, created_at) VALUES";
        site.data.change(&format!("{insert} {rows}")).await;
        let health = site.get("/api/health").await;
        let report = health.json();
        assert_eq!((health.status.as_u16(), report["status"].as_str()), (200, Some(status)));
        assert_eq!(report["services"]["queue"], queue);
        assert_eq!(report["services"]["queue_size"], waiting);
    }
    // What cannot be counted is no reason either.
    site.data.change("ALTER TABLE jobs RENAME TO elsewhere").await;
    let health = site.get("/api/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["services"]["queue"]), (200, &json!("error")));
}

#[tokio::test]
async fn a_node_that_drains_is_not_ready_and_sends_clients_away() {
    let site = Site::seeded(5).await;
    assert_eq!(site.json("/readyz").await, json!({ "status": "ready" }));
    assert_eq!(site.get("/api/v1/posts").await.header("connection"), "");
    site.state.lifecycle.end(&cirque_app::lifecycle::Ending::Stop);
    let ready = site.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.body.as_str()), (503, r#"{"status":"draining"}"#));
    let answer = site.get("/api/v1/posts").await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
}

#[tokio::test]
async fn defect_06_requests_are_counted_by_template_and_unknown_ones_together() {
    let site = Site::seeded(20).await;
    let slug = site.json("/api/v1/posts").await["data"][0]["slug"].as_str().unwrap().to_owned();
    site.get(&format!("/api/v1/posts/{slug}")).await;
    site.get("/api/v1/posts/none").await;
    site.get("/wp-login.php").await;
    let metrics = site.get("/api/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        r#"http_requests_total{code="200",method="GET",route="/api/v1/posts"} 1"#,
        r#"http_requests_total{code="200",method="GET",route="/api/v1/posts/{slug}"} 1"#,
        r#"http_requests_total{code="404",method="GET",route="/api/v1/posts/{slug}"} 1"#,
        r#"http_requests_total{code="404",method="GET",route="none"} 1"#,
        r#"http_requests_total{code="200",method="GET",route="/api/v2/posts"} 0"#,
        "http_requests_in_flight 1",
        r#"database_connections{pool="write",state="idle"} 1"#,
    ] {
        assert!(metrics.body.lines().any(|other| other == line), "{line}\n{}", metrics.body);
    }
    assert!(!metrics.body.contains(&slug));
}

#[tokio::test]
async fn defect_07_what_is_counted_can_be_read_by_prometheus_and_is_what_happened() {
    let site = Site::seeded(20).await;
    for path in ["/api/v1/posts", "/api/v2/posts?limit=0", "/nowhere"] {
        site.get(path).await;
    }
    let text = site.get("/api/metrics").await.body;
    // The guide's name, which metrics.guide_names switches off, and nothing else.
    let expected = "http_request_duration_milliseconds use base unit \"seconds\" instead of \"milliseconds\"\n(exit status: 3)";
    assert_eq!(Scrape::parse(&text).promtool_findings(), expected);
    for name in ["http_requests_total", "http_request_duration_seconds", "database_connections"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
    // Connections that are open, not those that may be.
    let scrape = Scrape::parse(&text);
    let open = scrape.value("database_connections", &[("pool", "read")]);
    assert!((1.0..=f64::from(site.data.config.database.max_readers)).contains(&open), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn defect_19_of_requests_at_once_none_is_lost_in_counting() {
    let site = std::sync::Arc::new(Site::seeded(3).await);
    let asking = (0..400).map(|_| {
        let site = std::sync::Arc::clone(&site);
        tokio::spawn(async move { site.get("/livez").await.status.as_u16() })
    });
    for status in asking.collect::<Vec<_>>() {
        assert_eq!(status.await.unwrap(), 200);
    }
    let text = site.get("/api/metrics").await.body;
    let scrape = Scrape::parse(&text);
    for name in ["http_requests_total", "http_request_duration_seconds_count"] {
        assert!((scrape.value(name, &[("route", "/livez")]) - 400.0).abs() < f64::EPSILON, "{name}: {text}");
    }
}

// key: server.node
#[tokio::test]
async fn an_answer_names_its_node() {
    let mut data = Data::seeded(1).await;
    data.config.server.node = Some("app-1".to_owned());
    let named = data.open().await;
    assert_eq!(named.get("/livez").await.header("x-served-by"), "app-1");
    assert_eq!(named.get("/nowhere").await.header("x-served-by"), "app-1");
    assert_eq!(named.json("/api/health").await["node"], "app-1");
}
