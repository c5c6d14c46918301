//! Categories, tags and authors: listed, found by name, walked, and shown in part.

use serde_json::{Value, json};

use crate::site::{Data, PUBLIC, Site, ids, names};

#[tokio::test]
async fn v1_lists_categories_by_place_and_then_by_name() {
    let site = Site::seeded(5).await;
    let expected = site.data.ids("SELECT id FROM categories ORDER BY sort_order, name").await;
    let page = site.json("/api/v1/categories?per_page=50").await;
    assert_eq!(ids(&page), expected);
    assert_eq!(page["meta"]["total"].as_u64(), Some(expected.len() as u64));
    assert_eq!(
        page["data"][0]["links"]["posts"],
        "/api/v1/categories/places/posts".replace("places", slug(&page, 0))
    );
    let roots = site.json("/api/v1/categories?only_root=true&per_page=50").await;
    assert_eq!(
        ids(&roots),
        site.data.ids("SELECT id FROM categories WHERE parent_id IS NULL ORDER BY sort_order").await
    );
    let found = site.json("/api/v1/categories?search=tow").await;
    assert!(ids(&found).len() < expected.len() && !ids(&found).is_empty(), "{found}");
}

fn slug(page: &Value, at: usize) -> &str {
    page["data"][at]["slug"].as_str().unwrap()
}

