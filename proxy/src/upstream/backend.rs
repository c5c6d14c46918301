//! One address in an upstream: what everyone may read of it without a lock, and who is using it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::config;
use crate::metrics::BackendMetrics;

/// Available, with nothing held against it.
const FREE: u64 = 0;
/// Not available until an event says otherwise.
const FOR_NOW: u64 = u64::MAX;

/// A backend, shared by everyone who talks to it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) config: config::Backend,
    pub(crate) metrics: BackendMetrics,
    /// Rung when an attempt failed, so that the next probe comes soon.
    pub(crate) suspected: Notify,
    in_flight: AtomicU32,
    /// `FREE`, `FOR_NOW`, or the millisecond from which it may be tried again. Written by `publish` only.
    blocked_until: AtomicU64,
}

/// A backend in use by one attempt; dropping it, in whatever way, ends the use.
#[derive(Debug)]
pub(crate) struct Lease {
    backend: Arc<Backend>,
    /// The backend's place in its pool.
    pub(crate) index: usize,
}

impl Backend {
    pub(crate) fn new(config: config::Backend, metrics: BackendMetrics) -> Self {
        metrics.up.set(1);
        Self {
            config,
            metrics,
            suspected: Notify::new(),
            in_flight: AtomicU32::new(0),
            blocked_until: AtomicU64::new(FREE),
        }
    }

    /// Counts one more attempt in flight, from before it connects until the lease is dropped.
    pub(super) fn lease(this: &Arc<Self>, index: usize) -> Lease {
        this.in_flight.fetch_add(1, Ordering::Relaxed);
        this.metrics.in_flight.inc();
        Lease { backend: Arc::clone(this), index }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it may receive a request at this millisecond of its pool.
    pub(crate) fn is_available(&self, now_ms: u64) -> bool {
        self.blocked_until.load(Ordering::Acquire) <= now_ms
    }

    /// Whether it is available only to be tried: its ejection has run out and nobody has shown that it works.
    pub(super) fn needs_trial(&self, now_ms: u64) -> bool {
        let blocked_until = self.blocked_until.load(Ordering::Acquire);
        blocked_until != FREE && blocked_until <= now_ms
    }

    /// Makes the availability known: `None` is available, `Some(None)` is not, `Some(ms)` is not until then.
    pub(super) fn publish(&self, blocked_until: Option<Option<u64>>) {
        let value = blocked_until.map_or(FREE, |until| until.unwrap_or(FOR_NOW));
        self.blocked_until.store(value, Ordering::Release);
    }
}

impl Lease {
    /// The backend, to be kept beyond the lease.
    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl std::ops::Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.backend.metrics.in_flight.dec();
    }
}
