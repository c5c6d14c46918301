//! A list is walked through the edge and its nodes without losing or repeating a post.

use cirque_tests::{Client, Cluster};
use serde_json::Value;

/// More than the seed makes; a walk that is longer goes round in circles.
const MOST_PAGES: usize = 1000;

/// Every published post by the offset pages of v1: id and time of publication, in order.
fn by_offset(client: &mut Client) -> Vec<(i64, String)> {
    let mut posts = Vec::new();
    for page in 1..MOST_PAGES {
        let body = client.get(&format!("/api/v1/posts?per_page=50&page={page}")).expect_status(200).json();
        posts.extend(posts_of(&body));
        if body["links"]["next"].is_null() {
            assert_eq!(body["meta"]["total"], posts.len(), "the total is the number of posts seen");
            return posts;
        }
    }
    panic!("more than {MOST_PAGES} pages");
}

fn posts_of(body: &Value) -> Vec<(i64, String)> {
    let rows = body["data"].as_array().unwrap_or_else(|| panic!("no data in {body}"));
    let post = |row: &Value| Some((row["id"].as_i64()?, row["published_at"].as_str()?.to_owned()));
    rows.iter().map(|row| post(row).unwrap_or_else(|| panic!("no post: {row}"))).collect()
}

fn page(client: &mut Client, limit: usize, cursor: Option<&str>) -> Value {
    let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let target = format!("/api/v2/posts?limit={limit}&fields=id,published_at{cursor}");
    client.get(&target).expect_status(200).json()
}

/// Follows one of the two cursors from a page to the end; each page's posts, in the order of the visit.
fn walk(client: &mut Client, limit: usize, first: Value, cursor: &str) -> (Vec<Vec<(i64, String)>>, Value) {
    let (mut pages, mut body) = (vec![posts_of(&first)], first);
    while let Some(next) = body["meta"][cursor].as_str().map(str::to_owned) {
        body = page(client, limit, Some(&next));
        pages.push(posts_of(&body));
        assert!(pages.len() < MOST_PAGES, "the walk does not end");
    }
    (pages, body)
}

#[test]
fn walking_forward_and_backward_visits_every_post_once_for_every_page_size() {
    let cluster = Cluster::builder().seed(60).start();
    let mut client = cluster.client();
    let expected = by_offset(&mut client);
    assert!(expected.len() > 20, "{} published posts", expected.len());
    let times: std::collections::BTreeSet<&String> = expected.iter().map(|(_, time)| time).collect();
    assert!(times.len() < expected.len(), "the seed has ties in published_at");

    for limit in 1..=7 {
        let first = page(&mut client, limit, None);
        let (pages, last) = walk(&mut client, limit, first, "next_cursor");
        assert_eq!(pages.concat(), expected, "forward, {limit} a page");
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit), "only the last page is short");

        let (mut pages, _) = walk(&mut client, limit, last, "prev_cursor");
        pages.reverse();
        assert_eq!(pages.concat(), expected, "backward, {limit} a page");
    }
}

#[test]
fn what_a_client_asks_wrongly_is_answered_clearly() {
    let cluster = Cluster::builder().nodes(1).start();
    let mut client = cluster.client();
    let cursor = page(&mut client, 3, None)["meta"]["next_cursor"].as_str().unwrap().to_owned();

    let middle = cursor.len() / 2;
    let other = if cursor.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let tampered = format!("{}{other}{}", &cursor[..middle], &cursor[middle + 1..]);
    for bad in [tampered.as_str(), "x", &cursor[1..], &"A".repeat(1600)] {
        let response = client.get(&format!("/api/v2/posts?cursor={bad}"));
        let body = response.expect_status(400).json();
        assert!(body["message"].as_str().is_some_and(|message| message.contains("cursor")), "{body}");
    }
    let of_another_list = client.get(&format!("/api/v2/posts?sort=view_count&cursor={cursor}"));
    of_another_list.expect_status(400);

    for query in ["fields=id,nonsense", "include=author,nonsense", "limit=0", "limit=101"] {
        let body = client.get(&format!("/api/v2/posts?{query}")).expect_status(422).json();
        assert!(body["errors"].is_object(), "{query}: {body}");
    }
}
