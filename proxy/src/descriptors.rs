//! Decides how many files may be open, and so how many connections there can be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connection of a client: logs, listeners, the admin interface, idle connections to backends.
const RESERVE: u64 = 512;

/// What a client's connection takes: itself, and one to a backend.
const EACH: u64 = 2;

/// Raises the soft limit of open files to the hard one, and returns how many clients that allows.
pub(crate) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let now = getrlimit(Resource::Nofile).current;
    let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    match raised {
        Ok(()) => tracing::info!(before = limit(current), now = limit(now), "open files limit is raised"),
        Err(error) => tracing::warn!(%error, now = limit(now), "open files limit could not be raised"),
    }
    clients(now)
}

/// How many clients so many files allow; `None`: any number of files.
fn clients(files: Option<u64>) -> usize {
    let Some(files) = files else { return usize::MAX };
    let left = files.saturating_sub(RESERVE.min(files / 2));
    usize::try_from(left / EACH).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_needs_two_files_and_some_are_kept_back() {
        for (files, expected) in
            [(Some(1024), 256), (Some(65_536), 32_512), (Some(100), 25), (Some(1), 1), (None, usize::MAX)]
        {
            assert_eq!(clients(files), expected, "{files:?}");
        }
    }
}
