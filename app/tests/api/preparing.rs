//! Before a node starts: migrations, the seed, the check, and what is said when one is missing.

use std::time::Duration;

use cirque_app::check::{self, Verdict};
use cirque_app::serve::Node;
use cirque_app::state::AppState;
use cirque_app::{migrate, seed};
use cirque_shared::report::chain;

use crate::site::{Data, PUBLIC, Store};

#[tokio::test]
async fn migrating_creates_the_database_and_then_finds_nothing_to_do() {
    let data = Data::empty();
    let first = migrate::run(&data.config).await.unwrap();
    assert!(first.to_string().contains(": applied 0001_content 0002_"), "{first}");
    let again = migrate::run(&data.config).await.unwrap();
    assert!(again.applied.is_empty() && again.to_string().ends_with(" is up to date"), "{again}");
}

#[tokio::test]
async fn looking_at_migrations_changes_nothing() {
    let data = Data::empty();
    for _ in 0..2 {
        let before = migrate::standing(&data.config).await.unwrap();
        assert!(before.to_string().contains(": would apply 0001_content 0002_"), "{before}");
        assert_eq!(before.missing().count(), before.migrations.len());
    }
    if Store::under_test() == Store::Sqlite {
        assert!(!data.path().exists(), "not even an empty database was made");
    }
    let applied = migrate::run(&data.config).await.unwrap().applied;
    data.change("DELETE FROM migrations WHERE version = 11").await;
    let after = migrate::standing(&data.config).await.unwrap();
    assert!(after.to_string().ends_with(": would apply 0011_catalog"), "{after}");
    assert_eq!(after.migrations.iter().filter(|(_, is_applied)| *is_applied).count(), applied.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_migrate_at_once_take_turns_and_share_one_key() {
    let data = Data::empty();
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let config = data.config.clone();
            tokio::spawn(async move { migrate::run(&config).await })
        })
        .collect();
    let mut applied = 0;
    for run in runs {
        applied += run.await.unwrap().unwrap().applied.len();
    }
    let recorded = data.ids("SELECT count(*) FROM migrations").await;
    assert_eq!(recorded, [i64::try_from(applied).unwrap()], "each was applied once");
    assert_eq!(data.ids("SELECT CAST(length(value) AS BIGINT) FROM settings").await, [32, 32, 32]);
}

#[tokio::test]
async fn the_key_differs_between_databases() {
    let mut keys = Vec::new();
    for data in [Data::seeded(0).await, Data::seeded(0).await] {
        keys.push(data.column::<Vec<u8>>("SELECT value FROM settings ORDER BY name").await);
    }
    assert_ne!(keys[0], keys[1]);
}

// key: database.url
#[tokio::test]
async fn a_node_without_a_database_says_what_to_do() {
    let mut data = Data::empty();
    if Store::under_test() == Store::Postgres {
        let elsewhere = format!("{}_gone", data.config.database.location);
        data.config = data.config.with_database(&elsewhere).unwrap();
    }
    let error = AppState::open(&data.config, &[]).await.unwrap_err();
    let location = data.config.database.location.to_string();
    let advice = match Store::under_test() {
        Store::Sqlite => "run `cirque app migrate` to create it",
        Store::Postgres => "create it with PostgreSQL's `createdb`, then run `cirque app migrate`",
    };
    assert_eq!(chain(&error), format!("there is no database at {location}: {advice}"));
    assert!(Store::under_test() == Store::Postgres || !data.path().exists(), "nothing was created");
    let findings = check::run(&data.config).await;
    assert_eq!(
        findings.last().map(|finding| (finding.subject, finding.verdict)),
        Some(("database", Verdict::Bad))
    );
}

