//! A million posts in PostgreSQL: what pages cost at the beginning and at the end, read from the server's own figures.

use std::fmt::Write as _;

use cirque_tests::postgres::Server;
use serde_json::Value;
use sqlx::PgConnection;

use super::*;
use crate::page::cursor::Way;

const POSTS: i64 = 1_000_000;
const LATER: Moment = Moment(2_000_000_000_000);

/// The migrations' own tables with a million posts. Their indexes are built behind the rows, as a restore does.
async fn filled() -> (Server, PgConnection) {
    // On a server of its own: what others do would keep the table from being tidied up.
    let database = Server::start(&[
        "autovacuum=off",
        "shared_buffers=256MB",
        "max_wal_size=4GB",
        "synchronous_commit=on",
    ]);
    let config = Config::load(None).unwrap().with_database(&database.url()).unwrap();
    crate::migrate::run(&config).await.unwrap();
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let indexes = "SELECT indexname::text, indexdef FROM pg_indexes WHERE tablename = 'posts' AND indexname <> 'posts_pkey'";
    let indexes: Vec<(String, String)> = sqlx::query_as(indexes).fetch_all(&mut connection).await.unwrap();
    let mut fill = "SET maintenance_work_mem = '256MB';".to_owned();
    for (name, _) in &indexes {
        let _ = writeln!(fill, "DROP INDEX {name};");
    }
    // A tenth of the posts share their moment with nine others, and views are shared by thousands.
    let _ = writeln!(
        fill,
        "INSERT INTO authors (id, name, username, email, created_at, updated_at)
         SELECT id, 'Author ' || id, 'author-' || id, 'author-' || id || '@example.com', 0, 0 FROM generate_series(1, 1000) AS id;
         INSERT INTO categories (id, name, slug, created_at, updated_at)
         SELECT id, 'Category ' || id, 'category-' || id, 0, 0 FROM generate_series(1, 40) AS id;
         INSERT INTO posts (id, title, slug, excerpt, content, status, view_count, views_even, views_odd, published_at, category_id, author_id, created_at, updated_at)
         SELECT id, 'Post ' || id, 'post-' || id, 'Short', '<p>Text</p>', 'published', id % 997, id % 997, id % 997,
                1000000000000 + (id / 10) * 60000, 1 + id % 40, 1 + id % 1000, 1000000000000 + (id * 7919 % {POSTS}) * 1000, 0
         FROM generate_series(1::bigint, {POSTS}) AS id;"
    );
    for (_, definition) in &indexes {
        let _ = writeln!(fill, "{definition};");
    }
    fill.push_str("VACUUM (ANALYZE) posts;");
    for statement in fill.split_inclusive(';') {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }
    let (pages, visible): (i32, i32) =
        sqlx::query_as("SELECT relpages, relallvisible FROM pg_class WHERE relname = 'posts'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    println!("{visible} of {pages} pages are known to hold only rows that all see");
    (database, connection)
}

/// What the server did for a statement.
#[derive(Debug)]
struct Cost {
    /// Its steps, without figures.
    plan: String,
    /// Pages of 8 KiB that were looked at.
    buffers: i64,
    /// Rows that were sorted.
    sorted: f64,
}

async fn cost(connection: &mut PgConnection, select: &SelectStatement) -> Cost {
    let (sql, values) = Dialect::Postgres.build(select);
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}");
    let row = sqlx::query_with(AssertSqlSafe(explain), values).fetch_one(connection).await.unwrap();
    let text: String = row.get_unchecked(0);
    let explained: Value = serde_json::from_str(&text).unwrap();
    let top = &explained[0]["Plan"];
    let buffers = |kind: &str| top[kind].as_i64().unwrap();
    let mut cost = Cost {
        plan: String::new(),
        buffers: buffers("Shared Hit Blocks") + buffers("Shared Read Blocks"),
        sorted: 0.0,
    };
    steps(top, &mut cost);
    cost
}

fn steps(node: &Value, cost: &mut Cost) {
    let kind = node["Node Type"].as_str().unwrap();
    let _ = write!(cost.plan, "{kind} {} > ", node["Index Name"].as_str().unwrap_or_default());
    if kind == "Sort" {
        cost.sorted = f64::max(cost.sorted, node["Actual Rows"].as_f64().unwrap());
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|node| steps(node, cost));
}

