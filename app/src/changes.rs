//! Decides what a write makes stale: every write raises the number of each tag it touches, in its own transaction.
//!
//! An answer that is kept remembers the numbers of its tags, read *before* what it was made from; it is stale as soon
//! as one of them has grown. Raising a number is one statement, whatever the number of answers that carry the tag.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use sea_query::{Expr, ExprTrait, OnConflict, Query};

use crate::db::{Error, Reader, Writer};

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
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Posts => f.write_str("posts"),
            Self::Post(id) => write!(f, "post:{id}"),
            Self::Category(id) => write!(f, "category:{id}"),
            Self::Author(id) => write!(f, "author:{id}"),
            Self::Tag(id) => write!(f, "tag:{id}"),
        }
    }
}

/// Raises the numbers of `tags`; to be called last in a transaction that changes what they stand for. They are raised
/// in one order, so that two writers never wait for each other.
///
/// # Errors
///
/// Those of the database.
pub async fn bump(writer: &mut Writer<'_>, tags: &BTreeSet<Tag>) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut raise = Query::insert();
    raise.into_table(TABLE).columns(["tag", "version"]);
    for tag in tags {
        raise.values_panic([Expr::val(tag.to_string()), Expr::val(1_i64)]);
    }
    let one_more = Expr::col((TABLE, "version")).add(1_i64);
    raise.on_conflict(OnConflict::column("tag").value("version", one_more).to_owned());
    writer.execute(&raise).await?;
    Ok(())
}

/// The numbers of `tags`; those that are left out were never raised and count as 0.
///
/// # Errors
///
/// Those of the database.
pub async fn versions(db: Reader<'_>, tags: &BTreeSet<Tag>) -> Result<HashMap<String, i64>, Error> {
    let select = Query::select()
        .columns(["tag", "version"])
        .from(TABLE)
        .and_where(Expr::col("tag").is_in(tags.iter().map(ToString::to_string)))
        .take();
    let rows = db.all(&select).await?;
    let pair = |row: &crate::db::Row| {
        let mut cells = row.cells();
        Ok((cells.take()?, cells.take()?))
    };
    rows.iter().map(pair).collect()
}
