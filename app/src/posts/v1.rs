//! Decides what v1 shows: a post, and a page of posts by number.

use serde::Serialize;

use super::relations::{Related, Wanted};
use super::{Post, Seo};
use crate::authors::Author;
use crate::categories::{self, Category};
use crate::fields::{Fields, Part};
use crate::links::Links;
use crate::moment::Moment;
use crate::tags::Tag;

/// The path of the list.
pub const PATH: &str = "/api/v1/posts";

/// v1 shows everything.
pub fn wanted() -> Wanted {
    Wanted {
        category: Some(Fields::first(categories::NESTED)),
        parent: None,
        author: Some(Fields::all::<Author>()),
        tags: Some(Fields::all::<Tag>()),
    }
}

/// A post as v1 shows it.
#[derive(Debug, Serialize)]
pub struct V1Post<'p> {
    id: i64,
    title: &'p str,
    slug: &'p str,
    excerpt: &'p str,
    content: &'p str,
    featured_image: Option<&'p str>,
    #[serde(rename = "type")]
    kind: &'p str,
    status: &'p str,
    is_featured: bool,
    is_sticky: bool,
    view_count: i64,
    reading_time: i64,
    published_at: Option<Moment>,
    scheduled_at: Option<Moment>,
    seo: &'p Seo,
    category: Option<Part<'p, Category>>,
    author: Option<Part<'p, Author>>,
    tags: Vec<Part<'p, Tag>>,
    created_at: Moment,
    updated_at: Moment,
    links: PostLinks,
}

#[derive(Debug, Serialize)]
struct PostLinks {
    #[serde(rename = "self")]
    this: String,
    category: Option<String>,
    author: Option<String>,
}

impl<'p> V1Post<'p> {
    /// Shows `post` with what belongs to it.
    pub fn new(post: &'p Post, related: &'p Related, links: Links<'_>) -> Self {
        let category = related.category(post);
        let author = related.author(post);
        Self {
            id: post.id,
            title: &post.title,
            slug: &post.slug,
            excerpt: &post.excerpt,
            content: &post.content,
            featured_image: post.featured_image.as_deref(),
            kind: &post.kind,
            status: &post.status,
            is_featured: post.is_featured,
            is_sticky: post.is_sticky,
            view_count: post.view_count,
            reading_time: post.reading_time,
            published_at: post.published_at.map(Moment),
            scheduled_at: post.scheduled_at.map(Moment),
            seo: &post.seo,
            category: category.map(|resource| Part { resource, fields: Fields::first(categories::NESTED) }),
            author: author.map(|resource| Part { resource, fields: Fields::all::<Author>() }),
            tags: related
                .tags(post)
                .iter()
                .map(|resource| Part { resource, fields: Fields::all::<Tag>() })
                .collect(),
            created_at: post.created_at,
            updated_at: post.updated_at,
            links: PostLinks {
                this: links.post("v1", &post.slug),
                category: category.map(|category| links.category("v1", &category.slug)),
                author: author.map(|author| links.author("v1", &author.username)),
            },
        }
    }
}
