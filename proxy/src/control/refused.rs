//! Why a change did not happen, in words for whoever asked.

use std::fmt;
use std::io;
use std::path::PathBuf;

use cirque_shared::config::Invalid;

use super::edit::Cannot;

/// Why a change did not happen. Everything is as it was.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The text has problems.
    Invalid(Invalid),
    /// These keys are only read at the start.
    NeedsRestart(Vec<&'static str>),
    /// There is no such thing, or there is one already.
    Cannot(Cannot),
    /// It was meant for another state than this.
    Stale { now: String },
    /// The file says more than what is at work.
    Draft(PathBuf),
    /// A listener cannot be opened.
    Listener(String),
    /// A file could not be read or written.
    Io(&'static str, PathBuf, io::Error),
}

impl Refused {
    /// A word for it in answers and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::NeedsRestart(_) => "needs_restart",
            Self::Cannot(Cannot::Missing(_)) => "not_found",
            Self::Cannot(Cannot::Exists(_)) => "exists",
            Self::Cannot(Cannot::Unclear(_)) => "unclear",
            Self::Stale { .. } => "stale",
            Self::Draft(_) => "draft",
            Self::Listener(_) => "listener",
            Self::Io(..) => "io",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => write!(f, "{invalid}"),
            Self::NeedsRestart(keys) => {
                write!(f, "{} changed, which is only read at the start: restart the edge", keys.join(", "))
            }
            Self::Cannot(Cannot::Missing(what)) => write!(f, "there is no {what}"),
            Self::Cannot(Cannot::Exists(what)) => write!(f, "there is a {what} already"),
            Self::Cannot(Cannot::Unclear(why)) => write!(f, "the file could not be changed: {why}"),
            Self::Stale { now } => {
                write!(f, "the edge has changed meanwhile and is at {now} now: look again, then repeat")
            }
            Self::Draft(path) => {
                let path = path.display();
                write!(f, "{path} has changes that are not at work: reload them or take them back first")
            }
            Self::Listener(why) => write!(f, "{why}"),
            Self::Io(doing, path, error) => write!(f, "{doing} {} failed: {error}", path.display()),
        }
    }
}

impl std::error::Error for Refused {}
