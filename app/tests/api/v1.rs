//! What v1 shows: pages by number, filters, and posts.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::site::{Data, PUBLIC, Site, ids, names};

#[tokio::test]
async fn pages_far_in_and_at_the_end_have_their_posts_in_order() {
    let site = Site::seeded(1300).await;
    for (direction, sql) in [("desc", "DESC"), ("asc", "ASC")] {
        let all = site
            .data
            .ids(&format!("SELECT id FROM posts WHERE {PUBLIC} ORDER BY published_at {sql}, id {sql}"))
            .await;
        let last = all.len().div_ceil(50);
        assert!(last > 22, "the last pages are beyond what is counted off from the front: {last}");
        for page in [1, 2, 21, 22, last - 1, last] {
            let list =
                site.json(&format!("/api/v1/posts?per_page=50&direction={direction}&page={page}")).await;
            let there: Vec<i64> = all.iter().copied().skip((page - 1) * 50).take(50).collect();
            assert_eq!(ids(&list), there, "{direction}, page {page}");
        }
    }
}

#[tokio::test]
async fn a_page_has_its_envelope() {
    let site = Site::seeded(100).await;
    let total = site.data.ids(&format!("SELECT count(*) FROM posts WHERE {PUBLIC}")).await[0];
    let page = site.json("/api/v1/posts?page=2&per_page=10").await;
    assert_eq!(names(&page), ["data", "links", "meta"]);
    assert_eq!(names(&page["links"]), ["first", "last", "prev", "next"]);
    assert_eq!(
        names(&page["meta"]),
        ["current_page", "from", "last_page", "links", "path", "per_page", "to", "total"]
    );
    let meta = &page["meta"];
    assert_eq!(
        (meta["current_page"].as_i64(), meta["from"].as_i64(), meta["to"].as_i64(), meta["total"].as_i64()),
        (Some(2), Some(11), Some(20), Some(total))
    );
    assert_eq!(page["links"]["next"], "/api/v1/posts?per_page=10&page=3");
    assert_eq!(page["data"].as_array().unwrap().len(), 10);
    assert_eq!(
        names(&page["data"][0]),
        [
            "id",
            "title",
            "slug",
            "excerpt",
            "content",
            "featured_image",
            "type",
            "status",
            "is_featured",
            "is_sticky",
            "view_count",
            "reading_time",
            "published_at",
            "scheduled_at",
            "seo",
            "category",
            "author",
            "tags",
            "created_at",
            "updated_at",
            "links",
        ]
    );
    let beyond = site.json("/api/v1/posts?page=99").await;
    assert!(ids(&beyond).is_empty());
    assert!(beyond["meta"]["from"].is_null() && beyond["links"]["next"].is_null());
}

#[tokio::test]
async fn fifteen_posts_are_a_page_when_the_client_does_not_say() {
    let site = Site::seeded(40).await;
    assert_eq!(ids(&site.json("/api/v1/posts").await).len(), 15);
    assert_eq!(ids(&site.json("/api/v1/posts?per_page=&page=").await).len(), 15);
}

#[tokio::test]
async fn defect_01_every_link_of_an_answer_leads_somewhere() {
    // Links to routes that did not exist made every list a 500.
    let site = Site::seeded(60).await;
    let mut links = BTreeSet::new();
    for path in [
        "/api/v1/posts?per_page=20&page=2",
        "/api/v2/posts?include=category,author,tags",
        "/api/v1/categories",
        "/api/v1/tags",
        "/api/v2/categories?include=parent,children",
        "/api/v2/tags",
        "/api/v2/authors",
        "/api/v2",
    ] {
        collect(&site.json(path).await, &mut links);
    }
    let single = site.json("/api/v2/posts?limit=1").await["data"][0]["_links"]["self"]["href"].clone();
    collect(&site.json(single.as_str().unwrap()).await, &mut links);
    assert!(links.len() > 40, "{links:?}");
    for link in links {
        assert_eq!(site.get(&link).await.status.as_u16(), 200, "{link}");
    }
}

