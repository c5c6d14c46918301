//! Decides which route a request takes: the host first, then the path within it, the most specific winning.
//!
//! Order: an exact host, then the longest `*.` suffix, then `*`; within the host an exact path, then the
//! longest prefix, then the shorter ones; within one path the route with the most conditions (its methods count
//! as one, each header as one), then the one written first. A route whose conditions do not hold is passed over.
//! The first host that matches decides, as nginx's server blocks do: a path it does not know is 404 and does not
//! fall through to a wider host. Cost grows with the length of host and path, with the logarithm of one host's
//! paths and with the routes of one path, not with the number of hosts.

mod path;
pub(crate) mod rewrite;

use std::collections::{BTreeMap, HashMap};

use crate::config;
use crate::config::pattern::{HostPattern, PathPattern, host_of};
use crate::config::policy::{Conditions, ValuePattern};

/// What a request says, as far as its route depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The Host header; empty when there is none.
    pub(crate) host: &'a str,
    /// The path, without its query.
    pub(crate) path: &'a [u8],
    /// The value of a header (its name in lower case), if the request has it.
    pub(crate) header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'t, T> {
    Route {
        target: &'t T,
        /// How much of the path, as it is compared, stood before the `*`.
        matched: usize,
    },
    /// The place is known, but not for this method; these are.
    WrongMethod(Vec<&'t str>),
    Nothing,
}

/// Where every (host, path) goes; `T` is what is found there.
#[derive(Debug)]
pub(crate) struct Table<T> {
    exact: HashMap<String, Paths<T>>,
    below: HashMap<String, Paths<T>>,
    any: Option<Paths<T>>,
}

#[derive(Debug)]
struct Paths<T> {
    exact: HashMap<Box<[u8]>, Vec<Rule<T>>>,
    /// Sorted by prefix; each knows the next shorter prefix of itself.
    prefixes: Vec<Prefix<T>>,
}

#[derive(Debug)]
struct Prefix<T> {
    text: Box<[u8]>,
    shorter: Option<usize>,
    rules: Vec<Rule<T>>,
}

/// One route at one path.
#[derive(Debug)]
struct Rule<T> {
    conditions: Conditions,
    target: T,
}

/// What the `*` of a route's path stood for, as paths are compared.
pub(crate) fn rest(path: &[u8], matched: usize) -> Vec<u8> {
    path::normal(path).get(matched..).unwrap_or_default().to_vec()
}

impl<T: Clone> Table<T> {
    /// A table of these routes, each with its target.
    pub(crate) fn new<'a>(routes: impl Iterator<Item = (&'a config::Route, T)>) -> Self {
        let routes = routes.map(|(route, target)| (&route.hosts, &route.paths, &route.conditions, target));
        Self::of(routes)
    }

    fn of<'a>(
        routes: impl Iterator<Item = (&'a Vec<HostPattern>, &'a Vec<PathPattern>, &'a Conditions, T)>,
    ) -> Self {
        let mut by_host: BTreeMap<&HostPattern, BTreeMap<&PathPattern, Vec<Rule<T>>>> = BTreeMap::new();
        for (hosts, paths, conditions, target) in routes {
            for host in hosts {
                for path in paths {
                    let rules = by_host.entry(host).or_default().entry(path).or_default();
                    rules.push(Rule { conditions: conditions.clone(), target: target.clone() });
                }
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

    /// Where a request goes.
    pub(crate) fn find(&self, asked: &Asked<'_>) -> Found<'_, T> {
        let Some(paths) = self.paths_of(asked.host) else { return Found::Nothing };
        // `OPTIONS *` asks about the host as a whole: it goes where its root goes.
        let path = if asked.path == b"*" { b"/" } else { asked.path };
        paths.find(&path::normal(path), asked)
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
    fn new(places: BTreeMap<&PathPattern, Vec<Rule<T>>>) -> Self {
        let mut exact = HashMap::new();
        let mut sorted = BTreeMap::new();
        for (path, mut rules) in places {
            // Stable: among equals the one written first stays first.
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.conditions.count()));
            match path {
                PathPattern::Exact(path) => drop(exact.insert(path.as_bytes().into(), rules)),
                PathPattern::Prefix(path) => drop(sorted.insert(path.as_bytes(), rules)),
            }
        }
        let mut prefixes: Vec<Prefix<T>> = Vec::with_capacity(sorted.len());
        for (text, rules) in sorted {
            // Among sorted prefixes the next shorter one is the previous entry, or one it leads to.
            let mut shorter = prefixes.len().checked_sub(1);
            while let Some(index) = shorter.filter(|index| !text.starts_with(&prefixes[*index].text)) {
                shorter = prefixes[index].shorter;
            }
            prefixes.push(Prefix { text: text.into(), shorter, rules });
        }
        Self { exact, prefixes }
    }

    fn find(&self, path: &[u8], asked: &Asked<'_>) -> Found<'_, T> {
        let mut methods = Vec::new();
        if let Some(target) = self.exact.get(path).and_then(|rules| pick(rules, asked, &mut methods)) {
            return Found::Route { target, matched: path.len() };
        }
        // The longest prefix of `path` is the greatest entry not above it, or one which that leads to.
        let mut candidate = self.prefixes.partition_point(|prefix| &*prefix.text <= path).checked_sub(1);
        while let Some(index) = candidate {
            let prefix = &self.prefixes[index];
            if path.starts_with(&prefix.text)
                && let Some(target) = pick(&prefix.rules, asked, &mut methods)
            {
                return Found::Route { target, matched: prefix.text.len() };
            }
            candidate = prefix.shorter;
        }
        if methods.is_empty() { Found::Nothing } else { Found::WrongMethod(methods) }
    }
}

/// The first rule whose conditions hold; methods of those that fail by the method alone are noted.
fn pick<'t, T>(rules: &'t [Rule<T>], asked: &Asked<'_>, methods: &mut Vec<&'t str>) -> Option<&'t T> {
    rules.iter().find(|rule| holds(&rule.conditions, asked, methods)).map(|rule| &rule.target)
}

fn holds<'t>(conditions: &'t Conditions, asked: &Asked<'_>, methods: &mut Vec<&'t str>) -> bool {
    let has = |condition: &config::policy::HeaderCondition| {
        (asked.header)(&condition.name).is_some_and(|value| match &condition.value {
            ValuePattern::Any => true,
            ValuePattern::Exact(text) => value == text.as_bytes(),
            ValuePattern::Prefix(start) => value.starts_with(start.as_bytes()),
        })
    };
    if !conditions.headers.iter().all(has) {
        return false;
    }
    let is_method = |known: &str| known == asked.method || (known == "GET" && asked.method == "HEAD");
    if conditions.methods.is_empty() || conditions.methods.iter().any(|known| is_method(known)) {
        return true;
    }
    for method in &conditions.methods {
        if !methods.contains(&&**method) {
            methods.push(method);
        }
    }
    false
}

#[cfg(test)]
mod tests;