#[tokio::test]
async fn among_a_million_posts_the_page_at_the_end_costs_what_the_first_costs() {
    let (_database, mut connection) = filled().await;
    let columns = Columns::all();
    for (word, sort) in Sort::WORDS {
        for direction in [Direction::Descending, Direction::Ascending] {
            let order = Order { sort, direction, edition: 1 };
            let list = List { filter: Filter::default(), order, columns, wanted: Wanted::default() };
            let by_cursor = async |from: Option<&Place>, connection: &mut PgConnection| {
                let (select, _) = keyset_statement(&list, 20, from, LATER, Dialect::Postgres);
                cost(connection, &select).await
            };
            let first = by_cursor(None, &mut connection).await;
            // The places in the middle and before the last page.
            let (column, sql) =
                (order.column(), if direction == Direction::Descending { "DESC" } else { "ASC" });
            for (name, skipped) in [("middle", POSTS / 2), ("end", POSTS - 25)] {
                let place = format!(
                    "SELECT {column}, id FROM posts ORDER BY {column} {sql}, tie {sql} LIMIT 1 OFFSET {skipped}"
                );
                let (rank, id): (i64, i64) =
                    sqlx::query_as(AssertSqlSafe(place)).fetch_one(&mut connection).await.unwrap();
                for way in [Way::After, Way::Before] {
                    let from = Place { way, rank: Rank::Number(rank), id, edition: 1 };
                    let there = by_cursor(Some(&from), &mut connection).await;
                    println!(
                        "v2 {word} {sql} {name} {way:?}: {} pages, first {}",
                        there.buffers, first.buffers
                    );
                    assert!(there.buffers <= 2 * first.buffers, "{there:?} {first:?}");
                    assert!(there.plan.starts_with("Limit  > Index Scan posts_by_"), "{there:?}");
                    if way == Way::After {
                        assert_eq!(there.plan, first.plan);
                    } else {
                        assert_eq!(there.plan.replace("Backward ", ""), first.plan.replace("Backward ", ""));
                    }
                }
            }
            let by_number = async |number: i64, connection: &mut PgConnection| {
                let offset = Offset { number: number.unsigned_abs(), size: 20 };
                let select =
                    page_statement(&list, offset.stretch(POSTS.unsigned_abs()), LATER, Dialect::Postgres);
                cost(connection, &select).await
            };
            let first = by_number(1, &mut connection).await;
            let last = by_number(POSTS / 20, &mut connection).await;
            let middle = by_number(POSTS / 40, &mut connection).await;
            println!(
                "v1 {word} {sql}: last {} pages, middle {}, first {}",
                last.buffers, middle.buffers, first.buffers
            );
            assert_eq!(last.plan.replace("Backward ", ""), first.plan.replace("Backward ", ""));
            assert!(last.buffers <= 2 * first.buffers, "{last:?} {first:?}");
            // Half of the index is counted off, and no row that is not shown is looked at.
            assert!(middle.plan.contains("Index Only Scan posts_by_"), "{middle:?}");
            assert!(middle.sorted <= 20.0, "{middle:?}");
        }
    }
    by_filters(&mut connection, columns).await;
}

/// Lists of a category and of an author have an index of their own, and so has counting.
async fn by_filters(connection: &mut PgConnection, columns: Columns) {
    for (filter, index) in [
        (Filter { category: vec![Which::Id(7)], ..Filter::default() }, "posts_by_category"),
        (Filter { author: vec![Which::Id(7)], ..Filter::default() }, "posts_by_author"),
    ] {
        let order = Order { sort: Sort::PublishedAt, direction: Direction::Descending, edition: 0 };
        let list = List { filter, order, columns, wanted: Wanted::default() };
        let (select, _) = keyset_statement(&list, 20, None, LATER, Dialect::Postgres);
        let page = cost(connection, &select).await;
        assert!(page.plan.contains(&format!("Index Scan {index} ")) && page.sorted < 1.0, "{page:?}");
        let count = count::one_by_one(&list.filter, LATER, Dialect::Postgres);
        let count = cost(connection, &count).await;
        println!("{index}: a page {} pages, counting {}", page.buffers, count.buffers);
        assert!(count.plan.contains("Index Only Scan"), "{count:?}");
        let kept = Query::select().expr(count::number(&list.filter, LATER, Dialect::Postgres)).take();
        let kept = cost(connection, &kept).await;
        println!("{index}: the kept number {} pages", kept.buffers);
        assert!(kept.buffers <= 24, "{kept:?}");
    }
    let all = Query::select().expr(count::number(&Filter::default(), LATER, Dialect::Postgres)).take();
    let all = cost(connection, &all).await;
    println!("the kept number of all {} pages", all.buffers);
    assert!(all.buffers <= 24, "{all:?}");
}
