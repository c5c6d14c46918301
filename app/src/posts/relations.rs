//! Decides how what belongs to posts is read: beside them, in one cell for each relation.

use std::collections::{BTreeSet, HashMap};

use sea_query::{Expr, ExprTrait, Query, SelectStatement};

use super::selection::Selection;
use super::{Post, TABLE};
use crate::authors::{self, Author};
use crate::categories::{self, Category};
use crate::changes::Tag as Change;
use crate::db::dialect::subquery;
use crate::db::{Cells, Dialect, Error, Reader};
use crate::fields::{Fields, Resource};
use crate::tags::{self, Tag};

/// What is read of each relation; `None` leaves it out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Of the category.
    pub category: Option<Fields>,
    /// Of the category above it.
    pub parent: Option<Fields>,
    /// Of the author.
    pub author: Option<Fields>,
    /// Of the tags.
    pub tags: Option<Fields>,
}

impl From<&Selection> for Wanted {
    fn from(selection: &Selection) -> Self {
        Self {
            category: selection.category_read(),
            parent: selection.parent,
            author: selection.author_read(),
            tags: selection.tags,
        }
    }
}

/// What belongs to some posts.
#[derive(Debug, Default)]
pub struct Related {
    categories: HashMap<i64, Category>,
    parents: HashMap<i64, Category>,
    authors: HashMap<i64, Author>,
    tags: HashMap<i64, Vec<Tag>>,
}

impl Related {
    /// The category of `post`.
    pub fn category(&self, post: &Post) -> Option<&Category> {
        self.categories.get(&post.category_id)
    }

    /// The category above `category`.
    pub fn parent(&self, category: &Category) -> Option<&Category> {
        self.parents.get(&category.parent_id?)
    }

    /// The author of `post`.
    pub fn author(&self, post: &Post) -> Option<&Author> {
        self.authors.get(&post.author_id)
    }

    /// The tags of `post`, by name.
    pub fn tags(&self, post: &Post) -> &[Tag] {
        self.tags.get(&post.id).map_or(&[], Vec::as_slice)
    }

    /// The tags of an answer that shows `posts` with what belongs to them.
    pub fn changes<'p>(&self, posts: impl IntoIterator<Item = &'p Post>) -> BTreeSet<Change> {
        let categories = self.categories.keys().chain(self.parents.keys()).copied().map(Change::Category);
        let authors = self.authors.keys().copied().map(Change::Author);
        let tags = self.tags.values().flatten().map(|tag| Change::Tag(tag.id));
        posts
            .into_iter()
            .map(|post| Change::Post(post.id))
            .chain(categories)
            .chain(authors)
            .chain(tags)
            .collect()
    }

    /// Reads what `wanted` names of what belongs to one post that has these tags, written already or not.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn of_one(db: Reader<'_>, post: &Post, tags: &[i64], wanted: Wanted) -> Result<Self, Error> {
        let mut related = Self::default();
        let select = Query::select().exprs(wanted.cells_of(Of::One(post, tags), db.dialect())).take();
        if let Some(row) = db.first(&select).await? {
            related.take(post, wanted, &mut row.cells())?;
        }
        Ok(related)
    }

    /// Reads what `wanted` names of what belongs to `posts`, which were read before.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn load(db: Reader<'_>, posts: &[Post], wanted: Wanted) -> Result<Self, Error> {
        let mut related = Self::default();
        let posts: HashMap<i64, &Post> = posts.iter().map(|post| (post.id, post)).collect();
        if posts.is_empty() {
            return Ok(related);
        }
        let select = Query::select()
            .column("id")
            .exprs(wanted.cells(db.dialect()))
            .from(TABLE)
            .and_where(Expr::col("id").is_in(posts.keys().copied()))
            .take();
        for row in db.all(&select).await? {
            let mut cells = row.cells();
            if let Some(post) = posts.get(&cells.take()?) {
                related.take(post, wanted, &mut cells)?;
            }
        }
        Ok(related)
    }

    /// Takes in what belongs to `post` from the cells that [`Wanted::cells`] asked for.
    ///
    /// # Errors
    ///
    /// When they are not there.
    pub fn take(&mut self, post: &Post, wanted: Wanted, cells: &mut Cells<'_>) -> Result<(), Error> {
        if let Some(fields) = wanted.category {
            take_once(&mut self.categories, post.category_id, cells, |id, row| {
                Category::read(id, fields, row)
            })?;
        }
        if let Some(fields) = wanted.parent
            && let Some(mut row) = cells.row()?
        {
            let id = row.take()?;
            self.parents.insert(id, Category::read(id, fields, &mut row)?);
        }
        if let Some(fields) = wanted.author {
            take_once(&mut self.authors, post.author_id, cells, |id, row| Author::read(id, fields, row))?;
        }
        if let Some(fields) = wanted.tags {
            let tags: Result<Vec<Tag>, Error> =
                cells.rows()?.iter_mut().map(|row| Tag::read(row.take()?, fields, row)).collect();
            self.tags.insert(post.id, tags?);
        }
        Ok(())
    }
}

