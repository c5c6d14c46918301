//! Decides which route a request takes: the host first, then the path within it, the most specific winning.
//!
//! Order: an exact host, then the longest `*.` suffix, then `*`; within the host an exact path, then the
//! longest prefix. The first host that matches decides, as nginx's server blocks do: a path it does not know
//! is 404 and does not fall through to a wider host. Cost grows with the length of host and path, and with
//! the logarithm of one host's paths, not with the number of hosts.

use std::collections::{BTreeMap, HashMap};

use crate::config;
use crate::config::pattern::{HostPattern, PathPattern, host_of};

/// Where every (host, path) goes; `T` is what is found there.
#[derive(Debug)]
pub(crate) struct Table<T> {
    exact: HashMap<String, Paths<T>>,
    below: HashMap<String, Paths<T>>,
    any: Option<Paths<T>>,
}

#[derive(Debug)]
struct Paths<T> {
    exact: HashMap<String, T>,
    /// Sorted by prefix; each knows the next shorter prefix of itself.
    prefixes: Vec<Prefix<T>>,
}

#[derive(Debug)]
struct Prefix<T> {
    text: String,
    shorter: Option<usize>,
    target: T,
}

impl<T: Clone> Table<T> {
    /// A table of these routes, each with its target.
    pub(crate) fn new<'a>(routes: impl Iterator<Item = (&'a config::Route, T)>) -> Self {
        let mut by_host: BTreeMap<&HostPattern, Vec<(&PathPattern, T)>> = BTreeMap::new();
        for (route, target) in routes {
            for host in &route.hosts {
                let rules = by_host.entry(host).or_default();
                rules.extend(route.paths.iter().map(|path| (path, target.clone())));
            }
        }
        let mut table = Self { exact: HashMap::new(), below: HashMap::new(), any: None };
        for (host, rules) in by_host {
            let paths = Paths::new(rules);
            match host {
                HostPattern::Exact(name) => drop(table.exact.insert(name.clone(), paths)),
                HostPattern::Below(suffix) => drop(table.below.insert(suffix.clone(), paths)),
                HostPattern::Any => table.any = Some(paths),
            }
        }
        table
    }

    /// The target of a request with this Host header (empty: none) and path (without query).
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&T> {
        // `OPTIONS *` asks about the host as a whole: it goes where its root goes.
        self.paths_of(host)?.find(if path == "*" { "/" } else { path })
    }

    fn paths_of(&self, header: &str) -> Option<&Paths<T>> {
        let lower;
        let mut name = host_of(header);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            name = &lower;
        }
        if let Some(paths) = self.exact.get(name) {
            return Some(paths);
        }
        if !self.below.is_empty() {
            // From the longest suffix to the shortest; the name itself is not below itself.
            let mut dots = name.match_indices('.').filter(|(at, _)| *at > 0);
            if let Some(paths) = dots.find_map(|(at, _)| self.below.get(&name[at..])) {
                return Some(paths);
            }
        }
        self.any.as_ref()
    }
}

impl<T> Paths<T> {
    fn new(rules: Vec<(&PathPattern, T)>) -> Self {
        let mut exact = HashMap::new();
        let mut sorted = BTreeMap::new();
        for (path, target) in rules {
            match path {
                PathPattern::Exact(path) => drop(exact.insert(path.clone(), target)),
                PathPattern::Prefix(path) => drop(sorted.insert(path.clone(), target)),
            }
        }
        let mut prefixes: Vec<Prefix<T>> = Vec::with_capacity(sorted.len());
        for (text, target) in sorted {
            // Among sorted prefixes the next shorter one is the previous entry, or one it leads to.
            let mut shorter = prefixes.len().checked_sub(1);
            while let Some(index) = shorter.filter(|index| !text.starts_with(&prefixes[*index].text)) {
                shorter = prefixes[index].shorter;
            }
            prefixes.push(Prefix { text, shorter, target });
        }
        Self { exact, prefixes }
    }

