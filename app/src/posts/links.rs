//! Decides where links point: only at routes that exist, and never at a host the client named.

use crate::page::cursor::{self, Key, Place, Scan};
use crate::query::encode;

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

    /// The posts of a category.
    pub fn category(self, version: &str, slug: &str) -> String {
        format!("{}/api/{version}/posts?category_slug={}", self.base, encode(slug))
    }

    /// The posts of an author; v2 does not filter by author.
    pub fn author(self, username: &str) -> String {
        format!("{}/api/v1/posts?author={}", self.base, encode(username))
    }

    /// The list at `path` without parameters.
    pub fn path(self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The list at `path` with the parameters `pairs`, of which `name` gets another value.
    pub fn neighbour(self, path: &str, pairs: &[(String, String)], name: &str, value: &str) -> String {
        let mut link = self.path(path);
        let others = pairs
            .iter()
            .filter(|(other, _)| other != name)
            .map(|(name, value)| (name.as_str(), value.as_str()));
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
        pairs: &[(String, String)],
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
        let pairs = [("page".to_owned(), "1".to_owned()), ("search".to_owned(), "a b&c".to_owned())];
        let link = Links { base: "https://x.example" }.neighbour("/api/v1/posts", &pairs, "page", "2");
        assert_eq!(link, "https://x.example/api/v1/posts?search=a%20b%26c&page=2");
    }
}
