//! Decides what v1 shows: a post, and a page of posts by number.

use serde::Serialize;

use super::links::Links;
use super::relations::{Related, Wanted};
use super::{Post, Seo};
use crate::authors::Author;
use crate::categories::Category;
use crate::fields::{Fields, Part};
use crate::moment::Moment;
use crate::page::{Offset, Step, steps};
use crate::tags::Tag;

/// The path of the list.
pub const PATH: &str = "/api/v1/posts";

/// v1 shows everything.
pub fn wanted() -> Wanted {
    Wanted {
        category: Some(Fields::all::<Category>()),
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
            category: category.map(|resource| Part { resource, fields: Fields::all::<Category>() }),
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
                author: author.map(|author| links.author(&author.username)),
            },
        }
    }
}

/// One post.
#[derive(Debug, Serialize)]
pub struct Single<'p> {
    /// The post.
    pub data: V1Post<'p>,
}

/// A page of posts.
#[derive(Debug, Serialize)]
pub struct List<'p> {
    data: Vec<V1Post<'p>>,
    links: Ends,
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Ends {
    first: String,
    last: String,
    prev: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Meta {
    current_page: u64,
    from: Option<u64>,
    last_page: u64,
    links: Vec<PageLink>,
    path: String,
    per_page: u64,
    to: Option<u64>,
    total: u64,
}

#[derive(Debug, Serialize)]
struct PageLink {
    url: Option<String>,
    label: String,
    active: bool,
}

impl<'p> List<'p> {
    /// The page `offset` of a list of `total` posts that was asked for with the parameters `pairs`.
    pub fn new(
        data: Vec<V1Post<'p>>,
        offset: Offset,
        total: u64,
        pairs: &[(String, String)],
        links: Links<'_>,
    ) -> Self {
        let standing = offset.standing(total);
        let url = |page: u64| links.neighbour(PATH, pairs, "page", &page.to_string());
        let previous = standing.previous.map(url);
        let next = standing.next.map(url);
        let arrow = |url: &Option<String>, label: &str| PageLink {
            url: url.clone(),
            label: label.to_owned(),
            active: false,
        };
        let mut row = vec![arrow(&previous, "&laquo; Previous")];
        row.extend(steps(offset.number, standing.last_page).into_iter().map(|step| match step {
            Step::Page(page) => {
                PageLink { url: Some(url(page)), label: page.to_string(), active: page == offset.number }
            }
            Step::Gap => PageLink { url: None, label: "...".to_owned(), active: false },
        }));
        row.push(arrow(&next, "Next &raquo;"));
        Self {
            data,
            links: Ends { first: url(1), last: url(standing.last_page), prev: previous, next },
            meta: Meta {
                current_page: offset.number,
                from: standing.from,
                last_page: standing.last_page,
                links: row,
                path: links.path(PATH),
                per_page: offset.size,
                to: standing.to,
                total,
            },
        }
    }
}