#[tokio::test]
async fn a_node_on_an_old_schema_says_what_to_do() {
    let data = Data::empty();
    if Store::under_test() == Store::Sqlite {
        std::fs::create_dir_all(data.path().parent().unwrap()).unwrap();
        std::fs::write(data.path(), "").unwrap();
    }
    let error = Node::start(&data.config).await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains("is not up to date (0001_content, 0002_"), "{text}");
    assert!(text.ends_with(" to apply): run `cirque app migrate`"), "{text}");
    let findings = check::run(&data.config).await;
    assert_eq!(findings[2].verdict, Verdict::Bad);
    assert!(findings[2].detail.starts_with("missing 0001_content, "), "{}", findings[2].detail);
    assert!(findings[2].detail.ends_with(": run `cirque app migrate`"), "{}", findings[2].detail);
    migrate::run(&data.config).await.unwrap();
    assert!(check::run(&data.config).await.iter().all(|finding| finding.verdict == Verdict::Good));
}

#[tokio::test]
async fn the_seed_is_the_same_for_the_same_number_and_sown_once() {
    let (one, two) = (Data::seeded(200).await, Data::seeded(200).await);
    let content = "SELECT id * 31 + length(title) * 7 + length(content) + coalesce(published_at, 0) FROM posts ORDER BY id";
    assert_eq!(one.ids(content).await, two.ids(content).await);
    assert_eq!(seed::run(&one.config, 50).await.unwrap(), seed::Outcome::AlreadyThere { posts: 200 });
    assert_eq!(one.ids("SELECT count(*) FROM posts").await, [200]);
}

#[tokio::test]
async fn the_seed_has_something_of_everything() {
    let data = Data::seeded(500).await;
    for (what, sql) in [
        ("published", format!("SELECT count(*) - 380 FROM posts WHERE {PUBLIC}")),
        ("drafts", "SELECT count(*) FROM posts WHERE status = 'draft' AND published_at IS NULL".to_owned()),
        (
            "scheduled",
            "SELECT count(*) FROM posts WHERE status = 'scheduled' AND scheduled_at > 4000000000000"
                .to_owned(),
        ),
        ("archived", "SELECT count(*) FROM posts WHERE status = 'archived'".to_owned()),
        ("deleted", "SELECT count(*) FROM posts WHERE deleted_at IS NOT NULL".to_owned()),
        (
            "non-ASCII titles",
            "SELECT count(*) FROM posts WHERE length(title) < octet_length(title)".to_owned(),
        ),
        (
            "other scripts",
            "SELECT count(*) FROM posts WHERE title LIKE '%山%' OR title LIKE '%заметки%'".to_owned(),
        ),
        ("short texts", "SELECT count(*) FROM posts WHERE length(content) < 400".to_owned()),
        ("long texts", "SELECT count(*) FROM posts WHERE length(content) > 2500".to_owned()),
        ("nested categories", "SELECT count(*) FROM categories WHERE parent_id IS NOT NULL".to_owned()),
        ("several authors", "SELECT count(DISTINCT author_id) - 5 FROM posts".to_owned()),
        ("tags", "SELECT count(*) FROM post_tags".to_owned()),
    ] {
        assert!(data.ids(&sql).await[0] > 0, "{what}");
    }
}

// key: database.busy_timeout
#[tokio::test]
async fn a_writer_waits_for_another_one_only_so_long() {
    let mut data = Data::empty();
    migrate::run(&data.config).await.unwrap();
    data.config.database.busy_timeout = Duration::from_millis(30);
    let mut other = data.locked_by_another().await;
    let error = seed::run(&data.config, 5).await.unwrap_err();
    assert!(format!("{error:#}").contains("locked by another writer for too long"), "{error:#}");
    data.config.database.busy_timeout = Duration::from_secs(20);
    let (seeded, ()) = tokio::join!(seed::run(&data.config, 5), async {
        other.run("ROLLBACK").await;
    });
    assert_eq!(seeded.unwrap().to_string(), "wrote 5 posts");
}

#[tokio::test]
async fn an_absurd_number_of_posts_is_refused() {
    let data = Data::seeded(0).await;
    let error = seed::run(&data.config, u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains("at most 10000000"), "{error}");
}