fn collect(json: &Value, links: &mut BTreeSet<String>) {
    match json {
        Value::String(text) if text.starts_with("/api/") => {
            links.insert(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|json| collect(json, links)),
        Value::Object(map) => map.values().for_each(|json| collect(json, links)),
        _ => {}
    }
}

#[tokio::test]
async fn defect_10_nothing_private_of_an_author_is_shown_and_nothing_unpublished_is_listed() {
    // Every post exposed its author's e-mail address, phone number and roles; a list of what waits for approval was
    // open to everybody.
    let site = Site::seeded(60).await;
    for path in
        ["/api/v1/posts?per_page=50", "/api/v2/posts?limit=100&include=author", "/api/v1/posts?author=ada"]
    {
        let answer = site.get(path).await;
        assert!(!answer.body.contains("@example.com") && !answer.body.contains("email"), "{path}");
    }
    let author = &site.json("/api/v1/posts").await["data"][0]["author"].clone();
    assert_eq!(names(author), ["id", "name", "username", "avatar", "bio"]);
    // Nor can it be found out by filtering.
    assert!(ids(&site.json("/api/v1/posts?author=ada@example.com").await).is_empty());
    for list in ["/api/v1/posts", "/api/v1/categories/towers/posts", "/api/v2/posts", "/api/search"] {
        let answer = site.get(&format!("{list}?status=draft")).await;
        let expected = if list == "/api/search" { 422 } else { 401 };
        assert_eq!(answer.status.as_u16(), expected, "{list}: {}", answer.body);
    }
}

#[tokio::test]
async fn only_what_is_published_is_public() {
    let site = Site::seeded(200).await;
    let listed = site.json("/api/v1/posts").await["meta"]["total"].as_i64().unwrap();
    assert_eq!(listed, site.data.ids(&format!("SELECT count(*) FROM posts WHERE {PUBLIC}")).await[0]);
    site.data.change("UPDATE posts SET published_at = 4070908800000 WHERE id = (SELECT min(id) FROM posts WHERE status = 'published')").await;
    for hidden in ["draft", "scheduled", "archived", "published"] {
        let hidden = format!(
            "SELECT id FROM posts WHERE status = '{hidden}' AND NOT coalesce({PUBLIC}, FALSE) LIMIT 1"
        );
        let id = site.data.ids(&hidden).await[0];
        let slug =
            site.data.column::<String>(&format!("SELECT slug FROM posts WHERE id = {id}")).await.remove(0);
        for version in ["v1", "v2"] {
            let answer = site.get(&format!("/api/{version}/posts/{slug}")).await;
            assert_eq!(answer.status.as_u16(), 404, "{slug}");
            assert_eq!(answer.body, r#"{"message":"There is no post at this address."}"#);
        }
    }
}

/// A word that begins with "tower", not one that ends with it.
const WITH_TOWERS: &str = "lower(' ' || title || ' ' || excerpt || ' ' || content) LIKE '% tower%' \
    OR lower(content) LIKE '%>tower%' OR lower(content) LIKE '%-tower%' OR lower(title) LIKE '%-tower%'";

#[tokio::test]
async fn filters_choose_and_combine() {
    let site = Site::seeded(300).await;
    for (query, condition) in [
        ("category_slug=towers", "category_id = (SELECT id FROM categories WHERE slug = 'towers')"),
        ("category_id=4", "category_id = 4"),
        ("author=chiyo", "author_id = 3"),
        ("author_id=3", "author_id = 3"),
        ("tag=weather", "id IN (SELECT post_id FROM post_tags WHERE tag_id = 15)"),
        ("tag=15", "id IN (SELECT post_id FROM post_tags WHERE tag_id = 15)"),
        ("is_featured=true", "is_featured"),
        ("is_featured=0", "NOT is_featured"),
        ("search=tower", WITH_TOWERS),
        ("search=Łódź", "title LIKE '%Łódź%' OR excerpt LIKE '%Łódź%' OR content LIKE '%Łódź%'"),
        ("tag=maps&author=ada", "author_id = 1 AND id IN (SELECT post_id FROM post_tags WHERE tag_id = 9)"),
        ("author_id=3&author=chiyo", "author_id = 3"),
        ("author_id=1&author=chiyo", "1 = 0"),
        ("category_slug=nowhere", "1 = 0"),
        ("tag=nothing", "1 = 0"),
    ] {
        let expected = site
            .data
            .ids(&format!(
                "SELECT id FROM posts WHERE {PUBLIC} AND ({condition}) ORDER BY published_at DESC, id DESC"
            ))
            .await;
        let query = query.replace('Ł', "%C5%81").replace('ó', "%C3%B3").replace('ź', "%C5%BA");
        let page = site.json(&format!("/api/v1/posts?per_page=50&{query}")).await;
        assert_eq!(page["meta"]["total"].as_u64(), Some(expected.len() as u64), "{query}");
        assert_eq!(ids(&page), expected[..expected.len().min(50)], "{query}");
    }
}

#[tokio::test]
async fn defect_17_wildcards_in_a_search_are_letters() {
    // Wildcards of LIKE were passed on.
    let site = Site::seeded(40).await;
    for wildcard in ["%25", "_", "%5C"] {
        let found = site.json(&format!("/api/v1/posts?search={wildcard}")).await;
        assert_eq!(found["meta"]["total"], 0, "{wildcard}");
    }
    site.data.change("UPDATE posts SET title = '100% granite_' WHERE id = (SELECT min(id) FROM posts WHERE status = 'published')").await;
    assert_eq!(site.json("/api/v1/posts?search=100%25%20granite_").await["meta"]["total"], 1);
}

#[tokio::test]
async fn a_page_takes_one_statement_whatever_its_size() {
    let site = Site::seeded(100).await;
    for (query, expected) in [
        ("per_page=1", 1),
        ("per_page=50", 1),
        ("per_page=1&page=20", 1),
        // Beyond the last: how many there are is asked for alone.
        ("per_page=50&page=9", 2),
    ] {
        let before = site.reads();
        let page = site.json(&format!("/api/v1/posts?{query}")).await;
        assert_eq!(site.reads() - before, expected, "{query}");
        assert!(page["meta"]["total"].as_u64() > Some(50), "{query}");
    }
}

// key: server.public_url
#[tokio::test]
async fn links_start_with_the_public_address() {
    let mut data = Data::seeded(20).await;
    data.config.server.public_url = "https://api.example.com".to_owned();
    let site = data.open().await;
    let page = site.json("/api/v1/posts?per_page=5").await;
    assert_eq!(page["links"]["next"], "https://api.example.com/api/v1/posts?per_page=5&page=2");
    assert_eq!(page["meta"]["path"], "https://api.example.com/api/v1/posts");
    let slug = page["data"][0]["slug"].as_str().unwrap();
    assert_eq!(page["data"][0]["links"]["self"], format!("https://api.example.com/api/v1/posts/{slug}"));
}
