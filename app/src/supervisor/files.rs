//! Notices that a file has changed, by looking: for development, where half a second is soon enough.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// How often to look. A change counts once it has held still from one look to the next.
pub(super) const EVERY: Duration = Duration::from_millis(500);

/// What a file looks like from outside; `None` where there is none, as while it is being replaced.
type Looks = Option<(u64, u64, i64, i64)>;

/// Files that are watched.
#[derive(Debug)]
pub(super) struct Watched {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    known: Looks,
    last: Looks,
}

impl Watched {
    /// From how they look now.
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let file = |path: PathBuf| {
            let looks = looks(&path);
            File { path, known: looks, last: looks }
        };
        Self { files: paths.into_iter().map(file).collect() }
    }

    /// The first file that has changed since it was last asked for, and is whole.
    pub(super) fn changed(&mut self) -> Option<PathBuf> {
        let mut changed = None;
        for file in &mut self.files {
            let now = looks(&file.path);
            if now.is_some() && now == file.last && now != file.known {
                file.known = now;
                changed.get_or_insert_with(|| file.path.clone());
            }
            file.last = now;
        }
        changed
    }
}

fn looks(path: &std::path::Path) -> Looks {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_when_it_holds_still() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.toml");
        fs::write(&path, "one").unwrap();
        let mut watched = Watched::new([path.clone()]);
        assert_eq!(watched.changed(), None);
        fs::write(&path, "one and").unwrap();
        assert_eq!(watched.changed(), None, "it may be half written");
        fs::write(&path, "one and two").unwrap();
        assert_eq!(watched.changed(), None);
        assert_eq!(watched.changed(), Some(path.clone()));
        assert_eq!(watched.changed(), None);
        fs::remove_file(&path).unwrap();
        assert_eq!((watched.changed(), watched.changed()), (None, None), "it is being replaced");
        fs::write(&path, "three").unwrap();
        assert_eq!((watched.changed(), watched.changed()), (None, Some(path)));
    }
}
