//! Decides what is written differently in each database; everything else is written once, in sea-query.

use sea_query::{Expr, ExprTrait, LikeExpr, Order, SqliteQueryBuilder};
use sqlx::AssertSqlSafe;

/// Renders statements for the database in use.
pub const BUILDER: SqliteQueryBuilder = SqliteQueryBuilder;

/// Starts a transaction that will write. SQLite takes its write lock at once, so that a read inside cannot be
/// overtaken and then fail at the first write.
pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// Lets the writer keep 256 MiB of changed pages before they go to disk; for the life of the connection.
pub(super) const MUCH_MEMORY: &str = "PRAGMA cache_size = -262144";

/// Statements come from sea-query, which puts every value from outside into a parameter.
pub(super) fn built(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}

/// Whether a statement failed because its table is not there: nothing was migrated yet.
pub(super) fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().starts_with("no such table"))
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

/// Whether `column` contains `text`, ignoring the case of ASCII letters; wildcards in `text` stand for themselves.
pub fn contains(column: &'static str, text: &str) -> Expr {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Expr::col(column).like(LikeExpr::new(pattern).escape('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_query::Query;

    #[test]
    fn wildcards_in_a_search_stand_for_themselves() {
        let select = Query::select().column("id").from("posts").and_where(contains("title", r"50%_\")).take();
        let (sql, values) = select.build(BUILDER);
        assert_eq!(sql, r#"SELECT "id" FROM "posts" WHERE "title" LIKE ? ESCAPE '\'"#);
        assert_eq!(values.0, [r"%50\%\_\\%".into()]);
    }

    #[test]
    fn a_place_in_a_list_is_one_row_value() {
        let behind = behind(["published_at", TIE], 7, 3, &Order::Desc);
        let select = Query::select().column("id").from("posts").and_where(behind).take();
        assert_eq!(
            select.to_string(BUILDER),
            r#"SELECT "id" FROM "posts" WHERE ("published_at", "tie") < (7, 3)"#
        );
    }
}
