//! Decides how a category, a tag or an author is shown, with what is above and below it.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::Kind;
use super::selection::Selection;
use super::store::Family;
use crate::fields::Part;
use crate::links::Links;

/// Which version of the API it is shown by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// One of them, as far as `selection` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'s, K> {
    pub(super) entry: &'s K,
    pub(super) family: &'s Family<K>,
    pub(super) selection: &'s Selection,
    pub(super) links: Links<'s>,
    pub(super) version: Version,
}

#[derive(Debug, Serialize)]
struct EntryLinks<T> {
    #[serde(rename = "self")]
    this: T,
    posts: T,
}

#[derive(Debug, Serialize)]
struct Link {
    href: String,
}

impl<K: Kind> Serialize for Shown<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        Part { resource: self.entry, fields: self.selection.fields }.write_into(&mut map)?;
        if let Some(fields) = self.selection.parent {
            let parent = self.family.parent(self.entry);
            map.serialize_entry("parent", &parent.map(|resource| Part { resource, fields }))?;
        }
        if let Some(fields) = self.selection.children {
            let children = self.family.children(self.entry).iter();
            let children: Vec<_> = children.map(|resource| Part { resource, fields }).collect();
            map.serialize_entry("children", &children)?;
        }
        if self.selection.links {
            match self.version {
                Version::V1 => {
                    let [this, posts] = self.entry.links(self.links, "v1");
                    map.serialize_entry("links", &EntryLinks { this, posts })?;
                }
                Version::V2 => {
                    let [this, posts] = self.entry.links(self.links, "v2").map(|href| Link { href });
                    map.serialize_entry("_links", &EntryLinks { this, posts })?;
                }
            }
        }
        map.end()
    }
}
