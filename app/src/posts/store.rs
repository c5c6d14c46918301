//! Decides which statements read posts; what the public may see is written here and nowhere else.

mod count;

use std::ops::RangeInclusive;

use sea_query::{Cond, Expr, ExprTrait, Func, JoinType, Order as SqlOrder, Query, SelectStatement};

use super::filter::Filter;
use super::relations::{Related, Wanted};
use super::{Column, Columns, Order, Post, Sort, TABLE};
use crate::db::{Cells, Dialect, Error, Reader, dialect};
use crate::identity::Identity;
use crate::moment::Moment;
use crate::page::cursor::{Place, Rank};
use crate::page::keyset::{self, Page};
use crate::page::{Direction, Offset, Stretch};

/// One list, as a client asked for it.
#[derive(Clone, Debug)]
pub struct List {
    /// Which posts.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Which columns of them.
    pub columns: Columns,
    /// What is read of what belongs to them.
    pub wanted: Wanted,
}

/// Posts, and what belongs to them.
#[derive(Debug, Default)]
pub struct Found {
    /// The posts, in order.
    pub posts: Vec<Post>,
    /// What belongs to them, as far as it was wanted.
    pub related: Related,
}

impl Found {
    /// Takes in a post from the cells of its row, which may be followed by others.
    fn take(&mut self, list: &List, cells: &mut Cells<'_>) -> Result<(), Error> {
        let post = Post::take(cells, list.columns)?;
        self.related.take(&post, list.wanted, cells)?;
        self.posts.push(post);
        Ok(())
    }
}

/// A page that begins so far in is reached from the front and counts its list in the same statement.
const NEAR: u64 = 1_000;

/// The page `offset` and the number of posts in the whole list.
///
/// # Errors
///
/// Those of the database.
pub async fn page(db: Reader<'_>, list: &List, offset: Offset, now: Moment) -> Result<(Found, u64), Error> {
    let dialect = db.dialect();
    if offset.skipped() <= NEAR {
        let mut select = page_statement(list, offset.from_the_front(), now, dialect);
        select.expr(count::number(&list.filter, now, dialect));
        let (mut found, mut total) = (Found::default(), None);
        for row in db.all(&select).await? {
            let mut cells = row.cells();
            found.take(list, &mut cells)?;
            total = Some(cells.take::<i64>()?.unsigned_abs());
        }
        if let Some(total) = total {
            return Ok((found, total));
        }
    }
    let number = Query::select().expr(count::number(&list.filter, now, dialect)).take();
    let total = match db.first(&number).await? {
        Some(row) => row.cells().take::<i64>()?.unsigned_abs(),
        None => 0,
    };
    if offset.skipped() >= total {
        return Ok((Found::default(), total));
    }
    let mut found = Found::default();
    let stretch = offset.stretch(total);
    for row in db.all(&page_statement(list, stretch, now, dialect)).await? {
        found.take(list, &mut row.cells())?;
    }
    if stretch.is_at_an_end() && stretch.is_from_the_end {
        found.posts.reverse();
    }
    Ok((found, total))
}

/// The page of `limit` posts at `from`, or the first one, and what belongs to them.
///
/// # Errors
///
/// Those of the database.
pub async fn keyset_page(
    db: Reader<'_>,
    list: &List,
    limit: u64,
    from: Option<&Place>,
    now: Moment,
) -> Result<(Page<Post>, Related), Error> {
    let (statement, columns) = keyset_statement(list, limit, from, now, db.dialect());
    let mut related = Related::default();
    let mut ranked = Vec::new();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    for row in db.all(&statement).await? {
        let mut cells = row.cells();
        let post = Post::take(&mut cells, columns)?;
        let rank = cells.take()?;
        // The last one only tells that there are more.
        if ranked.len() < limit {
            related.take(&post, list.wanted, &mut cells)?;
        }
        ranked.push((post, rank));
    }
    let Order { direction, edition, .. } = list.order;
    let place = |(post, rank): &(Post, i64)| (Rank::Number(*rank), post.id);
    let page = keyset::assemble(ranked, limit, direction, from, edition, place);
    let rows = page.rows.into_iter().map(|(post, _)| post).collect();
    Ok((Page { rows, next: page.next, previous: page.previous }, related))
}

/// The post with this slug and what belongs to it, if the public or `viewer` may see it.
///
/// # Errors
///
/// Those of the database.
pub async fn by_slug(
    db: Reader<'_>,
    slug: &str,
    columns: Columns,
    wanted: Wanted,
    viewer: Option<&Identity>,
    now: Moment,
) -> Result<Option<(Post, Related)>, Error> {
    let mut select = selected(columns);
    select.exprs(wanted.cells(db.dialect())).and_where(Expr::col((TABLE, "slug")).eq(slug));
    seen_by(&mut select, viewer, now);
    let Some(row) = db.first(&select).await? else { return Ok(None) };
    let mut cells = row.cells();
    let post = Post::take(&mut cells, columns)?;
    let mut related = Related::default();
    related.take(&post, wanted, &mut cells)?;
    Ok(Some((post, related)))
}

