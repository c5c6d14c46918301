//! Walking a list by cursor meets every public post once, in order, whatever the page size.

use serde_json::Value;

use crate::site::{PUBLIC, Site, ids};

/// Follows `link` from page to page and collects the ids of each.
async fn walk(site: &Site, first: Value, link: &str) -> (Vec<Vec<i64>>, Value) {
    let mut page = first;
    let mut pages = vec![ids(&page)];
    while let Some(next) = page["links"][link].as_str() {
        page = site.json(next).await;
        pages.push(ids(&page));
        assert!(pages.len() < 200, "the walk does not end");
    }
    (pages, page)
}

#[tokio::test]
async fn defect_13_every_page_size_meets_each_post_once_in_order_forward_and_back_ties_included() {
    let site = Site::seeded(60).await;
    for (sort, direction) in [
        ("published_at", "desc"),
        ("published_at", "asc"),
        ("view_count", "desc"),
        ("view_count", "asc"),
        ("created_at", "desc"),
        ("created_at", "asc"),
    ] {
        let order = format!("{sort} {direction}, id {direction}");
        let expected = site.data.ids(&format!("SELECT id FROM posts WHERE {PUBLIC} ORDER BY {order}")).await;
        assert!(expected.len() > 40, "the seed has public posts");
        for limit in 1..=7 {
            let path = format!("/api/v2/posts?limit={limit}&sort={sort}&direction={direction}&fields=id");
            let first = site.json(&path).await;
            assert!(first["links"]["prev"].is_null(), "nothing is before the first page");
            let (pages, last) = walk(&site, first, "next").await;
            assert_eq!(pages.concat(), expected, "forward by {limit} in {order}");
            let (mut back, first) = walk(&site, last, "prev").await;
            back.reverse();
            assert_eq!(back.concat(), expected, "back by {limit} in {order}");
            assert_eq!(ids(&first), pages[0]);
        }
    }
}

#[tokio::test]
async fn the_seed_has_ties_to_walk_over() {
    let site = Site::seeded(60).await;
    for column in ["published_at", "view_count"] {
        let ties = format!("SELECT count(*) - count(DISTINCT {column}) FROM posts WHERE {PUBLIC}");
        assert!(site.data.ids(&ties).await[0] > 0, "{column}");
    }
}

#[tokio::test]
async fn defect_13_walking_by_number_meets_each_post_once_as_well() {
    // v1 sorted by view_count without a second criterion, v2 by any.
    let site = Site::seeded(60).await;
    for sort in ["published_at", "view_count", "created_at"] {
        let expected = site
            .data
            .ids(&format!("SELECT id FROM posts WHERE {PUBLIC} ORDER BY {sort} DESC, id DESC"))
            .await;
        let first = site.json(&format!("/api/v1/posts?per_page=4&sort={sort}")).await;
        let (pages, _) = walk(&site, first, "next").await;
        assert_eq!(pages.concat(), expected, "{sort}");
    }
}

#[tokio::test]
async fn posts_that_are_deleted_while_a_client_walks_break_nothing() {
    let site = Site::seeded(60).await;
    let all = ids(&site.json("/api/v2/posts?limit=100&fields=id").await);
    let first = site.json("/api/v2/posts?limit=5&fields=id").await;
    // The row the cursor was made from, and all behind it.
    site.data.change(&format!("UPDATE posts SET deleted_at = 1 WHERE id = {}", all[4])).await;
    let second = site.json(first["links"]["next"].as_str().unwrap()).await;
    assert_eq!(ids(&second), all[5..10]);
    let rest: Vec<String> = all[5..].iter().map(ToString::to_string).collect();
    site.data.change(&format!("UPDATE posts SET deleted_at = 1 WHERE id IN ({})", rest.join(","))).await;
    let beyond = site.json(first["links"]["next"].as_str().unwrap()).await;
    assert!(ids(&beyond).is_empty() && beyond["links"]["next"].is_null());
    let back = site.json(beyond["links"]["prev"].as_str().unwrap()).await;
    assert_eq!(ids(&back), all[..4]);
}
