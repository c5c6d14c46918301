//! Decides what a category shows; categories nest through `parent_id`.

use serde::ser::SerializeMap;

use crate::db::{Cells, Error};
use crate::fields::{Fields, Resource};

/// The table.
pub const TABLE: &str = "categories";
/// Position of `slug` in the fields.
pub const SLUG: usize = 2;
/// Position of `parent_id` in the fields.
pub const PARENT_ID: usize = 4;

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
    /// The category it is part of.
    pub parent_id: Option<i64>,
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
                4 => category.parent_id = cells.take()?,
                _ => {}
            }
        }
        Ok(category)
    }
}

impl Resource for Category {
    const FIELDS: &'static [&'static str] = &["id", "name", "slug", "description", "parent_id"];

    fn write<M: SerializeMap>(&self, field: usize, map: &mut M) -> Result<(), M::Error> {
        match field {
            0 => map.serialize_entry("id", &self.id),
            1 => map.serialize_entry("name", &self.name),
            2 => map.serialize_entry("slug", &self.slug),
            3 => map.serialize_entry("description", &self.description),
            _ => map.serialize_entry("parent_id", &self.parent_id),
        }
    }
}
