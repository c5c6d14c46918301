//! Decides what v2 shows: the chosen part of a post, and a page of posts by cursor.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::links::Links;
use super::relations::Related;
use super::selection::Selection;
use super::{Column, Post};
use crate::fields::{Part, Resource};
use crate::moment::Moment;
use crate::page::cursor::{Key, Scan};
use crate::page::keyset::Page;

/// The path of the list.
pub const PATH: &str = "/api/v2/posts";

/// The version that answers name.
const VERSION: &str = "2.0";

/// A post as v2 shows it: the part that `selection` names.
#[derive(Clone, Copy, Debug)]
pub struct V2Post<'p> {
    /// The post.
    pub post: &'p Post,
    /// What belongs to the posts of the answer.
    pub related: &'p Related,
    /// What is shown.
    pub selection: &'p Selection,
    /// Makes links.
    pub links: Links<'p>,
}

impl V2Post<'_> {
    /// The column behind each of the fields.
    pub const COLUMNS: [Column; 12] = [
        Column::Id,
        Column::Title,
        Column::Slug,
        Column::Excerpt,
        Column::Content,
        Column::FeaturedImage,
        Column::Status,
        Column::ViewCount,
        Column::ReadingTime,
        Column::PublishedAt,
        Column::CreatedAt,
        Column::UpdatedAt,
    ];
}

impl Resource for V2Post<'_> {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "title",
        "slug",
        "excerpt",
        "content",
        "featured_image",
        "status",
        "view_count",
        "reading_time",
        "published_at",
        "created_at",
        "updated_at",
    ];

    fn write<M: SerializeMap>(&self, field: usize, map: &mut M) -> Result<(), M::Error> {
        let post = self.post;
        let name = Self::FIELDS[field];
        match Self::COLUMNS[field] {
            Column::Id => map.serialize_entry(name, &post.id),
            Column::Title => map.serialize_entry(name, &post.title),
            Column::Slug => map.serialize_entry(name, &post.slug),
            Column::Excerpt => map.serialize_entry(name, &post.excerpt),
            Column::Content => map.serialize_entry(name, &post.content),
            Column::FeaturedImage => map.serialize_entry(name, &post.featured_image),
            Column::Status => map.serialize_entry(name, &post.status),
            Column::ViewCount => map.serialize_entry(name, &post.view_count),
            Column::ReadingTime => map.serialize_entry(name, &post.reading_time),
            Column::PublishedAt => map.serialize_entry(name, &post.published_at.map(Moment)),
            Column::CreatedAt => map.serialize_entry(name, &post.created_at),
            Column::UpdatedAt => map.serialize_entry(name, &post.updated_at),
            // Not among the columns of v2.
            _ => Ok(()),
        }
    }
}

impl Serialize for V2Post<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let selection = self.selection;
        let category = selection.category.map(|fields| (self.related.category(self.post), fields));
        let author = selection.author.map(|fields| (self.related.author(self.post), fields));
        let mut map = serializer.serialize_map(None)?;
        for field in selection.fields.iter() {
            self.write(field, &mut map)?;
        }
        if let Some((category, fields)) = category {
            map.serialize_entry("category", &category.map(|resource| Part { resource, fields }))?;
        }
        if let Some((author, fields)) = author {
            map.serialize_entry("author", &author.map(|resource| Part { resource, fields }))?;
        }
        if let Some(fields) = selection.tags {
            let tags: Vec<_> =
                self.related.tags(self.post).iter().map(|resource| Part { resource, fields }).collect();
            map.serialize_entry("tags", &tags)?;
        }
        if selection.links {
            let links = PostLinks {
                this: Link { href: self.links.post("v2", &self.post.slug) },
                category: category
                    .and_then(|(category, _)| category)
                    .map(|category| Link { href: self.links.category("v2", &category.slug) }),
                author: author
                    .and_then(|(author, _)| author)
                    .map(|author| Link { href: self.links.author(&author.username) }),
            };
            map.serialize_entry("_links", &links)?;
        }
        map.end()
    }
}

#[derive(Debug, Serialize)]
struct PostLinks {
    #[serde(rename = "self")]
    this: Link,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<Link>,
}

#[derive(Debug, Serialize)]
struct Link {
    href: String,
}

/// One post.
#[derive(Debug, Serialize)]
pub struct Single<'p> {
    data: V2Post<'p>,
    meta: Version,
}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

impl<'p> Single<'p> {
    /// Shows one post.
    pub fn new(data: V2Post<'p>) -> Self {
        Self { data, meta: Version { version: VERSION } }
    }
}

/// A page of posts.
#[derive(Debug, Serialize)]
pub struct List<'p> {
    data: Vec<V2Post<'p>>,
    links: Ends,
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Ends {
    first: Option<String>,
    last: Option<String>,
    prev: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Meta {
    path: String,
    per_page: u64,
    next_cursor: Option<String>,
    prev_cursor: Option<String>,
    version: &'static str,
    cursor: Cursors,
}

#[derive(Debug, Serialize)]
struct Cursors {
    next: Option<String>,
    prev: Option<String>,
}

/// How a list was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The parameters as given.
    pub pairs: &'a [(String, String)],
    /// Rows per page.
    pub limit: u64,
    /// The list.
    pub scan: &'a Scan,
    /// Signs cursors.
    pub key: &'a Key,
}

impl<'p> List<'p> {
    /// Shows `page` of the list that was asked for.
    pub fn new(
        page: &'p Page<Post>,
        related: &'p Related,
        selection: &'p Selection,
        links: Links<'p>,
        asked: Asked<'_>,
    ) -> Self {
        let neighbour = |place: Option<_>| {
            place.map(|place| links.keyset(PATH, asked.pairs, asked.key, asked.scan, &place)).unzip()
        };
        let (next_cursor, next): (Option<String>, _) = neighbour(page.next);
        let (prev_cursor, prev): (Option<String>, _) = neighbour(page.previous);
        Self {
            data: page.rows.iter().map(|post| V2Post { post, related, selection, links }).collect(),
            links: Ends { first: None, last: None, prev, next },
            meta: Meta {
                path: links.path(PATH),
                per_page: asked.limit,
                cursor: Cursors { next: next_cursor.clone(), prev: prev_cursor.clone() },
                next_cursor,
                prev_cursor,
                version: VERSION,
            },
        }
    }
}
