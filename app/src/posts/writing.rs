//! Decides which statements write posts; each write raises the numbers of what it makes stale, in its own transaction.

use std::collections::BTreeSet;

use sea_query::{Expr, ExprTrait, LockType, OnConflict, Order, Query, SelectStatement};

use super::publishing::Status;
use super::{Column, Columns, Post, TABLE, events_of, html, slug};
use crate::cause::Cause;
use crate::changes::{self, Tag};
use crate::db::{Dialect, Error, Reader, Writer};
use crate::events;
use crate::moment::Moment;
use crate::{categories, tags};

/// The most slugs that begin alike and are looked at.
const ALIKE: u64 = 10_000;

/// The post with this id as it is now, locked until the transaction ends; `None` when there is none, or not any more.
///
/// # Errors
///
/// Those of the database.
pub async fn held(writer: &mut Writer<'_>, id: i64) -> Result<Option<Post>, Error> {
    let row = writer.first(&by_id(id).lock(LockType::Update).take()).await?;
    row.map(|row| Post::read(&row, Columns::all())).transpose()
}

/// The post with this id as it is now; `None` when there is none, or not any more.
///
/// # Errors
///
/// Those of the database.
pub async fn current(db: Reader<'_>, id: i64) -> Result<Option<Post>, Error> {
    let row = db.first(&by_id(id)).await?;
    row.map(|row| Post::read(&row, Columns::all())).transpose()
}

fn by_id(id: i64) -> SelectStatement {
    Query::select()
        .columns(Columns::all().iter().map(Column::name))
        .from(TABLE)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("deleted_at").is_null())
        .take()
}

/// The ids of the tags of a post, smallest first.
///
/// # Errors
///
/// Those of the database.
pub async fn tags_of(writer: &mut Writer<'_>, post: i64) -> Result<Vec<i64>, Error> {
    let select = Query::select()
        .column("tag_id")
        .from("post_tags")
        .and_where(Expr::col("post_id").eq(post))
        .order_by("tag_id", Order::Asc)
        .take();
    writer.all(&select).await?.iter().map(|row| row.cells().take()).collect()
}

/// Whether there is such a category.
///
/// # Errors
///
/// Those of the database.
pub async fn has_category(writer: &mut Writer<'_>, id: i64) -> Result<bool, Error> {
    let select =
        Query::select().column("id").from(categories::TABLE).and_where(Expr::col("id").eq(id)).take();
    Ok(writer.first(&select).await?.is_some())
}

/// Those of `ids` that are no tags.
///
/// # Errors
///
/// Those of the database.
pub async fn unknown_tags(writer: &mut Writer<'_>, ids: &[i64]) -> Result<Vec<i64>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select =
        Query::select().column("id").from(tags::TABLE).and_where(Expr::col("id").is_in(ids.to_vec())).take();
    let rows = writer.all(&select).await?;
    let known: Result<Vec<i64>, Error> = rows.iter().map(|row| row.cells().take()).collect();
    let known = known?;
    Ok(ids.iter().copied().filter(|id| !known.contains(id)).collect())
}

/// The first slug that is free: `base` or `base` with a number. The post `except` does not count.
///
/// # Errors
///
/// Those of the database.
pub async fn free_slug(writer: &mut Writer<'_>, base: &str, except: Option<i64>) -> Result<String, Error> {
    // All slugs from `base-` up to what would follow the last of them, byte by byte.
    let alike = Expr::col("slug").gte(format!("{base}-")).and(Expr::col("slug").lt(format!("{base}.")));
    let mut select = Query::select();
    select
        .column("slug")
        .from(TABLE)
        .and_where(Expr::col("deleted_at").is_null())
        .and_where(Expr::col("slug").eq(base).or(alike))
        .limit(ALIKE);
    if let Some(id) = except {
        select.and_where(Expr::col("id").ne(id));
    }
    let rows = writer.all(&select).await?;
    let taken: Result<Vec<String>, Error> = rows.iter().map(|row| row.cells().take()).collect();
    Ok(slug::first_free(base, &taken?))
}

