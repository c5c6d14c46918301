//! What machines are told: the description of the API, the sitemap, the feed.

use std::collections::BTreeSet;

use axum::body::Body;
use cirque_app::identity::Ability;
use cirque_app::router::TEMPLATES;
use http::Request;
use serde_json::Value;

use crate::site::{PUBLIC, Site};

/// What nodes ask each other is for nobody else.
const OF_NODES: &str = "/api/alerts/word";

#[tokio::test]
async fn every_method_of_every_route_is_described_and_nothing_else() {
    let site = Site::seeded(3).await;
    let document = site.json("/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        described
            .extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase())));
    }
    let mut answered = BTreeSet::new();
    for path in TEMPLATES.iter().filter(|path| **path != OF_NODES) {
        let request = Request::builder().method("PROPFIND").uri(path.replace(['{', '}'], ""));
        let refused = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status.as_u16(), 405, "{path}");
        let methods = refused.header("allow").split(',').filter(|method| *method != "HEAD");
        answered.extend(methods.map(|method| ((*path).to_owned(), method.to_owned())));
    }
    assert_eq!(described, answered);
    let page = site.get("/api/documentation").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    for (path, method) in described {
        assert!(page.body.contains(&format!("{method} {path}<")), "{method} {path}");
    }
    assert!(!page.body.contains("src=") && !page.body.contains("<link"), "nothing comes from elsewhere");
}

#[tokio::test]
async fn the_description_names_the_fields_that_are_read() {
    let site = Site::seeded(3).await;
    let token =
        site.data.token("ada", &[Ability::ReadPosts, Ability::WritePosts, Ability::ManageQueue]).await;
    let document = site.json("/api/openapi.json").await;
    let mut bodies = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(fields) = schema["properties"].as_object() else { continue };
            bodies += 1;
            let path = path.replace("{slug}", "1");
            let body = serde_json::json!({ "colour": "red" });
            let refused = site.call(&method.to_uppercase(), &path, Some(&token), &body).await.json();
            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
            if path == "/api/admin/log" {
                // The process of the tests writes none.
                continue;
            }
            if path.starts_with("/api/a") {
                // Operators are told of the first problem, in one sentence.
                let message = refused["message"].as_str().unwrap();
                let is_named = |name: &str| message.contains(&format!("`{name}`"));
                assert!(is_named("colour") && known.into_iter().all(is_named), "{method} {path}: {message}");
                continue;
            }
            let message = refused["errors"]["colour"][0].as_str().unwrap();
            assert!(message.ends_with(&format!("known: {}", known.join(", "))), "{method} {path}: {message}");
        }
    }
    assert!(bodies >= 8, "{bodies}");
}

#[tokio::test]
async fn the_description_names_the_parameters_that_are_taken() {
    let site = Site::seeded(3).await;
    let document = site.json("/api/openapi.json").await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{slug}", "weather").replace("{username}", "ada").replace("{part}", "0.xml");
        if methods["get"].is_null() {
            continue;
        }
        let known: Vec<&str> = methods["get"]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let is_open = methods["get"]["security"].as_array().is_none_or(|either| either.len() > 1);
        if is_open && path.starts_with("/api/v1") || path.starts_with("/api/v2") || path == "/api/search" {
            let refused = site.get(&format!("{path}?colour=red")).await.json();
            let message = refused["errors"]["colour"][0].as_str().unwrap();
            let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            assert!(message.ends_with(&format!("known: {expected}")), "{path}: {message}");
        }
    }
}

#[tokio::test]
async fn defect_20_the_sitemap_has_every_public_post_on_every_node() {
    let site = Site::seeded(60).await;
    site.data.change("UPDATE posts SET id = 25001 WHERE id = (SELECT max(id) FROM posts)").await;
    let index = site.get("/sitemap.xml").await;
    assert_eq!((index.status.as_u16(), index.header("content-type")), (200, "application/xml"));
    let mut listed = BTreeSet::new();
    let parts: Vec<&str> = between(&index.body, "<loc>", "</loc>");
    assert_eq!(parts, ["/sitemaps/0.xml", "/sitemaps/1.xml", "/sitemaps/2.xml"]);
    for part in parts {
        let body = site.get(part).await.body;
        listed.extend(between(&body, "/api/v1/posts/", "</loc>").into_iter().map(str::to_owned));
    }
    let public: Vec<String> = site.data.column(&format!("SELECT slug FROM posts WHERE {PUBLIC}")).await;
    assert_eq!(listed, public.into_iter().collect());
    for nothing in ["x.xml", "0", "-1.xml", "99999999999999999999.xml", "+1.xml"] {
        assert_eq!(site.get(&format!("/sitemaps/{nothing}")).await.status.as_u16(), 404, "{nothing}");
    }
}

#[tokio::test]
async fn the_feed_has_the_newest_posts_with_nothing_taken_for_markup() {
    let site = Site::seeded(60).await;
    site.data.change("UPDATE posts SET title = 'A <b> & \"c\"'").await;
    let feed = site.get("/feed.xml").await;
    assert_eq!((feed.status.as_u16(), feed.header("content-type")), (200, "application/atom+xml"));
    let newest = site.json("/api/v1/posts?per_page=20").await;
    let slugs: Vec<&str> = newest["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|post: &Value| post["slug"].as_str().unwrap())
        .collect();
    assert_eq!(between(&feed.body, "<link href=\"/api/v1/posts/", "\"/>"), slugs);
    assert!(feed.body.contains("<title>A &lt;b&gt; &amp; &quot;c&quot;</title>"), "{}", feed.body);
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    text.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}
