//! Decides how part of a resource is chosen and shown: a fixed list of names, and a set over it.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Something with named fields, of which any part can be shown.
pub trait Resource {
    /// The names, in the order in which they are shown. At most 32.
    const FIELDS: &'static [&'static str];

    /// Writes the field with this position in [`Resource::FIELDS`] under its name.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    fn write<M: SerializeMap>(&self, field: usize, map: &mut M) -> Result<(), M::Error>;
}

/// A set of positions in a list of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u32);

impl Fields {
    /// All fields of `R`.
    pub fn all<R: Resource>() -> Self {
        Self::first(R::FIELDS.len())
    }

    /// The first `count` positions.
    pub fn first(count: usize) -> Self {
        debug_assert!(count <= 32, "a set holds 32 positions");
        Self(if count >= 32 { u32::MAX } else { (1 << count) - 1 })
    }

    /// Adds a position.
    pub fn insert(&mut self, position: usize) {
        self.0 |= 1 << position;
    }

    /// This set and one position more.
    #[must_use]
    pub fn with(mut self, position: usize) -> Self {
        self.insert(position);
        self
    }

    /// Whether the position is in the set.
    pub fn contains(self, position: usize) -> bool {
        self.0 & (1 << position) != 0
    }

    /// Whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many positions are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The positions in the set, smallest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |position| self.contains(*position))
    }

    /// Both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A resource shown in part.
#[derive(Clone, Copy, Debug)]
pub struct Part<'r, R> {
    /// The resource.
    pub resource: &'r R,
    /// What is shown of it.
    pub fields: Fields,
}

impl<R: Resource> Serialize for Part<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        self.write_into(&mut map)?;
        map.end()
    }
}

impl<R: Resource> Part<'_, R> {
    /// Writes the part into a map that may have more.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn write_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.fields.iter().try_for_each(|field| self.resource.write(field, map))
    }
}
