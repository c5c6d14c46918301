//! Decides that the log's fields are those of `docs/log-fields.md`: each one that is written is there, and no other.

use std::collections::BTreeSet;

use crate::report;
use crate::source::{read, rust};

const DOCUMENT: &str = "docs/log-fields.md";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "$level"];

#[test]
fn the_fields_of_the_log_are_those_of_the_document() {
    let documented = documented(&read(DOCUMENT));
    let mut written = BTreeSet::new();
    for source in rust().into_iter().filter(|source| !source.path.starts_with("tests/")) {
        let code: Vec<&str> = source.code_lines().map(|(_, line)| line).collect();
        written.extend(fields(&code.join("\n")));
        if source.path == "proxy/src/access_log/line.rs" {
            written.extend(quoted(source.code()));
        }
    }
    let unknown =
        written.difference(&documented).map(|field| format!("{field} is written and not described"));
    let gone = documented.difference(&written).map(|field| format!("{field} is described and not written"));
    report(DOCUMENT, &unknown.chain(gone).collect::<Vec<_>>());
}

/// What stands in backticks in the first column of the tables.
fn documented(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let first = rows.filter_map(|line| line.split('|').nth(1));
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The names of the fields of every event in some code.
fn fields(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, begin) in code.match_indices("tracing::") {
        let rest = &code[at + begin.len()..];
        let Some(inside) = LEVELS.iter().find_map(|level| rest.strip_prefix(level)?.strip_prefix("!("))
        else {
            continue;
        };
        found.extend(parts(inside).iter().filter_map(|part| name(part)));
    }
    found
}

/// What stands between the commas of a call, up to its end.
fn parts(inside: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut depth, mut in_string, mut previous) = (0, false, ' ');
    for letter in inside.chars() {
        match letter {
            '"' if previous != '\\' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
        previous = letter;
    }
    parts.push(part);
    parts
}

/// The name of a field; a message has none.
fn name(part: &str) -> Option<String> {
    let word = part.split(" = ").next()?.trim().trim_start_matches(['%', '?']);
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_' || letter == '.';
    (!word.is_empty() && word.chars().all(is_name)).then(|| word.to_owned())
}

/// The words in the texts of some code.
fn quoted(code: &str) -> BTreeSet<String> {
    let code = code.replace("'\"'", " ").replace("\\\"", " ");
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_' || letter == '.';
    let words = code
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| !text.starts_with('['))
        .flat_map(|text| text.split(|letter| !is_name(letter)));
    words.filter(|word| word.len() > 2 && *word != "true").map(str::to_owned).collect()
}

#[test]
fn fields_are_found_in_all_their_forms() {
    let code = "tracing::info!(a.b = f(x, y), %c, ?d, e, \"text, with = comma\");\n\
        tracing::$level!(g = $seen.h, $message)";
    let found: Vec<String> = fields(code).into_iter().collect();
    assert_eq!(found, ["a.b", "c", "d", "e", "g"]);
}
