//! Collects every mistake of a configuration file with its place, so that all are fixed in one go.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// One mistake: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key path, like `routes[2].retry.budget`; empty for the file itself.
    pub key: String,
    /// Line and column, from 1; `None` where the key is not in the file.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The mistakes found so far, and where each key of the file stands.
#[derive(Debug)]
pub struct Problems {
    name: String,
    line_starts: Vec<usize>,
    places: HashMap<String, usize>,
    found: Vec<Problem>,
    syntax: bool,
}

impl Problems {
    pub(super) fn of(name: &str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), line_starts, places: HashMap::new(), found: Vec::new(), syntax: false }
    }

    /// Notes a mistake at `key`.
    pub fn push(&mut self, key: &str, message: impl Into<String>) {
        let place = self.place_of(key);
        self.found.push(Problem { key: key.to_owned(), place, message: message.into() });
    }

    /// The value at `key`, or its default and a problem when it was left out.
    pub fn require<T: Default>(&mut self, key: &str, value: Option<T>) -> T {
        if let Some(value) = value {
            return value;
        }
        // A key that is there but was unreadable already has its own problem.
        if !self.found.iter().any(|problem| problem.key == key) {
            self.push(key, "is required");
        }
        T::default()
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn syntax(&mut self, span: Option<Range<usize>>, message: &str) {
        self.syntax = true;
        let place = span.map(|span| self.line_and_column(span.start));
        let message = format!("is not valid TOML: {}", message.trim().replace('\n', ", "));
        self.found.push(Problem { key: String::new(), place, message });
    }

    pub(super) fn has_syntax_error(&self) -> bool {
        self.syntax
    }

    pub(super) fn locate(&mut self, key: &str, span: &Range<usize>) {
        self.places.insert(key.to_owned(), span.start);
    }

    pub(super) fn into_invalid(mut self) -> Invalid {
        self.found.sort_by_key(|problem| problem.place.unwrap_or((usize::MAX, 0)));
        self.found.dedup();
        Invalid { name: self.name, problems: self.found }
    }

    /// The place of a key, or of the nearest table above it that is in the file.
    fn place_of(&self, key: &str) -> Option<(usize, usize)> {
        let mut path = key;
        loop {
            if let Some(at) = self.places.get(path) {
                return Some(self.line_and_column(*at));
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at);
        (line, at - self.line_starts[line - 1] + 1)
    }
}

/// A configuration file that cannot be used: all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    name: String,
    problems: Vec<Problem>,
}

impl Invalid {
    pub(super) fn unreadable(name: &str, error: &std::io::Error) -> Self {
        let message = format!("cannot be read: {error}");
        let problem = Problem { key: String::new(), place: None, message };
        Self { name: name.to_owned(), problems: vec![problem] }
    }

    /// The problems in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let plural = if count == 1 { "problem" } else { "problems" };
        write!(f, "{} has {count} {plural}", self.name)?;
        let width = self.problems.iter().map(|p| p.key.len()).max().unwrap_or(0).min(48);
        for problem in &self.problems {
            let place = problem.place.map_or(String::new(), |(line, column)| format!("{line}:{column}"));
            write!(f, "\n  {place:<8}{:<width$}  {}", problem.key, problem.message)?;
        }
        Ok(())
    }
}
