//! Decides what is written differently in each database; everything else is written once, in sea-query.

use sea_query::extension::postgres::PgExpr as _;
use sea_query::{
    Expr, ExprTrait, LikeExpr, Order, PostgresQueryBuilder, SelectStatement, SqliteQueryBuilder,
};
use sea_query_sqlx::{SqlxBinder, SqlxValues};
use sqlx::AssertSqlSafe;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The embedded one.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// Starts a transaction that will write in SQLite, which takes its write lock at once, so that a read inside cannot
/// be overtaken and then fail at the first write.
pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// Lets SQLite's writer keep 256 MiB of changed pages before they go to disk; for the life of the connection.
pub(super) const MUCH_MEMORY: &str = "PRAGMA cache_size = -262144";

/// Lets PostgreSQL work at a statement for as long as it takes; until the transaction ends.
pub(super) const MUCH_TIME: &str = "SET LOCAL statement_timeout = 0";

/// Makes PostgreSQL migrate for one at a time; until the transaction ends. The number is "cirque" in ASCII.
pub(super) const ONE_MIGRATES: &str = "SELECT pg_advisory_xact_lock(109304542754149)";

/// Whether PostgreSQL takes writes, its timeline and how far it has come in bytes. A replica shows its timeline by what the
/// primary wrote down; how far it has come is asked after what it shows, so a read after this shows as much at least.
pub(super) const WHERE_IT_IS: &str = "SELECT NOT r, \
     CASE WHEN r THEN coalesce((SELECT max(timeline) FROM database_timelines), 0) \
     ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END, \
     CASE WHEN r THEN pg_wal_lsn_diff(coalesce(pg_last_wal_replay_lsn(), '0/0'), '0/0') \
     ELSE pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') END::bigint \
     FROM (SELECT pg_is_in_recovery() AS r) AS it";

/// The same before the first migration.
pub(super) const WHERE_IT_IS_AT_FIRST: &str = "SELECT NOT pg_is_in_recovery(), 0::bigint, 0::bigint";

/// Writes down a timeline, for replicas to show that they follow it.
pub(super) const NOTE_TIMELINE: &str =
    "INSERT INTO database_timelines (timeline) VALUES ($1) ON CONFLICT DO NOTHING";

/// Lets PostgreSQL look every half second whether the client of a statement is still there. Since version 14; before, a
/// statement of a client that left goes on until statement_timeout.
pub(super) const NOTICE_GONE_CLIENTS: &str = "SET client_connection_check_interval = 500";
pub(super) const NOTICE_SINCE: u32 = 140_000;

/// Stands before a wildcard that is meant as a letter. PostgreSQL takes it for that unless told otherwise.
const ESCAPE: char = '\\';

/// Statements come from sea-query, which puts every value from outside into a parameter.
pub(super) fn built(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}

/// PostgreSQL gives out ids from a sequence, which does not see those written by hand.
pub(super) fn settle_ids(table: &'static str) -> String {
    format!(
        "SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}"
    )
}

/// Whether a statement failed because its table is not there: nothing was migrated yet.
pub(super) fn is_missing_table(error: &sqlx::Error) -> bool {
    const UNDEFINED_TABLE: &str = "42P01";
    error.as_database_error().is_some_and(|error| {
        error.message().starts_with("no such table") || error.code().as_deref() == Some(UNDEFINED_TABLE)
    })
}

impl Dialect {
    /// Renders a statement and its values.
    pub fn build(self, statement: &impl SqlxBinder) -> (String, SqlxValues) {
        match self {
            Self::Sqlite => statement.build_sqlx(SqliteQueryBuilder),
            Self::Postgres => statement.build_sqlx(PostgresQueryBuilder),
        }
    }