/// Everything of a post that a client decides, and what follows from it.
fn values(post: &Post, dialect: Dialect) -> Vec<(&'static str, Expr)> {
    // PostgreSQL takes words from HTML by itself.
    let words = match dialect {
        Dialect::Sqlite => Some(("words", html::text(&post.content).into())),
        Dialect::Postgres => None,
    };
    let values = [
        ("title", post.title.as_str().into()),
        ("slug", post.slug.as_str().into()),
        ("excerpt", post.excerpt.as_str().into()),
        ("content", post.content.as_str().into()),
        ("featured_image", post.featured_image.clone().into()),
        ("status", post.status.as_str().into()),
        ("type", post.kind.as_str().into()),
        ("is_featured", post.is_featured.into()),
        ("is_sticky", post.is_sticky.into()),
        ("reading_time", post.reading_time.into()),
        ("published_at", post.published_at.into()),
        ("scheduled_at", post.scheduled_at.into()),
        ("seo_title", post.seo.title.clone().into()),
        ("seo_description", post.seo.description.clone().into()),
        ("seo_keywords", post.seo.keywords.clone().into()),
        ("seo_image", post.seo.image.clone().into()),
        ("category_id", post.category_id.into()),
        ("updated_at", post.updated_at.0.into()),
    ];
    values.into_iter().chain(words).collect()
}

