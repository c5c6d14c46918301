//! What v2 shows: pages by cursor, chosen fields, included relations.

use serde_json::json;

use crate::site::{Site, ids, names};

#[tokio::test]
async fn a_page_has_its_envelope() {
    let site = Site::seeded(60).await;
    let page = site.json("/api/v2/posts").await;
    assert_eq!(names(&page), ["data", "links", "meta"]);
    assert_eq!(names(&page["links"]), ["first", "last", "prev", "next"]);
    assert_eq!(names(&page["meta"]), ["path", "per_page", "next_cursor", "prev_cursor", "version", "cursor"]);
    assert_eq!(
        (page["meta"]["per_page"].as_u64(), page["meta"]["version"].as_str()),
        (Some(20), Some("2.0"))
    );
    assert_eq!(page["meta"]["cursor"]["next"], page["meta"]["next_cursor"]);
    assert_eq!(
        names(&page["data"][0]),
        [
            "id",
            "title",
            "slug",
            "excerpt",
            "content",
            "featured_image",
            "status",
            "view_count",
            "reading_time",
            "published_at",
            "created_at",
            "updated_at",
            "category",
            "author",
            "_links",
        ]
    );
    let cursor = page["meta"]["next_cursor"].as_str().unwrap();
    assert_eq!(page["links"]["next"], format!("/api/v2/posts?cursor={cursor}"));
}

#[tokio::test]
async fn fields_choose_what_is_shown() {
    let site = Site::seeded(40).await;
    let shown = |path: &'static str| {
        let site = &site;
        async move { site.json(path).await["data"][0].clone() }
    };
    assert_eq!(names(&shown("/api/v2/posts?fields=title,id").await), ["id", "title"]);
    let post = shown("/api/v2/posts?fields=id,author.name,tags.slug").await;
    assert_eq!(names(&post), ["id", "author", "tags"]);
    assert_eq!(names(&post["author"]), ["name"]);
    assert_eq!(names(&shown("/api/v2/posts?fields=id&include=category").await), ["id", "category"]);
    let links = &shown("/api/v2/posts?fields=_links,author.name").await["_links"];
    assert_eq!(names(links), ["self", "author"]);
    let whole = shown("/api/v2/posts?include=tags").await;
    assert!(whole["tags"].is_array() && whole.get("author").is_none() && whole["title"].is_string());
}

#[tokio::test]
async fn a_single_post_shows_its_tags_too() {
    let site = Site::seeded(40).await;
    let href = site.json("/api/v2/posts?limit=1").await["data"][0]["_links"]["self"]["href"].clone();
    let href = href.as_str().unwrap();
    let post = site.json(href).await;
    assert_eq!(names(&post), ["data", "meta"]);
    assert!(post["data"]["tags"].is_array() && post["data"]["author"]["name"].is_string());
    let part = site.json(&format!("{href}?fields=title")).await;
    assert_eq!(names(&part["data"]), ["title"]);
}

#[tokio::test]
async fn a_relation_costs_one_statement_and_only_when_it_is_shown() {
    // Defect 10: authors and their roles cost several statements per post. Defect 13: `fields` saved none.
    let site = Site::seeded(150).await;
    for query in
        ["fields=id,title", "include=category", "include=category,author,tags", "fields=id,author.name", ""]
    {
        let before = site.reads();
        site.json(&format!("/api/v2/posts?limit=100&{query}")).await;
        assert_eq!(site.reads() - before, 1, "{query}");
    }
}

#[tokio::test]
async fn a_cursor_that_is_not_of_this_list_is_a_clear_400() {
    // Defect 13: a bad cursor, or one from other filters, silently began again at page 1.
    let site = Site::seeded(60).await;
    let page = site.json("/api/v2/posts?limit=5&search=the").await;
    let good = page["meta"]["next_cursor"].as_str().unwrap();
    let tampered =
        format!("{}{}", &good[..10], if good.as_bytes()[10] == b'A' { "B" } else { "A" }) + &good[11..];
    for (query, message) in [
        (format!("search=the&cursor={tampered}"), "The cursor was not made by this site"),
        ("cursor=nonsense".to_owned(), "The cursor is from another version of this API"),
        ("cursor=!!".to_owned(), "The cursor is damaged"),
        (format!("cursor={}", "A".repeat(1600)), "The cursor is too long"),
        (format!("cursor={good}"), "The cursor belongs to other filters"),
        (
            format!("search=the&sort=view_count&cursor={good}"),
            "The cursor belongs to another sort or direction",
        ),
        (
            format!("search=the&direction=asc&cursor={good}"),
            "The cursor belongs to another sort or direction",
        ),
    ] {
        let answer = site.get(&format!("/api/v2/posts?limit=5&{query}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{query}: {}", answer.body);
        assert_eq!(answer.json(), json!({ "message": format!("{message}: start again without `cursor`.") }));
    }
    let other_size = site.json(&format!("/api/v2/posts?limit=9&search=the&fields=id&cursor={good}")).await;
    assert_eq!(ids(&other_size).len(), 9);
}

#[tokio::test]
async fn a_cursor_is_good_on_every_node_of_the_database() {
    let site = Site::seeded(60).await;
    let next = site.json("/api/v2/posts?limit=5").await["links"]["next"].clone();
    let other = cirque_app::state::AppState::open(&site.data.config, &[]).await.unwrap();
    let request = http::Request::get(next.as_str().unwrap()).body(axum::body::Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(cirque_app::router::router(&other), request).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}
