//! Decides what a write makes stale: every write raises the number of each tag it touches, in its own transaction.
//!
//! An answer that is kept remembers up to which number changes were known *before* what it was made from was read; it
//! is stale as soon as one of its tags has a greater one. Raising takes two statements, whatever the number of answers
//! that carry the tag.

use std::collections::BTreeSet;
use std::fmt;

use sea_query::{Expr, ExprTrait, OnConflict, Order, Query};

use crate::db::{Error, Reader, Row, Writer};

const TABLE: &str = "cache_tags";

/// Something that answers are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// Every list of posts: raised with each change of a post, its category, its author or its tags.
    Posts,
    /// One post.
    Post(i64),
    /// One category, and the lists of its posts.
    Category(i64),
    /// One author, and the lists of their posts.
    Author(i64),
    /// One tag, and the lists of its posts.
    Tag(i64),
    /// The order of lists by views.
    ViewOrder,
    /// Every category, and how many posts each has.
    Categories,
    /// Every tag.
    Tags,
    /// Every author, as the public sees them.
    Authors,
    /// The index of the sitemap.
    Sitemap,
    /// One part of the sitemap.
    SitemapPart(i64),
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Posts => f.write_str("posts"),
            Self::Post(id) => write!(f, "post:{id}"),
            Self::Category(id) => write!(f, "category:{id}"),
            Self::Author(id) => write!(f, "author:{id}"),
            Self::Tag(id) => write!(f, "tag:{id}"),
            Self::ViewOrder => f.write_str("view-order"),
            Self::Categories => f.write_str("categories"),
            Self::Tags => f.write_str("tags"),
            Self::Authors => f.write_str("authors"),
            Self::Sitemap => f.write_str("sitemap"),
            Self::SitemapPart(part) => write!(f, "sitemap:{part}"),
        }
    }
}

impl Tag {
    /// The tag that is written like this.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, id) = match text.split_once(':') {
            Some((name, id)) => (name, Some(id.parse().ok()?)),
            None => (text, None),
        };
        Some(match (name, id) {
            ("posts", None) => Self::Posts,
            ("post", Some(id)) => Self::Post(id),
            ("category", Some(id)) => Self::Category(id),
            ("author", Some(id)) => Self::Author(id),
            ("tag", Some(id)) => Self::Tag(id),
            ("view-order", None) => Self::ViewOrder,
            ("categories", None) => Self::Categories,
            ("tags", None) => Self::Tags,
            ("authors", None) => Self::Authors,
            ("sitemap", None) => Self::Sitemap,
            ("sitemap", Some(part)) => Self::SitemapPart(part),
            _ => return None,
        })
    }
}

/// The tag that is raised by every write: its number is the latest of all.
const CLOCK: &str = "*";
/// The most tags that are read at once.
const MOST: u64 = 1000;

/// Gives the next number to `tags`; to be called last in a transaction that changes what they stand for. Writers take
/// turns at the number, so that numbers become visible in their order: who has seen one has seen all before it.
///
/// # Errors
///
/// Those of the database.
pub async fn bump(writer: &mut Writer<'_>, tags: &BTreeSet<Tag>) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let one_more = Expr::col((TABLE, "version")).add(1_i64);
    let tick = Query::insert()
        .into_table(TABLE)
        .columns(["tag", "version"])
        .values_panic([Expr::val(CLOCK), Expr::val(1_i64)])
        .on_conflict(OnConflict::column("tag").value("version", one_more).to_owned())
        .returning_col("version")
        .take();
    let number: i64 = match writer.returning(&tick).await? {
        Some(row) => row.cells().take()?,
        None => return Ok(()),
    };
    let mut raise = Query::insert();
    raise.into_table(TABLE).columns(["tag", "version"]);
    for tag in tags {
        raise.values_panic([Expr::val(tag.to_string()), Expr::val(number)]);
    }
    raise.on_conflict(OnConflict::column("tag").update_column("version").to_owned());
    writer.execute(&raise).await?;
    Ok(())
}

/// What was raised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// Tags and their numbers.
    pub tags: Vec<(String, i64)>,
    /// All changes up to this number are among them.
    pub up_to: i64,
    /// There were too many tags to name them: everything may have changed.
    pub is_partial: bool,
}

impl Raised {
    /// Nothing, after this number.
    pub fn none(up_to: i64) -> Self {
        Self { up_to, ..Self::default() }
    }
}

/// What was raised last, and from which number on all of it is among that.
///
/// # Errors
///
/// Those of the database.
pub async fn recent(db: Reader<'_>) -> Result<(Raised, i64), Error> {
    let select = Query::select()
        .columns(["tag", "version"])
        .from(TABLE)
        .order_by("version", Order::Desc)
        .limit(MOST)
        .take();
    let tags = read(&db.all(&select).await?)?;
    let up_to = tags.iter().map(|(_, number)| *number).max().unwrap_or(0);
    // More may have been raised to the least of these numbers than is among them, and nothing to a greater one.
    let is_all = (tags.len() as u64) < MOST;
    let from = if is_all { 0 } else { tags.iter().map(|(_, number)| *number).min().unwrap_or(0) };
    Ok((Raised { tags, up_to, is_partial: false }, from))
}

fn read(rows: &[Row]) -> Result<Vec<(String, i64)>, Error> {
    let pair = |row: &Row| {
        let mut cells = row.cells();
        Ok((cells.take()?, cells.take()?))
    };
    rows.iter().map(pair).collect()
}

/// The number of the latest change; 0 before the first.
///
/// # Errors
///
/// Those of the database.
pub async fn latest(db: Reader<'_>) -> Result<i64, Error> {
    let clock = Query::select().column("version").from(TABLE).and_where(Expr::col("tag").eq(CLOCK)).take();
    match db.first(&clock).await? {
        Some(row) => row.cells().take(),
        None => Ok(0),
    }
}

/// What was raised after the number `seen`.
///
/// # Errors
///
/// Those of the database.
pub async fn since(db: Reader<'_>, seen: i64) -> Result<Raised, Error> {
    let select = Query::select()
        .columns(["tag", "version"])
        .from(TABLE)
        .and_where(Expr::col("version").gt(seen))
        .order_by("version", Order::Asc)
        .limit(MOST)
        .take();
    let tags = read(&db.all(&select).await?)?;
    if tags.len() as u64 == MOST {
        return Ok(Raised { tags: Vec::new(), up_to: latest(db).await?, is_partial: true });
    }
    let up_to = tags.iter().map(|(_, number)| *number).max().unwrap_or(seen);
    Ok(Raised { tags, up_to, is_partial: false })
}
