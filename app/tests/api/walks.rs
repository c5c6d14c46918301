//! Walking while others write: no post that was there throughout is met twice or left out, in any order.

use std::collections::BTreeSet;
use std::time::Duration;

use cirque_app::posts::popularity;
use proptest::prelude::*;
use serde_json::Value;

use crate::site::{Data, PUBLIC, Site, ids};

/// What happens between two pages.
#[derive(Clone, Debug)]
enum Write {
    /// A new post, published at this moment and written at that one.
    Insert { published: i64, created: i64, category: i64 },
    /// One of the posts that were there is deleted.
    Delete { nth: usize },
    /// One is given another title.
    Retitle { nth: usize },
    /// One is viewed so often.
    View { nth: usize, often: i64 },
    /// Time passes, and the order of lists by views is made anew.
    Reorder,
    /// Nothing.
    Pause,
}

fn write() -> impl Strategy<Value = Write> {
    // Moments among those of the seed, and beyond both ends.
    let moment = || prop_oneof![1_500_000_000_000_i64..1_760_000_000_000, Just(1), Just(1_762_000_000_000)];
    prop_oneof![
        3 => (moment(), moment(), 1_i64..8).prop_map(|(published, created, category)| Write::Insert { published, created, category }),
        2 => (0_usize..60).prop_map(|nth| Write::Delete { nth }),
        1 => (0_usize..60).prop_map(|nth| Write::Retitle { nth }),
        4 => (0_usize..60, 1_i64..9000).prop_map(|(nth, often)| Write::View { nth, often }),
        1 => Just(Write::Reorder),
        2 => Just(Write::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_post_that_was_there_throughout_is_met_twice_or_left_out(
        sort in prop_oneof![1 => Just("published_at"), 1 => Just("created_at"), 2 => Just("view_count")],
        is_descending: bool,
        limit in 1_usize..9,
        filter in prop_oneof![Just(("", "1 = 1")), Just(("&category_slug=towers", "category_id = (SELECT id FROM categories WHERE slug = 'towers')")), Just(("&author=ada", "author_id = 1"))],
        writes in proptest::collection::vec(write(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let direction = if is_descending { "desc" } else { "asc" };
        let first = format!("/api/v2/posts?sort={sort}&direction={direction}&limit={limit}{}", filter.0);
        runtime.block_on(there_and_back(&first, (sort, direction), filter.1, &writes))?;
    }
}

async fn step(site: &Site, nth: usize, all: &[i64], write: &Write, touched: &mut BTreeSet<i64>) {
    let post = |nth: usize| all[nth % all.len()];
    let sql = match write {
        Write::Pause => return,
        Write::Reorder => {
            site.state.clock.put_forward(site.state.reorder_every);
            assert!(popularity::refresh(&site.state, site.state.clock.now()).await.unwrap());
            return;
        }
        Write::View { nth, often } => {
            format!("UPDATE posts SET view_count = view_count + {often} WHERE id = {}", post(*nth))
        }
        Write::Retitle { nth } => format!("UPDATE posts SET title = 'Another' WHERE id = {}", post(*nth)),
        Write::Delete { nth } => {
            touched.insert(post(*nth));
            format!("UPDATE posts SET deleted_at = 1 WHERE id = {}", post(*nth))
        }
        Write::Insert { published, created, category } => {
            let id = 10_000 + i64::try_from(nth).unwrap();
            touched.insert(id);
            format!(
                "INSERT INTO posts (id, title, slug, excerpt, content, status, published_at, category_id, author_id, \
                 created_at, updated_at) VALUES ({id}, 'New', 'new-{id}', '', '', 'published', {published}, \
                 {category}, 1, {created}, {created})"
            )
        }
    };
    site.data.change(&sql).await;
}

/// What is sorted by right now.
async fn column(site: &Site, sort: &'static str) -> &'static str {
    if sort != "view_count" {
        return sort;
    }
    let current = site.data.ids("SELECT current FROM view_editions").await[0];
    popularity::column(u32::try_from(current).unwrap())
}

async fn there_and_back(
    first: &str,
    (sort, direction): (&'static str, &str),
    filter: &str,
    writes: &[Write],
) -> Result<(), TestCaseError> {
    let site = Site::seeded(60).await;
    let all = site.data.ids("SELECT id FROM posts ORDER BY id").await;
    let mut writes = writes.iter().enumerate();
    for link in ["next", "prev"] {
        let column = column(&site, sort).await;
        let listed = format!(
            "SELECT id FROM posts WHERE {PUBLIC} AND {filter} ORDER BY {column} {direction}, id {direction}"
        );
        let before = site.data.ids(&listed).await;
        let mut touched = BTreeSet::new();
        let mut orders = 0;
        let mut page: Value =
            if link == "next" { site.json(first).await } else { last_page(&site, first).await };
        let mut met = Vec::new();
        let mut is_refused = false;
        for _ in 0..500 {
            let mut rows = ids(&page);
            if link == "prev" {
                rows.reverse();
            }
            met.extend(rows);
            if let Some((nth, write)) = writes.next() {
                step(&site, nth, &all, write, &mut touched).await;
                orders += usize::from(matches!(write, Write::Reorder));
            }
            let Some(next) = page["links"][link].as_str() else { break };
            let answer = site.get(next).await;
            // An order is kept until the next but one is made; then a walk in it is refused, and not led astray.
            is_refused = sort == "view_count" && orders > 1;
            prop_assert_eq!(answer.status.as_u16(), if is_refused { 400 } else { 200 }, "{}", answer.body);
            if is_refused {
                prop_assert!(answer.body.contains("not kept any more"), "{}", answer.body);
                break;
            }
            page = answer.json();
        }
        prop_assert!(is_refused || page["links"][link].is_null(), "the walk does not end");
        let mut throughout: Vec<i64> = before.iter().copied().filter(|id| !touched.contains(id)).collect();
        if link == "prev" {
            throughout.reverse();
        }
        let kept: Vec<i64> = met.iter().copied().filter(|id| throughout.contains(id)).collect();
        if is_refused {
            throughout.truncate(kept.len());
        }
        prop_assert_eq!(&kept, &throughout, "{} by {} {}", link, sort, direction);
        prop_assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), met.len(), "none twice");
    }
    Ok(())
}

async fn last_page(site: &Site, first: &str) -> Value {
    let mut page = site.json(first).await;
    while let Some(next) = page["links"]["next"].as_str() {
        page = site.json(next).await;
    }
    page
}

// key: posts.reorder_every
#[tokio::test]
async fn the_order_by_views_is_made_anew_at_intervals_by_one_node() {
    let mut data = Data::seeded(60).await;
    data.config.posts.reorder_every = Duration::from_secs(120);
    let site = data.open().await;
    let other = site.beside().await;
    let now = site.state.clock.now();
    let later = |seconds| now.after(Duration::from_secs(seconds));
    popularity::refresh(&site.state, now).await.unwrap();
    let least =
        site.data.ids(&format!("SELECT id FROM posts WHERE {PUBLIC} ORDER BY view_count, id LIMIT 1")).await
            [0];
    site.data.change(&format!("UPDATE posts SET view_count = 1000000 WHERE id = {least}")).await;
    let top = async || {
        let (v1, v2) = ("/api/v1/posts?per_page=1&", "/api/v2/posts?limit=1&");
        let mut top = Vec::new();
        for list in [v1, v2] {
            top.extend(ids(&site.json(&format!("{list}sort=view_count")).await));
        }
        top
    };
    assert!(!popularity::refresh(&other.state, later(119)).await.unwrap(), "it is not due");
    assert!(!top().await.contains(&least));
    assert!(popularity::refresh(&other.state, later(120)).await.unwrap());
    assert!(!popularity::refresh(&site.state, later(120)).await.unwrap(), "another node has done it");
    assert_eq!(top().await, [least, least]);
    // A node that fell over while it made the next one: the other goes on with it.
    site.data.change("UPDATE view_editions SET oldest = current, made_to = 30, made_at = 0").await;
    assert!(popularity::refresh(&site.state, later(121)).await.unwrap());
}

#[tokio::test]
async fn kept_lists_by_views_end_with_their_order() {
    let mut data = Data::seeded(60).await;
    data.config.cache.max_size = 1 << 20;
    let site = data.open().await;
    for path in ["/api/v2/posts?sort=view_count", "/api/v2/posts"] {
        site.json(path).await;
        assert_eq!(site.get(path).await.header("x-cache"), "HIT");
    }
    assert!(popularity::refresh(&site.state, site.state.clock.now()).await.unwrap());
    assert_eq!(site.get("/api/v2/posts?sort=view_count").await.header("x-cache"), "MISS");
    assert_eq!(site.get("/api/v2/posts").await.header("x-cache"), "HIT", "the others stay");
}