    fn find(&self, path: &str) -> Option<&T> {
        if let Some(target) = self.exact.get(path) {
            return Some(target);
        }
        // The longest prefix of `path` is the greatest entry not above it, or one which that leads to.
        let mut candidate =
            self.prefixes.partition_point(|prefix| prefix.text.as_str() <= path).checked_sub(1);
        while let Some(index) = candidate {
            let prefix = &self.prefixes[index];
            if path.starts_with(&prefix.text) {
                return Some(&prefix.target);
            }
            candidate = prefix.shorter;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rules: &[(&str, &str)]) -> Table<String> {
        let mut by_host: BTreeMap<HostPattern, Vec<PathPattern>> = BTreeMap::new();
        for (host, path) in rules {
            let host = HostPattern::parse(host).unwrap();
            by_host.entry(host).or_default().push(PathPattern::parse(path).unwrap());
        }
        let mut table = Table { exact: HashMap::new(), below: HashMap::new(), any: None };
        for (host, paths) in by_host {
            let rules = paths.iter().map(|path| (path, format!("{host}{path}"))).collect();
            let paths = Paths::new(rules);
            match host {
                HostPattern::Exact(name) => drop(table.exact.insert(name, paths)),
                HostPattern::Below(suffix) => drop(table.below.insert(suffix, paths)),
                HostPattern::Any => table.any = Some(paths),
            }
        }
        table
    }

    #[test]
    fn the_most_specific_host_then_the_most_specific_path_wins() {
        let table = table(&[
            ("api.example.com", "/*"),
            ("api.example.com", "/v1/*"),
            ("api.example.com", "/v1/posts"),
            ("api.example.com", "/v1/posts/*"),
            ("*.example.com", "/*"),
            ("*.eu.example.com", "/*"),
            ("only.example.com", "/here"),
            ("[::1]", "/*"),
            ("*", "/*"),
        ]);
        for (host, path, expected) in [
            ("api.example.com", "/", Some("api.example.com/*")),
            ("API.Example.COM:8080", "/v1/", Some("api.example.com/v1/*")),
            ("api.example.com.", "/v1/posts", Some("api.example.com/v1/posts")),
            ("api.example.com", "/v1/posts/a", Some("api.example.com/v1/posts/*")),
            ("api.example.com", "/v1/postsx", Some("api.example.com/v1/*")),
            ("api.example.com", "/v2", Some("api.example.com/*")),
            ("www.example.com", "/", Some("*.example.com/*")),
            ("a.b.eu.example.com", "/", Some("*.eu.example.com/*")),
            ("example.com", "/", Some("*/*")),
            (".example.com", "/", Some("*/*")),
            ("only.example.com", "/there", None),
            ("[::1]:80", "/", Some("[::1]/*")),
            ("", "/", Some("*/*")),
            ("", "*", Some("*/*")),
            ("api.example.com", "*", Some("api.example.com/*")),
        ] {
            assert_eq!(table.find(host, path).map(String::as_str), expected, "{host} {path}");
        }
    }

    #[test]
    fn a_table_without_a_catch_all_finds_nothing_for_other_hosts() {
        assert_eq!(table(&[("a.example.com", "/*")]).find("b.example.com", "/"), None);
    }

    proptest! {
        #[test]
        fn the_longest_prefix_is_found_as_a_plain_scan_finds_it(
            prefixes in prop::collection::btree_set("/[ab/]{0,5}", 1..12),
            path in "/[ab/]{0,8}",
        ) {
            let patterns: Vec<PathPattern> =
                prefixes.iter().map(|prefix| PathPattern::Prefix(prefix.clone())).collect();
            let paths = Paths::new(patterns.iter().map(|path| (path, path.to_string())).collect());
            let expected = prefixes.iter().filter(|prefix| path.starts_with(prefix.as_str()))
                .max_by_key(|prefix| prefix.len()).map(|prefix| format!("{prefix}*"));
            prop_assert_eq!(paths.find(&path), expected.as_ref());
        }
    }
}
