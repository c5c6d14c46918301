//! Decides which room may import which: a room imports the rooms of the rows below its own, and no other.
//!
//! A new top-level module fails until it has a row here.

use std::collections::BTreeMap;

use crate::report;
use crate::source::{Source, rust};

struct Layers {
    folder: &'static str,
    /// Highest first. Rooms of one row do not import each other.
    rows: &'static [&'static [&'static str]],
}

const PROXY: Layers = Layers {
    folder: "proxy/src/",
    rows: &[
        &["server", "fuzzing", "token"],
        &["lifecycle", "accept"],
        &["front", "gate"],
        &["admin", "listener", "probes", "sampler", "alerting"],
        &["control", "handover"],
        &["entrances"],
        &["sockets"],
        &["phases", "http1"],
        &["exchange", "headers", "turn"],
        &["edge"],
        &["site"],
        &["access_log", "door"],
        &["upstream", "tls"],
        &["operator"],
        &["metrics", "balance", "durable", "dial", "downstream"],
        &["respond"],
        &["retry"],
        &["route", "limit", "descriptors", "compress", "proxy_header", "import_nginx"],
        &["config"],
        &["certificate"],
    ],
};

const APP: Layers = Layers {
    folder: "app/src/",
    rows: &[
        &["supervisor"],
        &["serve", "check", "migrate", "seed"],
        &["work"],
        &["router", "accept"],
        &["openapi"],
        &["listeners"],
        &["feeds"],
        &["middleware", "health", "posts", "index", "alerting", "subscriptions", "scrape"],
        &["idempotency", "steering", "log_levels"],
        &["catalog", "identity"],
        &["body"],
        &["authors", "categories", "tags", "state", "envelope"],
        &["cache"],
        &["error", "alerts", "probe"],
        &[
            "answer",
            "settings",
            "fields",
            "links",
            "changes",
            "client",
            "consistency",
            "counts",
            "limit",
            "views",
            "webhooks",
        ],
        &["events"],
        &["jobs", "outbound", "mail"],
        &["queue"],
        &["mail_link"],
        &["db", "page", "moment", "passwords", "redis"],
        &["query"],
        &["line"],
        &["config", "metrics", "lifecycle", "cause", "signing"],
    ],
};

#[test]
fn the_edge_imports_downward_only() {
    check(&PROXY);
}

#[test]
fn the_app_imports_downward_only() {
    check(&APP);
}

fn check(layers: &Layers) {
    let height = heights(layers);
    let sources = rust().into_iter().filter(|source| source.path.starts_with(layers.folder));
    let findings: Vec<String> = sources.flat_map(|source| wrong_imports(&source, layers, &height)).collect();
    report("add new rooms to tests/tidy/layering.rs, and import downward only", &findings);
}

fn heights(layers: &Layers) -> BTreeMap<&'static str, usize> {
    let rows = layers.rows.iter().rev().enumerate();
    rows.flat_map(|(height, row)| row.iter().map(move |room| (*room, height))).collect()
}

fn wrong_imports(source: &Source, layers: &Layers, height: &BTreeMap<&str, usize>) -> Vec<String> {
    let inside = &source.path[layers.folder.len()..];
    let room = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if matches!(room, "lib" | "main") || source.is_tests() {
        return Vec::new();
    }
    let Some(own) = height.get(room) else {
        return vec![format!("{}: the room {room:?} has no row", source.path)];
    };
    let mut findings = Vec::new();
    for imported in imports(source) {
        let allowed = imported == room || height.get(imported.as_str()).is_some_and(|other| other < own);
        // What is not a room is an item of lib.rs; lib.rs has none but rooms, so it is a new room.
        if !allowed {
            findings.push(format!("{}: {room} imports {imported}", source.path));
        }
    }
    findings
}

/// The top-level modules that the code of a file names after `crate::`.
fn imports(source: &Source) -> Vec<String> {
    let code: Vec<&str> = source.code_lines().map(|(_, line)| line).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_words_of_group(group)),
            None => found.push(first_word(rest)),
        }
    }
    found.sort();
    found.dedup();
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of each path in `{a::b, c::{d, e}}`.
fn first_words_of_group(group: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut depth, mut at_start) = (0, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if c.is_whitespace() => {}
            _ if at_start => {
                words.push(first_word(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    words
}

#[test]
fn imports_are_found_alone_and_in_groups() {
    let text = "use crate::a::B;\nuse crate::{c::{D, e}, f};\n// use crate::g;\nlet x = crate::h::i();\nuse other_crate::j;\n\
        #[cfg(test)]\nmod tests { use crate::k; }";
    let source = Source { path: "app/src/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!(imports(&source), ["a", "c", "f", "h"]);
}

#[test]
fn an_upward_import_and_an_unknown_room_are_findings() {
    let layers = Layers { folder: "app/src/", rows: &[&["high"], &["low"]] };
    let height = heights(&layers);
    let findings = |path: &str, text: &str| {
        wrong_imports(&Source { path: path.to_owned(), text: text.to_owned() }, &layers, &height)
    };
    assert!(findings("app/src/high.rs", "use crate::low::X;").is_empty());
    assert_eq!(findings("app/src/low/inner.rs", "use crate::high::X;").len(), 1);
    assert_eq!(findings("app/src/new.rs", "").len(), 1);
}