/// Takes in the row in the next cell, or passes over it where it is known: the posts of a page have few categories and
/// authors between them.
fn take_once<R>(
    known: &mut HashMap<i64, R>,
    id: i64,
    cells: &mut Cells<'_>,
    read: impl FnOnce(i64, &mut Cells<'_>) -> Result<R, Error>,
) -> Result<(), Error> {
    if known.contains_key(&id) {
        cells.skip();
    } else if let Some(mut row) = cells.row()? {
        let id = row.take()?;
        known.insert(id, read(id, &mut row)?);
    }
    Ok(())
}

/// To which post something belongs.
#[derive(Clone, Copy, Debug)]
enum Of<'p> {
    /// To each that a statement reads.
    Each,
    /// To this one, which has these tags.
    One(&'p Post, &'p [i64]),
}

impl Of<'_> {
    fn category(self) -> Expr {
        match self {
            Self::Each => Expr::col((TABLE, "category_id")),
            Self::One(post, _) => Expr::val(post.category_id),
        }
    }

    fn author(self) -> Expr {
        match self {
            Self::Each => Expr::col((TABLE, "author_id")),
            Self::One(post, _) => Expr::val(post.author_id),
        }
    }

    /// The tags, joined to what says that they are a post's: a subquery in IN would be kept in a table of its own for
    /// each post.
    fn tags(self) -> SelectStatement {
        let mut select = Query::select();
        let id = Expr::col((tags::TABLE, "id"));
        match self {
            Self::Each => {
                let of_the_post = Expr::col(("post_tags", "post_id")).equals((TABLE, "id"));
                select
                    .from("post_tags")
                    .inner_join(tags::TABLE, id.equals(("post_tags", "tag_id")))
                    .and_where(of_the_post);
            }
            Self::One(_, tags) => {
                select.from(tags::TABLE).and_where(id.is_in(tags.iter().copied()));
            }
        }
        select
    }
}

impl Wanted {
    /// What a statement over posts reads beside each: one cell for each relation, read by [`Related::take`].
    pub fn cells(self, dialect: Dialect) -> impl Iterator<Item = Expr> {
        self.cells_of(Of::Each, dialect)
    }

    fn cells_of(self, of: Of<'_>, dialect: Dialect) -> impl Iterator<Item = Expr> {
        let above = || {
            let of_it = Expr::col(("below", "id")).eq(of.category());
            let above = Query::select()
                .column(("below", "parent_id"))
                .from_as(categories::TABLE, "below")
                .and_where(of_it)
                .take();
            subquery(above)
        };
        let category =
            self.category.map(|fields| by_id::<Category>(categories::TABLE, fields, of.category(), dialect));
        let parent = self.parent.map(|fields| by_id::<Category>(categories::TABLE, fields, above(), dialect));
        let author = self.author.map(|fields| by_id::<Author>(authors::TABLE, fields, of.author(), dialect));
        let tags = self.tags.map(|fields| {
            let rows = dialect.rows(tags::TABLE, columns::<Tag>(fields), "name");
            subquery(of.tags().expr(rows).take())
        });
        [category, parent, author, tags].into_iter().flatten()
    }
}

fn by_id<R: Resource>(table: &'static str, fields: Fields, id: Expr, dialect: Dialect) -> Expr {
    let row = dialect.row(table, columns::<R>(fields));
    subquery(Query::select().expr(row).from(table).and_where(Expr::col((table, "id")).eq(id)).take())
}

/// The id, and those of the other fields that are wanted.
fn columns<R: Resource>(fields: Fields) -> impl Iterator<Item = &'static str> {
    std::iter::once("id").chain(fields.iter().filter(|field| *field != 0).map(|field| R::FIELDS[field]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_query::{PostgresQueryBuilder, SqliteQueryBuilder};

    fn beside(wanted: Wanted, dialect: Dialect) -> String {
        let select = Query::select().exprs(wanted.cells(dialect)).from(TABLE).take();
        match dialect {
            Dialect::Sqlite => select.to_string(SqliteQueryBuilder),
            Dialect::Postgres => select.to_string(PostgresQueryBuilder),
        }
    }

    #[test]
    fn a_relation_reads_only_the_fields_that_are_wanted() {
        let name = Some(Fields::default().with(1));
        assert_eq!(
            beside(Wanted { author: name, ..Wanted::default() }, Dialect::Sqlite),
            "SELECT (SELECT json_array(\"authors\".\"id\", \"authors\".\"name\") FROM \"authors\" \
             WHERE \"authors\".\"id\" = \"posts\".\"author_id\") FROM \"posts\""
        );
        assert_eq!(
            beside(Wanted { tags: name, ..Wanted::default() }, Dialect::Postgres),
            "SELECT (SELECT json_agg(json_build_array(\"tags\".\"id\", \"tags\".\"name\") ORDER BY \"tags\".\"name\")::text \
             FROM \"post_tags\" INNER JOIN \"tags\" ON \"tags\".\"id\" = \"post_tags\".\"tag_id\" \
             WHERE \"post_tags\".\"post_id\" = \"posts\".\"id\") FROM \"posts\""
        );
    }

    #[test]
    fn nothing_is_read_of_what_is_not_wanted() {
        assert_eq!(Wanted::default().cells(Dialect::Sqlite).count(), 0);
    }
}
