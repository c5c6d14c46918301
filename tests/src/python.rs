//! Finds programs that others wrote in Python, where `scripts/test` has put them.

use std::path::PathBuf;
use std::process::Command;

/// The folder below the target directory that `scripts/install.sh` fills.
const FOLDER: &str = "python/bin";

/// Such a program.
#[track_caller]
pub fn program(name: &str) -> Command {
    let path = target().join(FOLDER).join(name);
    assert!(path.exists(), "{} is missing; `scripts/test` installs it", path.display());
    Command::new(path)
}

/// The target directory: tests run from `target/<profile>/deps`.
fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own file");
    own.ancestors().nth(3).expect("tests run from the target directory").to_owned()
}
