//! Views of posts: counted once, from whatever memory the answer came, and shown as series and order.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use cirque_app::middleware::Peer;
use http::Request;
use serde_json::json;

use crate::listeners::Working;
use crate::queue::all_over;
use crate::site::{Data, Site, ids};

const READER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

async fn cached() -> Site {
    let mut data = Data::seeded(30).await;
    data.config.cache.max_size = 1 << 20;
    data.open().await
}

async fn view(site: &Site, path: &str, address: [u8; 4], name: &str) -> u16 {
    let peer = Peer(SocketAddr::from((address, 4711)));
    let request = Request::get(path).header("user-agent", name).extension(peer);
    site.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
}

async fn write(site: &Site) {
    site.state.views.flush(&site.state.db, site.state.clock.now()).await.unwrap();
    site.state.bell.ring();
    all_over(site).await;
}

async fn slugs(site: &Site) -> Vec<String> {
    let posts = site.json("/api/v1/posts?per_page=10").await;
    posts["data"].as_array().unwrap().iter().map(|post| post["slug"].as_str().unwrap().to_owned()).collect()
}

// key: analytics.bots
#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_counted_once_also_from_memory_and_bots_are_not() {
    let (site, beside) = {
        let site = cached().await;
        let beside = site.beside().await;
        (site, beside)
    };
    let working = Working::of(&site);
    let slug = slugs(&site).await.remove(0);
    let path = format!("/api/v2/posts/{slug}");
    let before = site.json(&format!("{path}/stats")).await["data"]["views"].as_i64().unwrap();
    for (address, name) in [([192, 0, 2, 1], READER), ([192, 0, 2, 1], READER), ([192, 0, 2, 2], READER)] {
        assert_eq!(view(&site, &path, address, name).await, 200);
        assert_eq!(view(&beside, &format!("/api/v1/posts/{slug}"), address, name).await, 200);
    }
    for name in ["ExampleBot/1.0 (+https://example.com/bot)", "", "curl/8.0"] {
        assert_eq!(view(&site, &path, [192, 0, 2, 9], name).await, 200);
    }
    assert_eq!(view(&site, "/api/v2/posts/there-is-none", [192, 0, 2, 1], READER).await, 404);
    write(&site).await;
    write(&beside).await;
    let stats = site.json(&format!("{path}/stats")).await;
    assert_eq!(stats["data"]["views"].as_i64().unwrap() - before, 6);
    assert_eq!(
        (&stats["data"]["hourly"][0]["views"], &stats["data"]["daily"][0]["views"]),
        (&json!(6), &json!(6))
    );
    assert_eq!(stats["data"]["daily"][0]["visitors"], 2, "{stats}");
    let shown = serde_json::to_string(
        &crate::queue::jobs(&site).await.iter().map(|job| job.json()).collect::<Vec<_>>(),
    );
    assert!(!shown.unwrap().contains("192.0.2."), "no address is kept");
    // On the next day they are others.
    site.state.clock.put_forward(Duration::from_secs(86_400));
    view(&site, &path, [192, 0, 2, 1], READER).await;
    write(&site).await;
    let stats = site.json(&format!("{path}/stats")).await;
    assert_eq!(stats["data"]["daily"][1]["visitors"], 1, "{stats}");
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_whose_writing_failed_are_written_later_and_once() {
    let site = cached().await;
    let working = Working::of(&site);
    let slug = slugs(&site).await.remove(0);
    let path = format!("/api/v2/posts/{slug}");
    let before = site.json(&format!("{path}/stats")).await["data"]["views"].as_i64().unwrap();
    view(&site, &path, [192, 0, 2, 1], READER).await;
    site.data.change("ALTER TABLE events RENAME TO elsewhere").await;
    let now = site.state.clock.now();
    assert!(site.state.views.flush(&site.state.db, now).await.is_err());
    view(&site, &path, [192, 0, 2, 1], READER).await;
    site.data.change("ALTER TABLE elsewhere RENAME TO events").await;
    // What failed goes first, under its own id; what came after it has another.
    assert!(site.state.views.flush(&site.state.db, now).await.unwrap());
    assert!(site.state.views.flush(&site.state.db, now).await.unwrap());
    assert!(!site.state.views.flush(&site.state.db, now).await.unwrap());
    site.state.bell.ring();
    all_over(&site).await;
    let views = site.json(&format!("{path}/stats")).await["data"]["views"].as_i64().unwrap();
    assert_eq!(views - before, 2);
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_viewed_lately_leads_the_trending_list() {
    let site = cached().await;
    let working = Working::of(&site);
    let slugs = slugs(&site).await;
    for (slug, times) in [(&slugs[3], 3), (&slugs[7], 9), (&slugs[5], 1)] {
        for _ in 0..times {
            view(&site, &format!("/api/v2/posts/{slug}"), [192, 0, 2, 1], READER).await;
        }
    }
    write(&site).await;
    site.state.clock.put_forward(Duration::from_secs(2 * 86_400));
    for _ in 0..4 {
        view(&site, &format!("/api/v2/posts/{}", slugs[5]), [192, 0, 2, 1], READER).await;
    }
    write(&site).await;
    cirque_app::posts::popularity::refresh(&site.state, site.state.clock.now()).await.unwrap();
    let list = site.json("/api/v2/posts?sort=trending&limit=3&fields=id,slug").await;
    let found: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|p| p["slug"].as_str().unwrap()).collect();
    // Four now are more than nine two days ago.
    assert_eq!(found, [&slugs[5], &slugs[7], &slugs[3]]);
    assert_eq!(ids(&list).len(), 3);
    working.end().await;
}

// key: analytics.flush
#[test]
fn a_node_writes_its_views_now_and_then_and_the_last_ones_when_it_stops() {
    for flush in ["200ms", "1m"] {
        let node = cirque_tests::node::Node::builder().posts(5).toml(&format!("analytics.flush = '{flush}'"));
        let mut node = node.start();
        let post = node.get("/api/v1/posts?per_page=1").expect_status(200).json();
        let slug = post["data"][0]["slug"].as_str().unwrap().to_owned();
        let path = format!("/api/v2/posts/{slug}");
        let stats = format!("{path}/stats");
        let before = node.get(&stats).expect_status(200).json()["data"]["views"].as_i64().unwrap();
        let viewing = cirque_tests::Request::get(&path).header("user-agent", READER);
        assert_eq!(node.client().send(&viewing).status, 200);
        if flush == "1m" {
            node.process.terminate();
            node.process.expect_exit(Duration::from_secs(20));
            let file = node.folder().join("app.toml").display().to_string();
            let list = ["app", "queue", "list", "--kind", "track_post_analytics", "--json", "-c", &file];
            let mut list = cirque_tests::process::Process::cirque("app queue list", &list);
            assert_eq!(list.expect_exit(Duration::from_secs(20)), 0);
            let jobs = list.json_lines();
            assert_eq!((jobs.len(), &jobs[0]["payload"]["counts"][0][0]), (1, &json!(slug)));
            continue;
        }
        let views = || node.get(&stats).expect_status(200).json()["data"]["views"].as_i64();
        cirque_tests::eventually("the view is counted", Duration::from_secs(20), views, |v| {
            *v == Some(before + 1)
        });
    }
}
