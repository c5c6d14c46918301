//! Reads a TOML file strictly: every unknown key, wrong type and impossible value is reported at once.
//!
//! Three steps, one direction: [`raw!`](crate::raw) declares what a table may say, the caller's `parse`
//! turns that into values which cannot be invalid, and [`Problems`] collects everything that stood in the way.

mod problems;
mod read;
pub mod secret;
mod shown;
pub mod units;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use problems::{Invalid, Problem, Problems};
pub use read::{Read, Table, Value, child, field, key_paths, wrong_type};
pub use shown::{Changed, Shown};
pub use toml::de::DeTable;

/// A variable of the environment, by its name.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The environment of this process; an empty variable is none.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Reads `text` (named `name` in messages) and hands the raw tables to `parse`.
///
/// `parse` always returns a value, with a stand-in wherever it pushed a problem; the value is only passed
/// on when there was none.
///
/// # Errors
///
/// [`Invalid`] lists every problem of the text with its key path, line and column.
pub fn read_text<R: Table + Default, C>(
    name: &str,
    text: &str,
    parse: impl FnOnce(R, &mut Problems) -> C,
) -> Result<C, Invalid> {
    let mut problems = Problems::of(name, text);
    let raw = read::document::<R>(text, &mut problems);
    // A file that is not TOML would only produce follow-up problems.
    if problems.has_syntax_error() {
        return Err(problems.into_invalid());
    }
    let parsed = parse(raw, &mut problems);
    if problems.is_empty() { Ok(parsed) } else { Err(problems.into_invalid()) }
}

/// Like [`read_text`], from a file.
///
/// # Errors
///
/// As [`read_text`]; a file that cannot be read is one problem too.
pub fn read_file<R: Table + Default, C>(
    path: &Path,
    parse: impl FnOnce(R, &mut Problems) -> C,
) -> Result<C, Invalid> {
    read_text(&path.display().to_string(), &text_of(path)?, parse)
}

/// The text of a file.
///
/// # Errors
///
/// A file that cannot be read is one problem.
pub fn text_of(path: &Path) -> Result<String, Invalid> {
    std::fs::read_to_string(path).map_err(|error| Invalid::unreadable(&path.display().to_string(), &error))
}
