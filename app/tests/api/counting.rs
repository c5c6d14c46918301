//! The kept numbers of posts: whatever is written, they are those of the posts.

use proptest::prelude::*;

use crate::site::{Data, PUBLIC, Site};

/// What happens to posts.
#[derive(Clone, Debug)]
enum Write {
    /// Some new ones, in this status.
    Insert { posts: i64, status: &'static str, author: i64, category: i64, is_deleted: bool },
    /// One gets another status.
    Status(i64, &'static str),
    /// One is deleted, as the API does it, or comes back.
    Delete(i64, bool),
    /// One gets another category and author.
    Move(i64, i64, i64),
    /// Several change at once.
    Sweep { category: i64, status: &'static str },
    /// Something else of one changes.
    Retitle(i64),
    /// Some are gone for good.
    Remove { from: i64, to: i64 },
}

fn write() -> impl Strategy<Value = Write> {
    let status = || prop_oneof![Just("published"), Just("draft"), Just("archived")];
    let post = || 1_i64..60;
    let (author, category) = (|| 1_i64..3, || 1_i64..6);
    prop_oneof![
        3 => (1_i64..5, status(), author(), category(), any::<bool>())
            .prop_map(|(posts, status, author, category, is_deleted)| Write::Insert { posts, status, author, category, is_deleted }),
        4 => (post(), status()).prop_map(|(post, status)| Write::Status(post, status)),
        3 => (post(), any::<bool>()).prop_map(|(post, is_deleted)| Write::Delete(post, is_deleted)),
        3 => (post(), author(), category()).prop_map(|(post, author, category)| Write::Move(post, author, category)),
        1 => (category(), status()).prop_map(|(category, status)| Write::Sweep { category, status }),
        1 => post().prop_map(Write::Retitle),
        1 => (post(), 0_i64..4).prop_map(|(from, more)| Write::Remove { from, to: from + more }),
    ]
}

impl Write {
    fn sql(&self, nth: usize) -> String {
        match self {
            Self::Insert { posts, status, author, category, is_deleted } => {
                let deleted_at = if *is_deleted { "1" } else { "NULL" };
                let rows: Vec<String> = (0..*posts)
                    .map(|row| {
                        let id = 1_000 + 10 * i64::try_from(nth).unwrap() + row;
                        format!("({id}, 't', 's-{id}', 'e', 'c', '{status}', 5, {deleted_at}, {category}, {author}, 1, 1)")
                    })
                    .collect();
                format!(
                    "INSERT INTO posts (id, title, slug, excerpt, content, status, published_at, deleted_at, category_id, \
                     author_id, created_at, updated_at) VALUES {}",
                    rows.join(", ")
                )
            }
            Self::Status(post, status) => {
                format!("UPDATE posts SET status = '{status}', published_at = 5 WHERE id = {post}")
            }
            Self::Delete(post, is_deleted) => {
                let deleted_at = if *is_deleted { "1" } else { "NULL" };
                format!("UPDATE posts SET deleted_at = {deleted_at} WHERE id = {post}")
            }
            Self::Move(post, author, category) => {
                format!("UPDATE posts SET author_id = {author}, category_id = {category} WHERE id = {post}")
            }
            Self::Sweep { category, status } => {
                format!(
                    "UPDATE posts SET status = '{status}', published_at = 5 WHERE category_id = {category}"
                )
            }
            Self::Retitle(post) => format!("UPDATE posts SET title = 'Another' WHERE id = {post}"),
            Self::Remove { from, to } => format!("DELETE FROM posts WHERE id BETWEEN {from} AND {to}"),
        }
    }
}

/// The numbers as kept, and as they are; none where there are no posts.
async fn kept_and_counted(data: &Data) -> [Vec<i64>; 2] {
    let listed = "FROM posts WHERE status = 'published' AND deleted_at IS NULL";
    let kept = "SELECT number FROM post_counts WHERE number <> 0 ORDER BY scope, id".to_owned();
    let counted = format!(
        "SELECT number FROM (SELECT 'all' AS scope, 0 AS id, count(*) AS number {listed} \
         UNION ALL SELECT 'author', author_id, count(*) {listed} GROUP BY author_id \
         UNION ALL SELECT 'category', category_id, count(*) {listed} GROUP BY category_id) AS counted \
         WHERE number <> 0 ORDER BY scope, id"
    );
    [data.ids(&kept).await, data.ids(&counted).await]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_kept_numbers_are_those_of_the_posts_whatever_is_written(writes in prop::collection::vec(write(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let data = Data::seeded(60).await;
            let [kept, counted] = kept_and_counted(&data).await;
            prop_assert_eq!(kept, counted, "after the seed");
            for (nth, write) in writes.iter().enumerate() {
                data.change(&write.sql(nth)).await;
                let [kept, counted] = kept_and_counted(&data).await;
                prop_assert_eq!(kept, counted, "after {:?}", write);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn the_number_of_a_list_is_that_of_its_posts_also_while_the_moment_of_some_has_not_come() {
    let site = Site::seeded(120).await;
    // Published in an hour, by a clock that is ahead.
    let later = site.state.clock.now().0 + 3_600_000;
    site.data
        .change(&format!("UPDATE posts SET published_at = {later} WHERE id % 5 = 0 AND status = 'published'"))
        .await;
    let now = site.state.clock.now().0;
    for (query, condition) in [
        ("", "1 = 1"),
        ("&category_id=2", "category_id = 2"),
        ("&category_slug=towers", "category_id = (SELECT id FROM categories WHERE slug = 'towers')"),
        (
            "&category_id=2&category_slug=towers",
            "category_id = 2 AND category_id = (SELECT id FROM categories WHERE slug = 'towers')",
        ),
        ("&author=ada", "author_id = (SELECT id FROM authors WHERE username = 'ada')"),
        (
            "&author=ada&category_id=2",
            "author_id = (SELECT id FROM authors WHERE username = 'ada') AND category_id = 2",
        ),
        ("&author=nobody", "1 = 0"),
        ("&category_id=999999", "1 = 0"),
        ("&is_featured=1", "is_featured"),
    ] {
        let public =
            format!("SELECT count(*) FROM posts WHERE {PUBLIC} AND published_at <= {now} AND {condition}");
        let expected = site.data.ids(&public).await[0];
        for page in [1, 40] {
            let page = site.json(&format!("/api/v1/posts?per_page=3&page={page}{query}")).await;
            assert_eq!(page["meta"]["total"].as_i64(), Some(expected), "{query}");
        }
    }
}