/// The slug that the post which once had `slug` has now, if the public or `viewer` may see it.
///
/// # Errors
///
/// Those of the database.
pub async fn moved_to(
    db: Reader<'_>,
    slug: &str,
    viewer: Option<&Identity>,
    now: Moment,
) -> Result<Option<String>, Error> {
    let mut select = Query::select();
    select
        .column((TABLE, "slug"))
        .from(TABLE)
        .inner_join("old_slugs", Expr::col(("old_slugs", "post_id")).equals((TABLE, "id")))
        .and_where(Expr::col(("old_slugs", "slug")).eq(slug));
    seen_by(&mut select, viewer, now);
    db.first(&select).await?.map(|row| row.cells().take()).transpose()
}

/// Whether the moment of any scheduled post has come.
///
/// # Errors
///
/// Those of the database.
pub async fn is_any_due(db: Reader<'_>, now: Moment) -> Result<bool, Error> {
    let due = Query::select()
        .column("id")
        .from(TABLE)
        .and_where(Expr::col("status").eq("scheduled"))
        .and_where(Expr::col("scheduled_at").lte(now.0))
        .and_where(Expr::col("deleted_at").is_null())
        .limit(1)
        .take();
    Ok(db.first(&due).await?.is_some())
}

/// The public posts that fit the words of `text` best, at most `limit`.
///
/// # Errors
///
/// Those of the database.
pub async fn search(
    db: Reader<'_>,
    text: &str,
    columns: Columns,
    limit: u64,
    now: Moment,
) -> Result<Vec<Post>, Error> {
    if db.dialect().words(text).is_empty() {
        return Ok(Vec::new());
    }
    let rows = db.all(&search_statement(text, columns, limit, now, db.dialect())).await?;
    rows.iter().map(|row| Post::read(row, columns)).collect()
}

fn search_statement(
    text: &str,
    columns: Columns,
    limit: u64,
    now: Moment,
    dialect: Dialect,
) -> SelectStatement {
    let mut select = Query::select();
    select.columns(columns.iter().map(|column| (TABLE, column.name())));
    match dialect {
        Dialect::Sqlite => {
            let same = Expr::col((TABLE, "id")).eq(Expr::cust("posts_search.rowid"));
            // SQLite keeps to the order of a cross join: the words first, then their posts.
            select.from("posts_search").join(JoinType::CrossJoin, TABLE, Cond::all()).and_where(same);
            select.and_where(Expr::cust_with_values("posts_search MATCH ?", [dialect.words(text)]));
        }
        Dialect::Postgres => {
            select.from(TABLE).and_where(dialect.has_words(text));
        }
    }
    visible(&mut select, now);
    select
        .order_by_expr(dialect.rank(text), SqlOrder::Asc)
        .order_by((TABLE, "published_at"), SqlOrder::Desc)
        .order_by((TABLE, "id"), SqlOrder::Desc)
        .limit(limit);
    select
}

/// The largest id; 0 without posts.
///
/// # Errors
///
/// Those of the database.
pub async fn last_id(db: Reader<'_>) -> Result<i64, Error> {
    let last = Query::select().column("id").from(TABLE).order_by("id", SqlOrder::Desc).limit(1).take();
    match db.first(&last).await? {
        Some(row) => row.cells().take(),
        None => Ok(0),
    }
}

/// The public posts among these ids, in their order.
///
/// # Errors
///
/// Those of the database.
pub async fn in_range(
    db: Reader<'_>,
    ids: RangeInclusive<i64>,
    columns: Columns,
    now: Moment,
) -> Result<Vec<Post>, Error> {
    let mut select = selected(columns);
    select.and_where(Expr::col("id").between(*ids.start(), *ids.end()));
    visible(&mut select, now);
    select.order_by("id", SqlOrder::Asc);
    db.all(&select).await?.iter().map(|row| Post::read(row, columns)).collect()
}

/// How many public posts there are among these ids, and when one of them changed last.
///
/// # Errors
///
/// Those of the database.
pub async fn summary(db: Reader<'_>, ids: RangeInclusive<i64>, now: Moment) -> Result<(i64, Moment), Error> {
    let mut select = Query::select();
    select
        .expr(Func::count(Expr::col((TABLE, "id"))))
        .expr(Func::max(Expr::col((TABLE, "updated_at"))))
        .from(TABLE)
        .and_where(Expr::col("id").between(*ids.start(), *ids.end()));
    visible(&mut select, now);
    let Some(row) = db.first(&select).await? else { return Ok((0, now)) };
    let mut cells = row.cells();
    Ok((cells.take()?, cells.take::<Option<i64>>()?.map_or(now, Moment)))
}

