//! Walking while others write: no post that was there throughout is met twice or left out, in any order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use crate::site::{PUBLIC, Site, ids};

/// What happens between two pages.
#[derive(Clone, Debug)]
enum Write {
    /// A new post, published at this moment and written at that one.
    Insert { published: i64, created: i64, category: i64 },
    /// One of the posts that were there is deleted.
    Delete { nth: usize },
    /// One is given another title.
    Retitle { nth: usize },
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
        2 => Just(Write::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_post_that_was_there_throughout_is_met_twice_or_left_out(
        sort in prop_oneof![Just("published_at"), Just("created_at")],
        is_descending: bool,
        limit in 1_usize..9,
        filter in prop_oneof![Just(("", "1 = 1")), Just(("&category_slug=towers", "category_id = (SELECT id FROM categories WHERE slug = 'towers')")), Just(("&author=ada", "author_id = 1"))],
        writes in proptest::collection::vec(write(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let direction = if is_descending { "desc" } else { "asc" };
        let first = format!("/api/v2/posts?sort={sort}&direction={direction}&limit={limit}{}", filter.0);
        runtime.block_on(there_and_back(&first, &format!("{sort} {direction}, id {direction}"), filter.1, &writes))?;
    }

    /// View counts change while a client walks, so a post may be met twice or left out; but a walk towards the least
    /// viewed always ends, and meets none twice when counts only grow.
    #[test]
    fn a_walk_by_views_ends_although_they_grow(limit in 1_usize..9, grows in proptest::collection::vec((0_usize..60, 1_i64..2000), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(by_views(limit, &grows))?;
    }
}

async fn step(site: &Site, nth: usize, all: &[i64], write: &Write, touched: &mut BTreeSet<i64>) {
    let post = |nth: usize| all[nth % all.len()];
    let sql = match write {
        Write::Pause => return,
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

async fn there_and_back(
    first: &str,
    order: &str,
    filter: &str,
    writes: &[Write],
) -> Result<(), TestCaseError> {
    let site = Site::seeded(60).await;
    let listed = format!("SELECT id FROM posts WHERE {PUBLIC} AND {filter} ORDER BY {order}");
    let before = site.data.ids(&listed).await;
    let all = site.data.ids("SELECT id FROM posts ORDER BY id").await;
    let mut touched = BTreeSet::new();
    let mut writes = writes.iter().enumerate();
    for link in ["next", "prev"] {
        let mut page: Value =
            if link == "next" { site.json(first).await } else { last_page(&site, first).await };
        let mut met = Vec::new();
        for _ in 0..500 {
            let mut rows = ids(&page);
            if link == "prev" {
                rows.reverse();
            }
            met.extend(rows);
            if let Some((nth, write)) = writes.next() {
                step(&site, nth, &all, write, &mut touched).await;
            }
            match page["links"][link].as_str() {
                Some(next) => page = site.json(next).await,
                None => break,
            }
        }
        prop_assert!(page["links"][link].is_null(), "the walk does not end");
        let mut throughout: Vec<i64> = before.iter().copied().filter(|id| !touched.contains(id)).collect();
        if link == "prev" {
            throughout.reverse();
        }
        let kept: Vec<i64> = met.iter().copied().filter(|id| throughout.contains(id)).collect();
        prop_assert_eq!(&kept, &throughout, "{} by {}", link, order);
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

async fn by_views(limit: usize, grows: &[(usize, i64)]) -> Result<(), TestCaseError> {
    let site = Site::seeded(60).await;
    let all = site.data.ids(&format!("SELECT id FROM posts WHERE {PUBLIC} ORDER BY id")).await;
    let mut page = site.json(&format!("/api/v2/posts?sort=view_count&limit={limit}&fields=id")).await;
    let mut met = ids(&page);
    let mut grows = grows.iter().cycle();
    while let Some(next) = page["links"]["next"].as_str() {
        let (nth, by) = grows.next().unwrap();
        let id = all[nth % all.len()];
        site.data.change(&format!("UPDATE posts SET view_count = view_count + {by} WHERE id = {id}")).await;
        page = site.json(next).await;
        met.extend(ids(&page));
        prop_assert!(met.len() <= all.len(), "the walk does not end");
    }
    prop_assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), met.len(), "none twice");
    Ok(())
}
