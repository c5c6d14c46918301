//! Decides what v2 shows of a post: the chosen part.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::relations::Related;
use super::selection::Selection;
use super::{Column, Post};
use crate::categories::Category;
use crate::fields::{Fields, Part, Resource};
use crate::links::Links;
use crate::moment::Moment;

/// The path of the list.
pub const PATH: &str = "/api/v2/posts";

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
            let shown = category.map(|category| CategoryPart {
                part: Part { resource: category, fields },
                parent: selection.parent.map(|fields| (self.related.parent(category), fields)),
            });
            map.serialize_entry("category", &shown)?;
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
                    .map(|author| Link { href: self.links.author("v2", &author.username) }),
            };
            map.serialize_entry("_links", &links)?;
        }
        map.end()
    }
}

/// A category, and what is above it where that is shown.
#[derive(Debug)]
struct CategoryPart<'p> {
    part: Part<'p, Category>,
    parent: Option<(Option<&'p Category>, Fields)>,
}

impl Serialize for CategoryPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.part.write_into(&mut map)?;
        if let Some((parent, fields)) = self.parent {
            map.serialize_entry("parent", &parent.map(|resource| Part { resource, fields }))?;
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
