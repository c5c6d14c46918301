//! Decides where answers are kept: in this process, bounded in bytes; a shared layer would go behind the same calls.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::entry::Entry;

/// Answers by name. When it is full, those that are asked for least leave.
#[derive(Clone, Debug)]
pub(super) struct Store(Cache<String, Arc<Entry>>);

impl Store {
    /// Room for so many bytes; after `usable` an answer is good for nothing.
    pub(super) fn new(max_size: u64, usable: Duration) -> Self {
        let weight =
            |key: &String, entry: &Arc<Entry>| u32::try_from(key.len() + entry.weight()).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(max_size).weigher(weight).time_to_live(usable).build())
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.0.get(key)
    }

    /// Keeps `entry`, unless there is one already that was made with more knowledge.
    pub(super) fn put(&self, key: &str, entry: &Arc<Entry>) {
        if self.get(key).is_some_and(|kept| entry.known().is_behind(kept.known())) {
            return;
        }
        self.0.insert(key.to_owned(), Arc::clone(entry));
    }

    pub(super) fn remove(&self, key: &str) {
        self.0.invalidate(key);
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.entry_count(), self.0.weighted_size())
    }
}
