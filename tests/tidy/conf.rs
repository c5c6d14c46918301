//! Decides that every key of a configuration file has a test of its effect, and that no test claims a key that is gone.
//!
//! A test claims keys in a comment right above it, `// key: proxy.toml server.threads` (several with commas).
//! Inside `proxy/` and `app/` the file's name may be left out. Rows of an array of tables are written `routes[]`,
//! tables whose name the operator chooses `upstreams.*`.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::report;
use crate::source::{Source, read, root, rust};

const FILES: [&str; 2] = ["proxy.toml", "app.toml"];
/// Tables whose keys are names that the operator chooses.
const NAMED: [&str; 2] = ["upstreams", "rate_limits"];

struct Claim {
    place: String,
    file: String,
    key: String,
    is_on_a_test: bool,
}

#[test]
fn every_key_has_a_test_of_its_effect() {
    let claims = all_claims();
    let mut findings = Vec::new();
    for file in FILES {
        let claimed: BTreeSet<&str> =
            claims.iter().filter(|claim| claim.file == file).map(|claim| claim.key.as_str()).collect();
        let untested = keys_of(file).into_iter().filter(|key| !claimed.contains(key.as_str()));
        findings.extend(untested.map(|key| format!("conf/{file}: {key}")));
    }
    report("write a test of the effect of these keys and put `// key: FILE KEY` above it", &findings);
}

#[test]
fn every_claim_names_a_key_that_exists_and_stands_above_a_test() {
    let keys: BTreeMap<&str, BTreeSet<String>> = FILES.map(|file| (file, keys_of(file))).into();
    let mut findings = Vec::new();
    for claim in all_claims() {
        let exists = keys.get(claim.file.as_str()).is_some_and(|keys| keys.contains(&claim.key));
        if !exists {
            findings.push(format!("{}: {:?} has no key {:?}", claim.place, claim.file, claim.key));
        }
        if !claim.is_on_a_test {
            findings.push(format!("{}: no test follows", claim.place));
        }
    }
    report("these comments claim what is not there", &findings);
}

fn keys_of(file: &str) -> BTreeSet<String> {
    let path = format!("conf/{file}");
    if !root().join(&path).exists() {
        return BTreeSet::new();
    }
    let table: Table = read(&path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut keys = BTreeSet::new();
    walk("", &table, &mut keys);
    keys
}

fn walk(prefix: &str, table: &Table, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let key = if NAMED.contains(&prefix.trim_end_matches('.')) { "*" } else { key };
        let path = format!("{prefix}{key}");
        match value {
            Value::Table(inner) if !inner.is_empty() => walk(&format!("{path}."), inner, keys),
            Value::Array(rows) if rows.iter().any(Value::is_table) => {
                let rows = rows.iter().filter_map(Value::as_table);
                rows.for_each(|row| walk(&format!("{path}[]."), row, keys));
            }
            _ => {
                keys.insert(path);
            }
        }
    }
}

fn all_claims() -> Vec<Claim> {
    let sources = rust().into_iter().filter(|source| !source.path.starts_with("tests/tidy/"));
    sources.flat_map(|source| claims(&source)).collect()
}

fn claims(source: &Source) -> Vec<Claim> {
    let own = ["proxy", "app"].iter().find(|tier| source.path.starts_with(&format!("{tier}/")));
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(claimed) = line.strip_prefix("// key: ") else { continue };
        let follower = lines[at..].iter().find(|line| !line.starts_with("//"));
        let is_on_a_test = follower.is_some_and(|line| line.starts_with("#[") && line.contains("test"));
        let (file, keys) = match claimed.split_once(' ') {
            Some((file, keys)) if file.ends_with(".toml") => (file.to_owned(), keys),
            _ => (own.map_or_else(String::new, |tier| format!("{tier}.toml")), claimed),
        };
        found.extend(keys.split(',').map(|key| Claim {
            place: format!("{}:{}", source.path, at + 1),
            file: file.clone(),
            key: key.trim().to_owned(),
            is_on_a_test,
        }));
    }
    found
}

#[test]
fn keys_are_walked_through_rows_and_named_tables() {
    let text =
        "a.b = 1\n[[rows]]\nx = []\n[upstreams.one]\np = { q = 1 }\n[[upstreams.two.backends]]\nid = ''";
    let table: Table = text.parse().unwrap();
    let mut keys = BTreeSet::new();
    walk("", &table, &mut keys);
    let expected = ["a.b", "rows[].x", "upstreams.*.backends[].id", "upstreams.*.p.q"];
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_claim_is_read_with_and_without_its_file() {
    let text = "// key: app.toml a.b, c\n// More words.\n#[test]\nfn x() {}\n// key: d\nlet x;".to_owned();
    let claims = claims(&Source { path: "proxy/src/x.rs".to_owned(), text });
    let read: Vec<(&str, &str, bool)> =
        claims.iter().map(|claim| (claim.file.as_str(), claim.key.as_str(), claim.is_on_a_test)).collect();
    assert_eq!(read, [("app.toml", "a.b", true), ("app.toml", "c", true), ("proxy.toml", "d", false)]);
}
