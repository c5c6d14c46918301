//! Decides which files are ours, and which of their lines are code and which are tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file, by its path from the root of the repository.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// What comes before the file's own tests; a file that is all tests has none.
    pub(crate) fn code(&self) -> &str {
        if self.is_tests() {
            return "";
        }
        self.text.split("\n#[cfg(test)]").next().unwrap_or_default()
    }

    /// The code without comments. Line numbers stay what they were.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code().lines().enumerate();
        lines.map(|(at, line)| (at + 1, without_comment(line)))
    }

    /// End-to-end tests, and the tests of a room in a file of their own.
    pub(crate) fn is_tests(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/e2e/") || name == "tests.rs" || self.path.contains("/tests/")
    }
}

pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests crate lies in the repository").to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("could not read {path}: {error}"))
}

/// Every Rust file of the workspace.
pub(crate) fn rust() -> Vec<Source> {
    let folders = ["src", "proxy", "app", "shared", "tests"];
    let paths = folders.iter().flat_map(|folder| files(folder, "rs"));
    paths.map(|path| Source { text: read(&path), path }).collect()
}

/// Every file below a folder whose name ends so, by path from the root; none when the folder does not exist.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(folder), extension, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|own| own == extension) {
            let path = path.strip_prefix(root()).expect("found below the root");
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

/// Good enough for our sources: a `//` inside a string is kept when a quote is open before it.
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let mut previous = ' ';
    for (at, character) in line.char_indices() {
        match character {
            '"' if previous != '\\' && previous != '\'' => in_string = !in_string,
            '/' if previous == '/' && !in_string => return &line[..at - 1],
            _ => {}
        }
        previous = character;
    }
    line
}

#[test]
fn comments_are_cut_and_strings_are_kept() {
    assert_eq!(without_comment("let a = 1; // one"), "let a = 1; ");
    assert_eq!(without_comment("let a = \"http://x\"; // y"), "let a = \"http://x\"; ");
    assert_eq!(without_comment("/// docs"), "");
}

#[test]
fn code_ends_where_the_tests_begin() {
    let text = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {}\n".to_owned();
    let source = Source { path: "app/src/a.rs".to_owned(), text };
    assert_eq!(source.code_lines().count(), 2);
}
