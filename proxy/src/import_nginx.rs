//! Turns a configuration of nginx into one of the edge, and names every directive that it cannot carry over.
//!
//! docs/guides/from-nginx.md says which directive becomes which key. What has no meaning here (`sendfile`, `proxy_http_version`)
//! is passed over; what has one and no counterpart is a problem, with its line.

mod carry;
mod draft;
mod read;
mod values;

use std::fmt;
use std::path::Path;

use crate::config::Config;
use draft::Draft;

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// A configuration of the edge, as far as there is one.
    pub toml: String,
    /// What is not in it, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Something that was not carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the file and its line, from 1.
    pub at: String,
    /// What, and what to do about it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// Reads a configuration of nginx, with the files that it includes.
///
/// # Errors
///
/// When a file cannot be read or is not nginx's: the one problem.
pub fn import(path: &Path) -> Result<Imported, Problem> {
    let directives = read::file(path)?;
    let mut draft = Draft::default();
    carry::main(&directives, &mut draft);
    let toml = draft.toml();
    let mut problems = draft.problems;
    // What nginx takes and the edge does not is told in the edge's own words.
    if let Err(invalid) = Config::from_text("the result", &toml) {
        problems.push(Problem { at: path.display().to_string(), what: invalid.to_string() });
    }
    Ok(Imported { toml, problems })
}

#[cfg(test)]
mod tests;