/// What the public may see: published, its moment come, not deleted.
fn visible(select: &mut SelectStatement, now: Moment) {
    listed(select);
    select.and_where(Expr::col("published_at").lte(now.0));
}

/// What the public may see, and what `viewer` may see beside it.
fn seen_by(select: &mut SelectStatement, viewer: Option<&Identity>, now: Moment) {
    let viewer = viewer.filter(|viewer| viewer.sees(viewer.author));
    let Some(viewer) = viewer else { return visible(select, now) };
    select.and_where(Expr::col("deleted_at").is_null());
    if !viewer.role.is_over_all() {
        let public = Expr::col("status").eq("published").and(Expr::col("published_at").lte(now.0));
        select.and_where(public.or(Expr::col("author_id").eq(viewer.author)));
    }
}

/// What the public may see, or what is in the status that was asked for.
fn asked(select: &mut SelectStatement, filter: &Filter, now: Moment) {
    let Some(status) = filter.hidden else { return visible(select, now) };
    select.and_where(Expr::col("status").eq(status.word())).and_where(Expr::col("deleted_at").is_null());
}

/// Published and not deleted. Whether its moment has come is another question.
fn listed(select: &mut SelectStatement) {
    select.and_where(Expr::col("status").eq("published")).and_where(Expr::col("deleted_at").is_null());
}

fn selected(columns: Columns) -> SelectStatement {
    let mut select = Query::select();
    select.columns(columns.iter().map(Column::name)).from(TABLE);
    select
}

/// A page by number. What is left out is counted off in the index, from the end that is nearer, so that the last page
/// costs what the first costs; only the rows of the page are then looked up. Those of the first page and the last one come
/// in the order of the index, of the last one from its end, and are not put in order again.
fn page_statement(list: &List, stretch: Stretch, now: Moment, dialect: Dialect) -> SelectStatement {
    let direction = list.order.direction;
    let reading = if stretch.is_from_the_end { direction.reversed() } else { direction };
    let mut select = selected(list.columns);
    select.exprs(list.wanted.cells(dialect));
    if stretch.is_at_an_end() {
        asked(&mut select, &list.filter, now);
        list.filter.apply(&mut select, dialect);
        ordered(&mut select, list.order, reading);
        return select.limit(stretch.rows).take();
    }
    // The index has this copy of the id.
    let mut ids = Query::select().column(dialect::TIE).from(TABLE).take();
    asked(&mut ids, &list.filter, now);
    list.filter.apply(&mut ids, dialect);
    ordered(&mut ids, list.order, reading);
    ids.limit(stretch.rows).offset(stretch.skipped);
    select.and_where(Expr::col("id").in_subquery(ids));
    ordered(&mut select, list.order, direction);
    select
}

/// The statement, and its columns: those of the list with the id. What is sorted by comes behind them, then what belongs
/// to the posts.
fn keyset_statement(
    list: &List,
    limit: u64,
    from: Option<&Place>,
    now: Moment,
    dialect: Dialect,
) -> (SelectStatement, Columns) {
    let Order { sort, direction, .. } = list.order;
    let reading = keyset::reading_direction(direction, from);
    let mut columns = list.columns;
    columns.insert(Column::Id);
    let mut select = selected(columns);
    select.column(list.order.column()).exprs(list.wanted.cells(dialect));
    // Reading towards the past from a place in it, the moment has come for all that follow; saying so again
    // would give the database two upper ends to choose from, and it may begin at the wrong one.
    if from.is_some() && sort == Sort::PublishedAt && reading == Direction::Descending {
        listed(&mut select);
    } else {
        asked(&mut select, &list.filter, now);
    }
    if let Some(place) = from {
        let columns = [list.order.column(), dialect::TIE];
        select.and_where(dialect::behind(columns, place.rank.clone(), place.id, &sql_order(reading)));
    }
    list.filter.apply(&mut select, dialect);
    ordered(&mut select, list.order, reading);
    select.limit(limit + 1);
    (select, columns)
}

/// Both parts in one direction, so that one index serves the order.
fn ordered(select: &mut SelectStatement, order: Order, direction: Direction) {
    select.order_by(order.column(), sql_order(direction)).order_by(dialect::TIE, sql_order(direction));
}

fn sql_order(direction: Direction) -> SqlOrder {
    match direction {
        Direction::Ascending => SqlOrder::Asc,
        Direction::Descending => SqlOrder::Desc,
    }
}

#[cfg(test)]
mod tests;
