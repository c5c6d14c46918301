//! Decides what the public sees of an author: never the e-mail address.

use serde::ser::SerializeMap;

use crate::db::{Cells, Error};
use crate::fields::{Fields, Resource};

/// The table.
pub const TABLE: &str = "authors";
/// Position of `username` in the fields.
pub const USERNAME: usize = 2;

/// Someone who writes, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Author {
    /// Its id; always read.
    pub id: i64,
    /// The full name.
    pub name: String,
    /// The name in addresses.
    pub username: String,
    /// Address of a picture.
    pub avatar: Option<String>,
    /// A few words.
    pub bio: String,
}

impl Author {
    /// Reads what was asked for, after the id.
    ///
    /// # Errors
    ///
    /// When the row does not have it.
    pub fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error> {
        let mut author = Self { id, ..Self::default() };
        for field in fields.iter() {
            match field {
                1 => author.name = cells.take()?,
                2 => author.username = cells.take()?,
                3 => author.avatar = cells.take()?,
                4 => author.bio = cells.take()?,
                _ => {}
            }
        }
        Ok(author)
    }
}

impl Resource for Author {
    const FIELDS: &'static [&'static str] = &["id", "name", "username", "avatar", "bio"];

    fn write<M: SerializeMap>(&self, field: usize, map: &mut M) -> Result<(), M::Error> {
        match field {
            0 => map.serialize_entry("id", &self.id),
            1 => map.serialize_entry("name", &self.name),
            2 => map.serialize_entry("username", &self.username),
            3 => map.serialize_entry("avatar", &self.avatar),
            _ => map.serialize_entry("bio", &self.bio),
        }
    }
}
