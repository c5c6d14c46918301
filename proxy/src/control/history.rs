//! Every configuration that was put to work: what it said, when, by whom and why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Versions that are kept; the oldest goes first.
const MOST_VERSIONS: u64 = 1000;

/// A configuration that was put to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) number: u64,
    /// When, in UTC (RFC 3339).
    pub(crate) at: String,
    /// Who asked for it.
    pub(crate) by: String,
    /// In their words.
    pub(crate) why: String,
    /// What it changed, in words.
    pub(crate) changes: Vec<String>,
}

/// The versions, in a folder of two files each.
#[derive(Debug)]
pub(crate) struct History {
    folder: PathBuf,
}

impl History {
    /// The history in this folder of state; it is made with the first version.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("history") }
    }

    /// Keeps a configuration as the newest version.
    pub(crate) fn add(&self, text: &str, by: &str, why: &str, changes: Vec<String>) -> io::Result<Version> {
        fs::create_dir_all(&self.folder)?;
        let number = self.numbers()?.last().map_or(1, |last| last + 1);
        let at = OffsetDateTime::now_utc().format(&Rfc3339).map_err(io::Error::other)?;
        let version = Version { number, at, by: by.to_owned(), why: why.to_owned(), changes };
        crate::durable::write(&self.file(number, "toml"), text.as_bytes())?;
        // Written last: a version is there when its note is.
        let note = serde_json::to_string_pretty(&version)? + "\n";
        crate::durable::write(&self.file(number, "json"), note.as_bytes())?;
        if let Some(old) = number.checked_sub(MOST_VERSIONS).filter(|old| *old > 0) {
            let _ = fs::remove_file(self.file(old, "json"));
            let _ = fs::remove_file(self.file(old, "toml"));
        }
        Ok(version)
    }

    /// The versions that are kept, oldest first. One whose note cannot be read is left out.
    pub(crate) fn list(&self) -> io::Result<Vec<Version>> {
        let note = |number| fs::read(self.file(number, "json")).ok();
        let read = |number| serde_json::from_slice(&note(number)?).ok();
        Ok(self.numbers()?.into_iter().filter_map(read).collect())
    }

    /// What a version said; `None` when it is not kept.
    pub(crate) fn text(&self, number: u64) -> io::Result<Option<String>> {
        match fs::read_to_string(self.file(number, "toml")) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest version and what it said.
    pub(crate) fn latest(&self) -> io::Result<Option<(u64, String)>> {
        let Some(number) = self.numbers()?.pop() else { return Ok(None) };
        Ok(self.text(number)?.map(|text| (number, text)))
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::parse::<u64>);
            numbers.extend(number.into_iter().flatten());
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn file(&self, number: u64, kind: &str) -> PathBuf {
        self.folder.join(format!("{number:06}.{kind}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbered_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::new(folder.path());
        assert_eq!(history.latest().unwrap(), None);
        history.add("one", "ada", "first", Vec::new()).unwrap();
        let second = history.add("two", "ada", "second", vec!["~ a: 1 -> 2".to_owned()]).unwrap();
        assert_eq!(second.number, 2);
        assert_eq!(history.latest().unwrap(), Some((2, "two".to_owned())));
        assert_eq!(history.text(1).unwrap().as_deref(), Some("one"));
        assert_eq!(history.text(9).unwrap(), None);
        assert_eq!(history.list().unwrap()[1], second);
    }

    #[test]
    fn a_version_that_was_half_written_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::new(folder.path());
        history.add("one", "ada", "", Vec::new()).unwrap();
        fs::write(history.file(2, "toml"), "two").unwrap();
        assert_eq!(history.latest().unwrap(), Some((1, "one".to_owned())));
        assert_eq!(history.add("three", "ada", "", Vec::new()).unwrap().number, 2);
    }
}
