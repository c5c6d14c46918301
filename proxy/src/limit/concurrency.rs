//! Counts the requests that a route is working on, and sheds those above its limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many requests a route is working on. It stays when the configuration changes.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

/// One request; dropping it, in whatever way, ends it.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Count>);

impl Count {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn enter(self: &Arc<Self>, most: usize) -> Option<Slot> {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        // Made first: it takes the one back when it is dropped.
        let slot = Slot(Arc::clone(self));
        (before < most).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_are_let_in_and_each_end_makes_room() {
        let count = Arc::new(Count::default());
        let mut slots: Vec<Slot> = (0..3).map(|_| count.enter(3).unwrap()).collect();
        assert!(count.enter(3).is_none());
        slots.pop();
        assert!(count.enter(3).is_some());
        drop(slots);
        assert_eq!(count.0.load(Ordering::Acquire), 0);
    }
}