    /// These columns of a table as one cell, a JSON array; see [`super::Cells::row`].
    pub fn row<'c>(self, table: &str, columns: impl Iterator<Item = &'c str>) -> Expr {
        let array = self.array(table, columns);
        Expr::cust(match self {
            Self::Sqlite => array,
            Self::Postgres => format!("{array}::text"),
        })
    }

    /// As [`Dialect::row`], of all rows in one cell, ordered by the column `by`; see [`super::Cells::rows`].
    pub fn rows<'c>(self, table: &str, columns: impl Iterator<Item = &'c str>, by: &str) -> Expr {
        let array = self.array(table, columns);
        let order = format!("ORDER BY \"{table}\".\"{by}\"");
        Expr::cust(match self {
            Self::Sqlite => format!("json_group_array({array} {order})"),
            Self::Postgres => format!("json_agg({array} {order})::text"),
        })
    }

    fn array<'c>(self, table: &str, columns: impl Iterator<Item = &'c str>) -> String {
        let columns: Vec<String> = columns.map(|column| format!("\"{table}\".\"{column}\"")).collect();
        let columns = columns.join(", ");
        match self {
            Self::Sqlite => format!("json_array({columns})"),
            Self::Postgres => format!("json_build_array({columns})"),
        }
    }

    /// Whether a post has all words of `text`, or words that begin like them.
    pub fn has_words(self, text: &str) -> Expr {
        let query = self.words(text);
        match self {
            Self::Sqlite => Expr::cust_with_values(
                "\"posts\".\"id\" IN (SELECT rowid FROM posts_search WHERE posts_search MATCH ?)",
                [query],
            ),
            Self::Postgres => Expr::cust_with_values("search @@ to_tsquery('simple', $1)", [query]),
        }
    }

    /// How well a post fits the words of `text`, for ordering: the best first in ascending order. In SQLite the
    /// statement reads from `posts_search`, joined to the posts.
    pub fn rank(self, text: &str) -> Expr {
        match self {
            Self::Sqlite => Expr::cust("bm25(posts_search, 10.0, 4.0, 1.0)"),
            Self::Postgres => {
                Expr::cust_with_values("-ts_rank(search, to_tsquery('simple', $1))", [self.words(text)])
            }
        }
    }

    /// `text` as the full text search wants it: every word in quotes, so that nothing in it is an operator.
    pub fn words(self, text: &str) -> String {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        match self {
            Self::Sqlite => words.map(|word| format!("\"{word}\"*")).collect::<Vec<_>>().join(" "),
            Self::Postgres => words.map(|word| format!("'{word}':*")).collect::<Vec<_>>().join(" & "),
        }
    }

    /// Whether `column` contains `text`, ignoring case (in SQLite that of ASCII letters only); wildcards in `text`
    /// stand for themselves.
    pub fn contains(self, column: &'static str, text: &str) -> Expr {
        let mut pattern = String::with_capacity(text.len() + 2);
        pattern.push('%');
        for letter in text.chars() {
            if matches!(letter, '%' | '_' | ESCAPE) {
                pattern.push(ESCAPE);
            }
            pattern.push(letter);
        }
        pattern.push('%');
        match self {
            Self::Sqlite => Expr::col(column).like(LikeExpr::new(pattern).escape(ESCAPE)),
            Self::Postgres => Expr::col(column).ilike(pattern),
        }
    }
}

/// A statement that stands for one value.
pub fn subquery(select: SelectStatement) -> Expr {
    Expr::SubQuery(None, Box::new(select.into()))
}

/// The column that decides between equals in an order; its value is the id. See the first migration.
pub const TIE: &str = "tie";

/// The rows strictly behind `(value, id)` when ordered by `columns` in `order`.
///
/// SQLite and PostgreSQL seek to a row value in the index directly. MariaDB does not and will need the long form.
pub fn behind(
    columns: [&'static str; 2],
    value: impl Into<sea_query::Value>,
    id: i64,
    order: &Order,
) -> Expr {
    let place = Expr::tuple(columns.map(Expr::col));
    let bound = Expr::tuple([Expr::val(value), Expr::val(id)]);
    match order {
        Order::Desc => place.lt(bound),
        _ => place.gt(bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_query::Query;

    #[test]
    fn wildcards_in_a_search_stand_for_themselves() {
        for (dialect, expected) in [
            (Dialect::Sqlite, r#"SELECT "id" FROM "posts" WHERE "title" LIKE ? ESCAPE '\'"#),
            (Dialect::Postgres, r#"SELECT "id" FROM "posts" WHERE "title" ILIKE $1"#),
        ] {
            let contains = dialect.contains("title", r"50%_\");
            let select = Query::select().column("id").from("posts").and_where(contains).take();
            let (sql, values) = dialect.build(&select);
            assert_eq!(sql, expected);
            assert_eq!(values.0.0, [r"%50\%\_\\%".into()]);
        }
    }

    #[test]
    fn nothing_in_a_search_is_an_operator() {
        for (text, sqlite, postgres) in [
            ("granite tower", "\"granite\"* \"tower\"*", "'granite':* & 'tower':*"),
            (
                "a' OR (b & !c):* \"d",
                "\"a\"* \"OR\"* \"b\"* \"c\"* \"d\"*",
                "'a':* & 'OR':* & 'b':* & 'c':* & 'd':*",
            ),
            ("Łódź", "\"Łódź\"*", "'Łódź':*"),
            ("%_\\", "", ""),
        ] {
            assert_eq!(
                (Dialect::Sqlite.words(text), Dialect::Postgres.words(text)),
                (sqlite.into(), postgres.into())
            );
        }
    }

    #[test]
    fn a_place_in_a_list_is_one_row_value() {
        let behind = behind(["published_at", TIE], 7, 3, &Order::Desc);
        let select = Query::select().column("id").from("posts").and_where(behind).take();
        assert_eq!(
            select.to_string(SqliteQueryBuilder),
            r#"SELECT "id" FROM "posts" WHERE ("published_at", "tie") < (7, 3)"#
        );
    }
}
