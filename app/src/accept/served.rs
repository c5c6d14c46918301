//! Counts the requests of a process, and tells when it has answered as many as it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// How many requests a process has begun. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    count: AtomicU64,
    full: Notify,
    /// 0: any number.
    quota: u64,
}

impl Served {
    /// With so many to serve; 0 for any number.
    pub fn up_to(quota: u64) -> Self {
        Self(Arc::new(Counted { quota, ..Counted::default() }))
    }

    pub(super) fn one(&self) {
        let before = self.0.count.fetch_add(1, Ordering::Relaxed);
        if before + 1 == self.0.quota {
            self.0.full.notify_one();
        }
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Waits until there were as many as there should be; for one waiter, once.
    pub async fn full(&self) {
        self.0.full.notified().await;
    }
}
