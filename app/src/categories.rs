//! Decides what a category shows; categories nest through `parent_id`.

use sea_query::Expr;
use serde::ser::SerializeMap;

use crate::counts::Scope;
use crate::db::{Cells, Error};
use crate::fields::{Fields, Resource};
use crate::moment::Moment;

/// The table.
pub const TABLE: &str = "categories";
/// Position of `slug` in the fields.
pub const SLUG: usize = 2;
/// Position of `parent_id` in the fields.
pub const PARENT_ID: usize = 10;
/// The first so many fields are shown where a category is part of something else: all but the number of its posts.
pub const NESTED: usize = 13;

/// A category, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Category {
    /// Its id; always read.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// A few words.
    pub description: String,
    /// Address of a picture.
    pub image: Option<String>,
    /// Name of a small picture.
    pub icon: Option<String>,
    /// Its colour, like `#3366cc`.
    pub color: Option<String>,
    /// Its place in lists.
    pub sort_order: i64,
    /// Whether it is shown first somewhere.
    pub is_featured: bool,
    /// Whether it is in use.
    pub is_active: bool,
    /// The category it is part of.
    pub parent_id: Option<i64>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was last changed.
    pub updated_at: Moment,
    /// The public posts in it, not in those below it.
    pub posts_count: i64,
}

impl Category {
    /// Reads what was asked for, after the id.
    ///
    /// # Errors
    ///
    /// When the row does not have it.
    pub fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error> {
        let mut category = Self { id, ..Self::default() };
        for field in fields.iter() {
            match field {
                1 => category.name = cells.take()?,
                2 => category.slug = cells.take()?,
                3 => category.description = cells.take()?,
                4 => category.image = cells.take()?,
                5 => category.icon = cells.take()?,
                6 => category.color = cells.take()?,
                7 => category.sort_order = cells.take()?,
                8 => category.is_featured = cells.take()?,
                9 => category.is_active = cells.take()?,
                10 => category.parent_id = cells.take()?,
                11 => category.created_at = Moment(cells.take()?),
                12 => category.updated_at = Moment(cells.take()?),
                13 => category.posts_count = cells.take()?,
                _ => {}
            }
        }
        Ok(category)
    }

    /// What stands for a field in a statement. The number of its posts is kept.
    pub fn column(field: usize) -> Expr {
        if field < NESTED {
            return Expr::col((TABLE, Self::FIELDS[field]));
        }
        Scope::Category.number(Expr::col((TABLE, "id")))
    }
}

impl Resource for Category {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "slug",
        "description",
        "image",
        "icon",
        "color",
        "sort_order",
        "is_featured",
        "is_active",
        "parent_id",
        "created_at",
        "updated_at",
        "posts_count",
    ];

    fn write<M: SerializeMap>(&self, field: usize, map: &mut M) -> Result<(), M::Error> {
        match field {
            0 => map.serialize_entry("id", &self.id),
            1 => map.serialize_entry("name", &self.name),
            2 => map.serialize_entry("slug", &self.slug),
            3 => map.serialize_entry("description", &self.description),
            4 => map.serialize_entry("image", &self.image),
            5 => map.serialize_entry("icon", &self.icon),
            6 => map.serialize_entry("color", &self.color),
            7 => map.serialize_entry("sort_order", &self.sort_order),
            8 => map.serialize_entry("is_featured", &self.is_featured),
            9 => map.serialize_entry("is_active", &self.is_active),
            10 => map.serialize_entry("parent_id", &self.parent_id),
            11 => map.serialize_entry("created_at", &self.created_at),
            12 => map.serialize_entry("updated_at", &self.updated_at),
            _ => map.serialize_entry("posts_count", &self.posts_count),
        }
    }
}
