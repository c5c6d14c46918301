//! Decides what a file must look like: one sentence at its top, a size that fits a head, a name that says something.

use crate::report;
use crate::source::{Source, rust};

const MAX_LINES: usize = 400;
/// End-to-end tests are lists; they may be longer, not endless.
const MAX_TEST_LINES: usize = 600;
const SAYS_NOTHING: [&str; 9] =
    ["util", "utils", "helper", "helpers", "common", "types", "manager", "misc", "mod"];

#[test]
fn every_file_says_in_its_first_line_what_is_decided_there() {
    let missing = rust().into_iter().filter(|source| !begins_with_a_sentence(&source.text));
    let findings: Vec<String> =
        missing.map(|source| format!("{}: {:?}", source.path, first_line(&source.text))).collect();
    report("the first line must be `//! ` and one whole sentence that ends with a full stop", &findings);
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn begins_with_a_sentence(text: &str) -> bool {
    let Some(sentence) = first_line(text).strip_prefix("//! ") else { return false };
    let starts_well = sentence.starts_with(|c: char| c.is_uppercase() || c == '`');
    starts_well && sentence.ends_with('.') && sentence.split(' ').count() >= 3
}

#[test]
fn no_file_is_longer_than_one_can_keep_in_mind() {
    let findings: Vec<String> = rust().iter().filter_map(too_long).collect();
    report("split these rooms", &findings);
}

fn too_long(source: &Source) -> Option<String> {
    let (lines, limit) = if source.is_tests() {
        (source.text.lines().count(), MAX_TEST_LINES)
    } else {
        (source.code().lines().count(), MAX_LINES)
    };
    (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", source.path))
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let named = rust().into_iter().filter(|source| {
        let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        SAYS_NOTHING.contains(&stem)
    });
    let findings: Vec<String> = named.map(|source| source.path).collect();
    report("name these files after what is decided in them (and never mod.rs)", &findings);
}

#[test]
fn a_first_line_is_a_sentence_or_it_is_not() {
    assert!(begins_with_a_sentence("//! Decides who goes first.\n"));
    for bad in
        ["//! x", "// Decides it all.", "//! decides who goes first.", "//! Decides who goes first", ""]
    {
        assert!(!begins_with_a_sentence(bad), "{bad:?}");
    }
}
