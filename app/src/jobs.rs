//! Decides which kinds of jobs there are: in which queue each waits, how often and how long it is tried.
//!
//! Whoever adds one adds the doing of it in `listeners.rs`; which events lead to it stands in `events.rs`.

use std::time::Duration;

use crate::queue::{Kind, Queue};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Tells caches outside of what has changed.
pub const CLEAR_POST_CACHE: &Kind = &Kind {
    name: "clear_post_cache",
    queue: Queue::Default,
    tries: 15,
    time: secs(30),
    first_wait: secs(2),
    longest_wait: secs(600),
};

/// Every kind.
pub const ALL: &[&Kind] = &[CLEAR_POST_CACHE];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_waits_that_grow() {
        let names: BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
        for kind in ALL {
            assert!(kind.tries > 0 && kind.first_wait < kind.longest_wait, "{}", kind.name);
        }
    }
}