/// Writes a new post and gives it its id.
///
/// # Errors
///
/// [`Error::Refused`] when the slug was taken in between; those of the database.
pub async fn insert(
    writer: &mut Writer<'_>,
    post: &mut Post,
    tags: &[i64],
    cause: &Cause,
) -> Result<(), Error> {
    let (columns, exprs): (Vec<&'static str>, Vec<Expr>) = values(post, writer.dialect())
        .into_iter()
        .chain([("author_id", post.author_id.into()), ("created_at", post.created_at.0.into())])
        .unzip();
    let insert =
        Query::insert().into_table(TABLE).columns(columns).values_panic(exprs).returning_col("id").take();
    let row = writer.returning(&insert).await?.ok_or(Error::Statement(sqlx::Error::RowNotFound))?;
    post.id = row.cells().take()?;
    link(writer, post.id, tags).await?;
    forget_slug(writer, &post.slug).await?;
    if let Some(event) = events_of::changed(None, post) {
        events::record(writer, &event, cause, post.updated_at).await?;
    }
    changes::bump(writer, &touched_and_counted(&[(post, tags)], None, counted(post))).await
}

/// Writes a post that was `before`, with `tags` in place of `old_tags`.
///
/// # Errors
///
/// [`Error::Refused`] when the slug was taken in between; those of the database.
pub async fn update(
    writer: &mut Writer<'_>,
    (before, old_tags): (&Post, &[i64]),
    (post, tags): (&Post, &[i64]),
    cause: &Cause,
) -> Result<(), Error> {
    let update = Query::update()
        .table(TABLE)
        .values(values(post, writer.dialect()))
        .and_where(Expr::col("id").eq(post.id))
        .take();
    writer.execute(&update).await?;
    if tags != old_tags {
        let unlink =
            Query::delete().from_table("post_tags").and_where(Expr::col("post_id").eq(post.id)).take();
        writer.execute(&unlink).await?;
        link(writer, post.id, tags).await?;
    }
    if post.slug != before.slug {
        forget_slug(writer, &post.slug).await?;
        remember_slug(writer, before, post.updated_at).await?;
    }
    if let Some(event) = events_of::changed(Some(before), post) {
        events::record(writer, &event, cause, post.updated_at).await?;
    }
    let states = [(before, old_tags), (post, tags)];
    changes::bump(writer, &touched_and_counted(&states, counted(before), counted(post))).await
}

/// Takes a post away; its slug is free from then on.
///
/// # Errors
///
/// Those of the database.
pub async fn delete(
    writer: &mut Writer<'_>,
    (post, tags): (&Post, &[i64]),
    cause: &Cause,
    now: Moment,
) -> Result<(), Error> {
    let update = Query::update()
        .table(TABLE)
        .values([("deleted_at", now.0.into()), ("updated_at", now.0.into())])
        .and_where(Expr::col("id").eq(post.id))
        .take();
    writer.execute(&update).await?;
    if let Some(event) = events_of::deleted(post) {
        events::record(writer, &event, cause, now).await?;
    }
    changes::bump(writer, &touched_and_counted(&[(post, tags)], counted(post), None)).await
}

async fn link(writer: &mut Writer<'_>, post: i64, tags: &[i64]) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut insert = Query::insert();
    insert.into_table("post_tags").columns(["post_id", "tag_id"]);
    for tag in tags {
        insert.values_panic([post.into(), (*tag).into()]);
    }
    writer.execute(&insert).await.map(drop)
}

/// From now on `slug` is this post's, and leads nowhere else.
async fn forget_slug(writer: &mut Writer<'_>, slug: &str) -> Result<(), Error> {
    let delete = Query::delete().from_table("old_slugs").and_where(Expr::col("slug").eq(slug)).take();
    writer.execute(&delete).await.map(drop)
}

/// From now on the slug the post had leads to it.
async fn remember_slug(writer: &mut Writer<'_>, before: &Post, now: Moment) -> Result<(), Error> {
    let insert = Query::insert()
        .into_table("old_slugs")
        .columns(["slug", "post_id", "created_at"])
        .values_panic([before.slug.as_str().into(), before.id.into(), now.0.into()])
        .on_conflict(OnConflict::column("slug").update_columns(["post_id", "created_at"]).to_owned())
        .take();
    writer.execute(&insert).await.map(drop)
}

/// What answers may be made of, before and after.
fn touched(states: &[(&Post, &[i64])]) -> BTreeSet<Tag> {
    let mut touched = BTreeSet::from([Tag::Posts]);
    for (post, tags) in states {
        touched.extend([Tag::Post(post.id), Tag::Category(post.category_id), Tag::Author(post.author_id)]);
        touched.extend(tags.iter().copied().map(Tag::Tag));
    }
    touched
}

/// Where a post is counted: in its category, while it is public.
fn counted(post: &Post) -> Option<i64> {
    (post.status == "published").then_some(post.category_id)
}

/// The same, and that categories have other numbers of posts where a post was counted `before` and is `after`.
fn touched_and_counted(states: &[(&Post, &[i64])], before: Option<i64>, after: Option<i64>) -> BTreeSet<Tag> {
    let mut touched = touched(states);
    if before != after {
        touched.insert(Tag::Categories);
    }
    touched
}

/// Posts that are published in one go.
const BATCH: u64 = 50;

/// Publishes posts whose moment has come, at that moment, and says how many there were. Each is published once,
/// whatever the number of nodes that do this at the same time.
///
/// # Errors
///
/// Those of the database.
pub async fn publish_due(writer: &mut Writer<'_>, cause: &Cause, now: Moment) -> Result<usize, Error> {
    let due = Query::select()
        .columns(Columns::all().iter().map(Column::name))
        .from(TABLE)
        .and_where(Expr::col("status").eq("scheduled"))
        .and_where(Expr::col("scheduled_at").lte(now.0))
        .and_where(Expr::col("deleted_at").is_null())
        .order_by("scheduled_at", Order::Asc)
        .limit(BATCH)
        .lock_with_behavior(LockType::Update, sea_query::LockBehavior::SkipLocked)
        .take();
    let rows = writer.all(&due).await?;
    let posts = rows.iter().map(|row| Post::read(row, Columns::all()));
    let mut posts: Vec<Post> = posts.collect::<Result<_, Error>>()?;
    posts.sort_unstable_by_key(|post| post.id);
    let mut tags = BTreeSet::new();
    for post in &posts {
        let update = Query::update()
            .table(TABLE)
            .values([
                ("status", "published".into()),
                ("published_at", post.scheduled_at.into()),
                ("scheduled_at", Option::<i64>::None.into()),
                ("updated_at", now.0.into()),
            ])
            .and_where(Expr::col("id").eq(post.id))
            .and_where(Expr::col("status").eq("scheduled"))
            .take();
        writer.execute(&update).await?;
        let of_post = tags_of(writer, post.id).await?;
        tags.extend(touched_and_counted(&[(post, &of_post)], None, Some(post.category_id)));
        let public = Post { status: Status::Published.word().to_owned(), ..post.clone() };
        if let Some(event) = events_of::changed(Some(post), &public) {
            events::record(writer, &event, cause, now).await?;
        }
    }
    changes::bump(writer, &tags).await?;
    Ok(rows.len())
}