#[tokio::test]
async fn a_category_is_shown_between_what_is_above_and_below_it() {
    let site = Site::seeded(5).await;
    let child = site.json("/api/v1/categories/towers").await["data"].clone();
    let parent = child["parent"]["slug"].as_str().unwrap();
    assert!(child["children"].as_array().unwrap().is_empty());
    let above = site.json(&format!("/api/v1/categories/{parent}")).await["data"].clone();
    assert!(above["parent"].is_null());
    let below: Vec<i64> =
        above["children"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert!(below.contains(&child["id"].as_i64().unwrap()));
    let nested = site.json("/api/v2/categories?fields=slug,parent.name,children.slug").await;
    assert_eq!(names(&nested["data"][0]), ["slug", "parent", "children"]);
    let towers = site.json("/api/v2/categories/towers?fields=id,parent.slug").await["data"].clone();
    assert_eq!(towers, json!({ "id": child["id"], "parent": { "slug": parent } }));
}

#[tokio::test]
async fn the_posts_of_a_category_are_those_that_the_filter_finds() {
    let site = Site::seeded(200).await;
    let below = site.json("/api/v1/categories/towers/posts?per_page=50&sort=view_count").await;
    let filtered = site.json("/api/v1/posts?category_slug=towers&per_page=50&sort=view_count").await;
    assert_eq!(below["data"], filtered["data"]);
    assert!(!ids(&below).is_empty());
    assert_eq!(below["meta"]["path"], "/api/v1/categories/towers/posts");
    let answer = site.get("/api/v1/categories/nowhere/posts").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (404, r#"{"message":"There is no category at this address."}"#)
    );
    assert_eq!(site.get("/api/v1/categories/towers/posts?category_id=1").await.status.as_u16(), 422);
}

#[tokio::test]
async fn tags_and_authors_are_found_by_their_names() {
    let site = Site::seeded(60).await;
    let tag = site.json("/api/v2/tags/weather").await["data"].clone();
    assert_eq!(names(&tag), ["id", "name", "slug", "type", "color", "_links"]);
    assert_eq!(tag["_links"]["posts"]["href"], "/api/v2/posts?tag=weather");
    for version in ["v1", "v2"] {
        let author = site.json(&format!("/api/{version}/authors/ada")).await["data"].clone();
        assert_eq!(author["username"], "ada");
        // Defect 10: nothing private.
        assert!(author.get("email").is_none());
        assert_eq!(site.get(&format!("/api/{version}/authors/nobody")).await.status.as_u16(), 404);
    }
    let posts = site.json("/api/v2/posts?author=ada&tag=weather&limit=100&fields=id").await;
    let sql = format!(
        "SELECT id FROM posts WHERE {PUBLIC} AND author_id = 1 AND id IN (SELECT post_id FROM post_tags WHERE tag_id = 15) ORDER BY published_at DESC, id DESC"
    );
    assert_eq!(ids(&posts), site.data.ids(&sql).await);
}

#[tokio::test]
async fn every_order_of_every_list_can_be_walked_there_and_back() {
    let site = Site::seeded(5).await;
    // Ties in what is sorted by.
    site.data.change("UPDATE tags SET name = 'Same' WHERE id % 3 = 0").await;
    for (list, table, orders) in [
        ("categories", "categories", ["sort_order", "name", "created_at"].as_slice()),
        ("tags", "tags", &["name", "created_at"]),
        ("authors", "authors", &["name", "created_at"]),
    ] {
        for order in orders {
            for (direction, sql) in [("asc", "ASC"), ("desc", "DESC")] {
                let expected =
                    site.data.ids(&format!("SELECT id FROM {table} ORDER BY {order} {sql}, id {sql}")).await;
                for limit in [1, 2, 5, 100] {
                    let first =
                        format!("/api/v2/{list}?sort={order}&direction={direction}&limit={limit}&fields=id");
                    let (there, last) = walk(&site, &first, "next").await;
                    assert_eq!(there.concat(), expected, "{first}");
                    let (mut back, _) = walk(&site, &last, "prev").await;
                    back.reverse();
                    assert_eq!(back.concat(), expected, "{first}");
                }
            }
        }
    }
}

async fn walk(site: &Site, first: &str, towards: &str) -> (Vec<Vec<i64>>, String) {
    let (mut pages, mut path) = (Vec::new(), first.to_owned());
    loop {
        let page = site.json(&path).await;
        pages.push(ids(&page));
        assert!(pages.len() < 1000, "the walk does not end");
        match page["links"][towards].as_str() {
            Some(next) => path = next.to_owned(),
            None => return (pages, path),
        }
    }
}

#[tokio::test]
async fn a_cursor_of_one_list_is_not_good_for_another() {
    let site = Site::seeded(5).await;
    let cursor = site.json("/api/v2/tags?limit=1").await["meta"]["next_cursor"].clone();
    let answer = site.get(&format!("/api/v2/authors?limit=1&cursor={}", cursor.as_str().unwrap())).await;
    assert_eq!(answer.status.as_u16(), 400, "{}", answer.body);
}

#[tokio::test]
async fn a_list_of_any_size_takes_the_same_statements() {
    let site = Site::seeded(100).await;
    for (path, expected) in [
        ("/api/v1/categories?per_page=50", 2),
        ("/api/v1/tags", 2),
        ("/api/v1/categories/towers", 3),
        ("/api/v1/authors/ada", 1),
        // The category, then its posts.
        ("/api/v1/categories/towers/posts?per_page=50", 2),
        ("/api/v2/categories?limit=100&include=parent,children", 3),
        ("/api/v2/categories?limit=100", 1),
        ("/api/v2/tags?limit=100", 1),
        ("/api/v2/authors?limit=100", 1),
        ("/api/v2/posts?limit=100&include=category.parent,author,tags", 1),
    ] {
        let before = site.reads();
        site.json(path).await;
        assert_eq!(site.reads() - before, expected, "{path}");
    }
}

#[tokio::test]
async fn what_is_nested_once_is_shown_in_posts() {
    let site = Site::seeded(60).await;
    let page = site.json("/api/v2/posts?include=category.parent&fields=id&limit=100").await;
    let parent = |row: &Value| row["category"]["parent"]["slug"].as_str().map(str::to_owned);
    let rows = page["data"].as_array().unwrap();
    assert!(rows.iter().any(|row| parent(row).is_some()) && rows.iter().any(|row| parent(row).is_none()));
    assert_eq!(site.get("/api/v2/posts?include=category.parent.parent").await.status.as_u16(), 422);
}

#[tokio::test]
async fn a_category_shows_how_many_public_posts_it_has() {
    let site = Site::seeded(200).await;
    let towers = site.json("/api/v1/categories/towers").await["data"].clone();
    let public = format!("SELECT count(*) FROM posts WHERE {PUBLIC} AND category_id = {}", towers["id"]);
    assert_eq!(towers["posts_count"].as_i64(), Some(site.data.ids(&public).await[0]));
    for field in
        ["image", "icon", "color", "sort_order", "is_featured", "is_active", "created_at", "updated_at"]
    {
        assert!(towers.get(field).is_some(), "{field}");
    }
    assert!(towers["parent"].get("posts_count").is_none(), "only what is asked for is counted");
    let counted = site.json("/api/v2/categories?fields=slug,posts_count&limit=100").await;
    let sum: i64 =
        counted["data"].as_array().unwrap().iter().map(|row| row["posts_count"].as_i64().unwrap()).sum();
    assert_eq!(sum, site.data.ids(&format!("SELECT count(*) FROM posts WHERE {PUBLIC}")).await[0]);
    site.data.change("UPDATE categories SET is_active = FALSE, is_featured = TRUE, color = '#336699' WHERE slug = 'towers'").await;
    for (query, expected) in
        [("is_active=false", 1), ("is_featured=true", 1), ("is_active=false&is_featured=false", 0)]
    {
        for list in ["/api/v1/categories", "/api/v2/categories"] {
            assert_eq!(ids(&site.json(&format!("{list}?{query}")).await).len(), expected, "{list} {query}");
        }
    }
}

#[tokio::test]
async fn a_changed_title_leaves_kept_categories_tags_and_authors_and_a_published_post_only_ends_the_categories()
 {
    let mut data = Data::seeded(20).await;
    data.config.cache.max_size = 1 << 20;
    let token = data.full_token("chiyo").await;
    let site = data.open().await;
    let kept = async |path: &str| site.get(path).await.header("x-cache") == "HIT";
    let paths = [
        "/api/v1/categories",
        "/api/v2/categories/towers",
        "/api/v2/tags",
        "/api/v1/authors/ada",
        "/api/v2/authors",
    ];
    for path in paths {
        site.json(path).await;
        assert!(kept(path).await, "{path}");
    }
    let body = json!({ "title": "Counted", "content": "<p>x</p>", "category_id": 4, "status": "published" });
    let id = site.call("POST", "/api/v1/posts", Some(&token), &body).await.json()["data"]["id"].clone();
    for path in paths {
        assert_eq!(kept(path).await, !path.contains("categories"), "{path}");
    }
    let title = json!({ "title": "Counted once" });
    assert_eq!(
        site.call("PATCH", &format!("/api/v1/posts/{id}"), Some(&token), &title).await.status.as_u16(),
        200
    );
    for path in paths {
        assert!(kept(path).await, "{path}");
    }
    for change in [json!({ "category_id": 5 }), json!({ "status": "archived" })] {
        site.call("PATCH", &format!("/api/v1/posts/{id}"), Some(&token), &change).await;
        assert!(!kept(paths[0]).await && kept(paths[0]).await, "{change}");
    }
}
