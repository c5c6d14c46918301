//! Decides how what belongs to posts is read: one statement per relation, whatever the number of posts.

use std::collections::{BTreeSet, HashMap};

use sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};

use super::Post;
use super::selection::Selection;
use crate::authors::{self, Author};
use crate::categories::{self, Category};
use crate::changes::Tag as Change;
use crate::db::{Error, Reader};
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
    pub fn changes(&self, posts: &[Post]) -> BTreeSet<Change> {
        let categories = self.categories.keys().chain(self.parents.keys()).copied().map(Change::Category);
        let authors = self.authors.keys().copied().map(Change::Author);
        let tags = self.tags.values().flatten().map(|tag| Change::Tag(tag.id));
        posts.iter().map(|post| Change::Post(post.id)).chain(categories).chain(authors).chain(tags).collect()
    }

    /// Reads what `wanted` names of what belongs to one post that has these tags, written already or not.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn of_one(db: Reader<'_>, post: &Post, tags: &[i64], wanted: Wanted) -> Result<Self, Error> {
        let without_tags = Wanted { tags: None, ..wanted };
        let mut related = Self::load(db, std::slice::from_ref(post), without_tags).await?;
        if let Some(fields) = wanted.tags.filter(|_| !tags.is_empty()) {
            let mut select = by_id::<Tag>(tags::TABLE, fields, tags.to_vec());
            select.order_by("name", Order::Asc);
            for row in db.all(&select).await? {
                let mut cells = row.cells();
                let id = cells.take()?;
                related.tags.entry(post.id).or_default().push(Tag::read(id, fields, &mut cells)?);
            }
        }
        Ok(related)
    }

    /// Reads what `wanted` names of what belongs to `posts`.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn load(db: Reader<'_>, posts: &[Post], wanted: Wanted) -> Result<Self, Error> {
        let mut related = Self::default();
        if posts.is_empty() {
            return Ok(related);
        }
        if let Some(fields) = wanted.category {
            let ids = distinct(posts.iter().map(|post| post.category_id));
            related.categories = categories(db, fields, ids).await?;
        }
        if let Some(fields) = wanted.parent {
            let ids = distinct(related.categories.values().filter_map(|category| category.parent_id));
            if !ids.is_empty() {
                related.parents = categories(db, fields, ids).await?;
            }
        }
        if let Some(fields) = wanted.author {
            let ids = distinct(posts.iter().map(|post| post.author_id));
            for row in db.all(&by_id::<Author>(authors::TABLE, fields, ids)).await? {
                let mut cells = row.cells();
                let id = cells.take()?;
                related.authors.insert(id, Author::read(id, fields, &mut cells)?);
            }
        }
        if let Some(fields) = wanted.tags {
            for row in db.all(&tags_of(fields, distinct(posts.iter().map(|post| post.id)))).await? {
                let mut cells = row.cells();
                let post: i64 = cells.take()?;
                let id = cells.take()?;
                related.tags.entry(post).or_default().push(Tag::read(id, fields, &mut cells)?);
            }
        }
        Ok(related)
    }
}

async fn categories(db: Reader<'_>, fields: Fields, ids: Vec<i64>) -> Result<HashMap<i64, Category>, Error> {
    let mut found = HashMap::with_capacity(ids.len());
    for row in db.all(&by_id::<Category>(categories::TABLE, fields, ids)).await? {
        let mut cells = row.cells();
        let id = cells.take()?;
        found.insert(id, Category::read(id, fields, &mut cells)?);
    }
    Ok(found)
}

fn distinct(ids: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The id, and those of the other fields that are wanted.
fn by_id<R: Resource>(table: &'static str, fields: Fields, ids: Vec<i64>) -> SelectStatement {
    let mut select = Query::select();
    select.column("id").from(table).and_where(Expr::col("id").is_in(ids));
    for field in fields.iter().filter(|field| *field != 0) {
        select.column(R::FIELDS[field]);
    }
    select
}

fn tags_of(fields: Fields, posts: Vec<i64>) -> SelectStatement {
    let mut select = Query::select();
    select
        .column(("post_tags", "post_id"))
        .column((tags::TABLE, "id"))
        .from("post_tags")
        .inner_join(tags::TABLE, Expr::col((tags::TABLE, "id")).equals(("post_tags", "tag_id")))
        .and_where(Expr::col(("post_tags", "post_id")).is_in(posts))
        .order_by((tags::TABLE, "name"), Order::Asc);
    for field in fields.iter().filter(|field| *field != 0) {
        select.column((tags::TABLE, Tag::FIELDS[field]));
    }
    select
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_query::SqliteQueryBuilder;

    #[test]
    fn a_relation_reads_only_the_fields_that_are_wanted() {
        let mut fields = Fields::default();
        fields.insert(1);
        assert_eq!(
            by_id::<Author>(authors::TABLE, fields, vec![3, 4]).to_string(SqliteQueryBuilder),
            r#"SELECT "id", "name" FROM "authors" WHERE "id" IN (3, 4)"#
        );
        assert_eq!(
            tags_of(fields, vec![1]).to_string(SqliteQueryBuilder),
            "SELECT \"post_tags\".\"post_id\", \"tags\".\"id\", \"tags\".\"name\" FROM \"post_tags\" \
             INNER JOIN \"tags\" ON \"tags\".\"id\" = \"post_tags\".\"tag_id\" \
             WHERE \"post_tags\".\"post_id\" IN (1) ORDER BY \"tags\".\"name\" ASC"
        );
    }
}
