//! Decides how the posts of a list are counted: by the numbers that the table of posts keeps, or else one by one.

use sea_query::{Asterisk, Expr, ExprTrait, Func, Query, SelectStatement};

use super::{asked, listed};
use crate::counts::Scope;
use crate::db::Dialect;
use crate::db::dialect::subquery;
use crate::moment::Moment;
use crate::posts::TABLE;
use crate::posts::filter::{self, Filter};
use crate::{authors, categories};

/// How many posts `filter` is about. Where their number is kept this costs the same for any number of posts: the few
/// whose moment has not come are counted and taken off.
pub(super) fn number(filter: &Filter, now: Moment, dialect: Dialect) -> Expr {
    let Some((scope, id)) = scope(filter) else { return subquery(one_by_one(filter, now, dialect)) };
    let mut early = Query::select().expr(Func::count(Expr::col(Asterisk))).from(TABLE).take();
    listed(&mut early);
    early.and_where(Expr::col("published_at").gt(now.0));
    filter.apply(&mut early, dialect);
    scope.number(id).sub(subquery(early))
}

/// The same, counted.
pub(super) fn one_by_one(filter: &Filter, now: Moment, dialect: Dialect) -> SelectStatement {
    let mut select = Query::select();
    // Not of a column: PostgreSQL would look it up in every row.
    select.expr(Func::count(Expr::col(Asterisk))).from(TABLE);
    asked(&mut select, filter, now);
    filter.apply(&mut select, dialect);
    select
}

/// Which kept number is that of `filter`; `None` when none is.
fn scope(filter: &Filter) -> Option<(Scope, Expr)> {
    let Filter { search: None, category, tag: None, author, is_featured: None, hidden: None } = filter else {
        return None;
    };
    match (category.as_slice(), author.as_slice()) {
        ([], []) => Some((Scope::All, Expr::val(0))),
        ([category], []) => Some((Scope::Category, filter::id_of(category, categories::TABLE, "slug"))),
        ([], [author]) => Some((Scope::Author, filter::id_of(author, authors::TABLE, "username"))),
        _ => None,
    }
}
