//! Decides where links point: only at routes that exist, and never at a host the client named.

use crate::page::cursor::{self, Place, Scan};
use crate::query::encode;
use crate::signing::Key;

/// Makes links that start with the configured public address, or are paths.
#[derive(Clone, Copy, Debug)]
pub struct Links<'c> {
    /// `server.public_url`; empty for paths.
    pub base: &'c str,
}

impl Links<'_> {
    /// The post itself, in v1 or v2.
    pub fn post(self, version: &str, slug: &str) -> String {
        format!("{}/api/{version}/posts/{}", self.base, encode(slug))
    }

    /// A category, in v1 or v2.
    pub fn category(self, version: &str, slug: &str) -> String {
        format!("{}/api/{version}/categories/{}", self.base, encode(slug))
    }

    /// The posts of a category, in v1 or v2.
    pub fn posts_of_category(self, version: &str, slug: &str) -> String {
        match version {
            "v1" => format!("{}/api/v1/categories/{}/posts", self.base, encode(slug)),
            _ => format!("{}/api/{version}/posts?category_slug={}", self.base, encode(slug)),
        }
    }

    /// An author, in v1 or v2.
    pub fn author(self, version: &str, username: &str) -> String {
        format!("{}/api/{version}/authors/{}", self.base, encode(username))
    }

    /// The posts of an author, in v1 or v2.
    pub fn posts_of_author(self, version: &str, username: &str) -> String {
        format!("{}/api/{version}/posts?author={}", self.base, encode(username))
    }

    /// A tag of v2.
    pub fn tag(self, slug: &str) -> String {
        format!("{}/api/v2/tags/{}", self.base, encode(slug))
    }

    /// The posts with a tag, in v1 or v2.
    pub fn posts_of_tag(self, version: &str, slug: &str) -> String {
        format!("{}/api/{version}/posts?tag={}", self.base, encode(slug))
    }

    /// The list at `path` without parameters.
    pub fn path(self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The list at `path` with the parameters `pairs`, of which `name` gets another value.
    pub fn neighbour(self, path: &str, pairs: &[(&str, String)], name: &str, value: &str) -> String {
        let mut link = self.path(path);
        let others =
            pairs.iter().filter(|(other, _)| *other != name).map(|(name, value)| (*name, value.as_str()));
        for (index, (name, value)) in others.chain(std::iter::once((name, value))).enumerate() {
            link.push(if index == 0 { '?' } else { '&' });
            link.push_str(&encode(name));
            link.push('=');
            link.push_str(&encode(value));
        }
        link
    }

    /// The keyset page at `place`: its cursor, and the link with it.
    pub fn keyset(
        self,
        path: &str,
        pairs: &[(&str, String)],
        key: &Key,
        scan: &Scan,
        place: &Place,
    ) -> (String, String) {
        let cursor = cursor::encode(key, scan, place);
        let link = self.neighbour(path, pairs, "cursor", &cursor);
        (cursor, link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_keeps_the_other_parameters() {
        let pairs = [("page", "1".to_owned()), ("search", "a b&c".to_owned())];
        let link = Links { base: "https://x.example" }.neighbour("/api/v1/posts", &pairs, "page", "2");
        assert_eq!(link, "https://x.example/api/v1/posts?search=a%20b%26c&page=2");
    }
}
