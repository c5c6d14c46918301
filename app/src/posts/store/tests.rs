//! The statements as the database sees them, and the indexes it answers them with.

use sea_query::SqliteQueryBuilder;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::*;
use crate::config::{Config, Location};
use crate::page::cursor::Way;
use crate::posts::Column;
use crate::posts::filter::Which;

const NOW: Moment = Moment(1000);

fn list(sort: Sort, direction: Direction, columns: &[Column]) -> List {
    let order = Order { sort, direction, edition: 0 };
    List { filter: Filter::default(), order, columns: Columns::of(columns), wanted: Wanted::default() }
}

fn newest(columns: &[Column]) -> List {
    list(Sort::PublishedAt, Direction::Descending, columns)
}

#[test]
fn fields_id_and_title_read_only_what_they_need() {
    let list = newest(&[Column::Id, Column::Title]);
    let (select, _) = keyset_statement(&list, 20, None, NOW, Dialect::Sqlite);
    assert_eq!(
        select.to_string(SqliteQueryBuilder),
        "SELECT \"id\", \"title\", \"published_at\" FROM \"posts\" WHERE \"status\" = 'published' \
         AND \"deleted_at\" IS NULL AND \"published_at\" <= 1000 \
         ORDER BY \"published_at\" DESC, \"tie\" DESC LIMIT 21"
    );
}

#[test]
fn a_later_page_seeks_to_its_place() {
    let list = newest(&[Column::Id]);
    let place = Place { way: Way::After, rank: Rank::Number(900), id: 7, edition: 0 };
    let (select, _) = keyset_statement(&list, 5, Some(&place), NOW, Dialect::Sqlite);
    assert_eq!(
        select.to_string(SqliteQueryBuilder),
        "SELECT \"id\", \"published_at\" FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
         AND (\"published_at\", \"tie\") < (900, 7) ORDER BY \"published_at\" DESC, \"tie\" DESC LIMIT 6"
    );
    let before = Place { way: Way::Before, ..place };
    let (select, _) = keyset_statement(&list, 5, Some(&before), NOW, Dialect::Sqlite);
    assert_eq!(
        select.to_string(SqliteQueryBuilder),
        "SELECT \"id\", \"published_at\" FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
         AND \"published_at\" <= 1000 AND (\"published_at\", \"tie\") > (900, 7) \
         ORDER BY \"published_at\" ASC, \"tie\" ASC LIMIT 6"
    );
}

#[test]
fn filters_by_name_are_looked_up_in_the_same_statement() {
    let filter = Filter {
        category: vec![Which::Name("towers".into())],
        tag: Some(Which::Id(3)),
        is_featured: Some(true),
        ..Filter::default()
    };
    assert_eq!(
        count::one_by_one(&filter, NOW, Dialect::Sqlite).to_string(SqliteQueryBuilder),
        "SELECT COUNT(*) FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
         AND \"published_at\" <= 1000 \
         AND \"category_id\" = (SELECT \"categories\".\"id\" FROM \"categories\" WHERE \"categories\".\"slug\" = 'towers') \
         AND EXISTS(SELECT 1 FROM \"post_tags\" WHERE \"post_tags\".\"post_id\" = \"posts\".\"id\" \
         AND \"post_tags\".\"tag_id\" = 3) AND \"is_featured\" = TRUE"
    );
}

#[test]
fn only_the_rows_of_a_page_by_number_are_looked_up() {
    let list = newest(&[Column::Title]);
    let select = page_statement(&list, Offset { number: 9, size: 10 }.stretch(95), NOW, Dialect::Sqlite);
    assert_eq!(
        select.to_string(SqliteQueryBuilder),
        "SELECT \"title\" FROM \"posts\" WHERE \"id\" IN (SELECT \"tie\" FROM \"posts\" WHERE \"status\" = 'published' \
         AND \"deleted_at\" IS NULL AND \"published_at\" <= 1000 ORDER BY \"published_at\" ASC, \"tie\" ASC \
         LIMIT 10 OFFSET 5) ORDER BY \"published_at\" DESC, \"tie\" DESC"
    );
}

#[test]
fn the_first_page_and_the_last_one_are_read_in_the_order_of_the_index() {
    let list = newest(&[Column::Title]);
    for (number, way, rows) in [(1, "DESC", 10), (10, "ASC", 5)] {
        let select = page_statement(&list, Offset { number, size: 10 }.stretch(95), NOW, Dialect::Sqlite);
        assert_eq!(
            select.to_string(SqliteQueryBuilder),
            format!(
                "SELECT \"title\" FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
                 AND \"published_at\" <= 1000 ORDER BY \"published_at\" {way}, \"tie\" {way} LIMIT {rows}"
            )
        );
    }
}

/// A migrated database without posts: plans do not depend on them.
async fn database() -> (tempfile::TempDir, SqliteConnection) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("plans.db").display());
    let config = Config::load(None).unwrap().with_database(&url).unwrap();
    crate::migrate::run(&config).await.unwrap();
    let Location::Sqlite(path) = config.database.location else { unreachable!("it was made above") };
    let connection = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    (folder, connection)
}

