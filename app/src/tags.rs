//! Decides what a tag shows.

use serde::ser::SerializeMap;

use crate::db::{Cells, Error};
use crate::fields::{Fields, Resource};

/// The table.
pub const TABLE: &str = "tags";
/// Position of `slug` in the fields.
pub const SLUG: usize = 2;

/// A tag, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Tag {
    /// Its id; always read.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// What kind of tag it is; `post` unless somebody says otherwise.
    pub kind: String,
    /// Its colour, like `#3366cc`.
    pub color: Option<String>,
}

impl Tag {
    /// Reads what was asked for, after the id.
    ///
    /// # Errors
    ///
    /// When the row does not have it.
    pub fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error> {
        let mut tag = Self { id, ..Self::default() };
        for field in fields.iter() {
            match field {
                1 => tag.name = cells.take()?,
                2 => tag.slug = cells.take()?,
                3 => tag.kind = cells.take()?,
                4 => tag.color = cells.take()?,
                _ => {}
            }
        }
        Ok(tag)
    }
}

impl Resource for Tag {
    const FIELDS: &'static [&'static str] = &["id", "name", "slug", "type", "color"];

    fn write<M: SerializeMap>(&self, field: usize, map: &mut M) -> Result<(), M::Error> {
        match field {
            0 => map.serialize_entry("id", &self.id),
            1 => map.serialize_entry("name", &self.name),
            2 => map.serialize_entry("slug", &self.slug),
            3 => map.serialize_entry("type", &self.kind),
            _ => map.serialize_entry("color", &self.color),
        }
    }
}