async fn plan(connection: &mut SqliteConnection, select: &SelectStatement) -> String {
    let (sql, values) = Dialect::Sqlite.build(select);
    let rows = sqlx::query_with(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), values);
    let rows = rows.fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("; ")
}

mod million;

#[tokio::test]
async fn every_page_of_every_order_begins_at_its_place_in_an_index() {
    let (_folder, mut connection) = database().await;
    let index = |sort| match sort {
        Sort::PublishedAt => "posts_by_date",
        Sort::ViewCount => "posts_by_views_even",
        Sort::CreatedAt => "posts_by_creation",
        Sort::Trending => "posts_by_trend_even",
    };
    for (_, sort) in Sort::WORDS {
        for direction in [Direction::Ascending, Direction::Descending] {
            for way in [None, Some(Way::After), Some(Way::Before)] {
                let from = way.map(|way| Place { way, rank: Rank::Number(900), id: 7, edition: 0 });
                let list = list(sort, direction, &Column::ALL);
                let (select, _) = keyset_statement(&list, 20, from.as_ref(), NOW, Dialect::Sqlite);
                let plan = plan(&mut connection, &select).await;
                assert!(plan.starts_with(&format!("SEARCH posts USING INDEX {} (", index(sort))), "{plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{plan}");
                let place = format!("({},tie)", list.order.column());
                assert_eq!(plan.contains(&place), from.is_some(), "{sort:?} {direction:?} {way:?}: {plan}");
            }
        }
    }
}

#[tokio::test]
async fn a_search_goes_through_the_index_of_words() {
    let (_folder, mut connection) = database().await;
    let search = search_statement("granite tower", Columns::of(&[Column::Id]), 10, NOW, Dialect::Sqlite);
    let found = plan(&mut connection, &search).await;
    assert!(found.starts_with("SCAN posts_search VIRTUAL TABLE INDEX"), "{found}");
    assert!(found.contains("SEARCH posts USING INTEGER PRIMARY KEY"), "{found}");
}

#[tokio::test]
async fn counting_and_filtering_stay_in_an_index() {
    let (_folder, mut connection) = database().await;
    let one = |which: &str| Some(Which::Name(which.into()));
    for (filter, index) in [
        (Filter::default(), "posts_by_date"),
        (Filter { category: vec![Which::Name("towers".into())], ..Filter::default() }, "posts_by_category"),
        (Filter { author: vec![Which::Name("ada".into())], ..Filter::default() }, "posts_by_author"),
        (Filter { tag: one("maps"), ..Filter::default() }, "posts_by_date"),
    ] {
        let count = plan(&mut connection, &count::one_by_one(&filter, NOW, Dialect::Sqlite)).await;
        assert!(count.starts_with(&format!("SEARCH posts USING COVERING INDEX {index} ")), "{count}");
        let list = List { filter, ..newest(&Column::ALL) };
        for number in [1, 3, 698, 700] {
            let select =
                page_statement(&list, Offset { number, size: 15 }.stretch(10_500), NOW, Dialect::Sqlite);
            let page = plan(&mut connection, &select).await;
            if [1, 700].contains(&number) {
                assert!(page.starts_with(&format!("SEARCH posts USING INDEX {index} ")), "{page}");
                assert!(!page.contains("TEMP B-TREE"), "{page}");
                continue;
            }
            assert!(page.starts_with("SEARCH posts USING INTEGER PRIMARY KEY (rowid=?); "), "{page}");
            // SQLite goes from the index to a row only when it needs something of it: not while it counts off.
            assert!(page.contains(&format!("SEARCH posts USING INDEX {index} ")), "{page}");
            // Only the rows of the page are sorted.
            assert!(page.ends_with("USE TEMP B-TREE FOR ORDER BY"), "{page}");
            assert_eq!(page.matches("TEMP B-TREE").count(), 1, "{page}");
        }
    }
}
