//! One address in an upstream: what everyone may read of it without a lock, and who is using it.
//!
//! It outlives the configuration that named it: a reload that keeps upstream, id, address and the way to it keeps the backend,
//! with what is in flight, what is held against it and its idle connections. What a file may change about it
//! (its weight, its limits) is the pool's.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::availability::Availability;
use super::availability::tally::Tally;
use super::idle::Pool;
use super::queue::Queue;
use super::recent::{Recent, Sample};
use crate::balance::load::Penalty;
use crate::config;
use crate::config::policy::Reach;
use crate::dial::{Dial, Io};
use crate::metrics::BackendMetrics;

/// Available, with nothing held against it.
const FREE: u64 = 0;
/// Not available until an event says otherwise.
const FOR_NOW: u64 = u64::MAX - 1;
/// The operator took it out: not even for want of another.
const OUT: u64 = u64::MAX;

/// A backend, shared by everyone who talks to it.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Unique in its upstream.
    pub(crate) id: String,
    /// Its address as written, for humans.
    pub(crate) name: String,
    /// The way to it.
    pub(crate) dial: Dial,
    /// Shared with a backend of the same id at another address, before or after it.
    pub(crate) metrics: Arc<BackendMetrics>,
    /// Connections that wait for the next request.
    pub(crate) idle: Pool<Io>,
    /// Written by [`super::Upstream::apply`] only.
    pub(super) facts: Mutex<Availability>,
    /// Rung when an attempt failed, so that the next probe comes soon.
    pub(crate) suspected: Notify,
    /// What attempts came to of late.
    pub(super) tally: Tally,
    /// What recent failures add to its load.
    pub(super) penalty: Penalty,
    /// What it did of late.
    pub(crate) recent: Recent,
    /// Who waits for room in its pool.
    queue: Arc<Queue>,
    in_flight: AtomicU32,
    /// The millisecond of its return, from which it starts slowly; 0: it was always there.
    returned_at: AtomicU64,
    /// `FREE`, `FOR_NOW`, or the millisecond from which it may be tried again. Written by `publish` only.
    blocked_until: AtomicU64,
}

/// From when on a backend may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Now.
    Not,
    /// From this millisecond of its pool.
    Until(u64),
    /// When an event says so.
    ForNow,
    /// When the operator says so.
    Out,
}

/// A backend in use by one attempt; dropping it, in whatever way, ends the use.
#[derive(Debug)]
pub(crate) struct Lease {
    backend: Arc<Backend>,
    /// The backend's place in its pool.
    pub(crate) index: usize,
}

impl Backend {
    /// A backend; `new_since`: the millisecond from which it starts slowly.
    pub(super) fn new(
        config: &config::Backend,
        reach: &Reach,
        metrics: Arc<BackendMetrics>,
        queue: Arc<Queue>,
        new_since: Option<u64>,
    ) -> Self {
        metrics.up.set(1);
        Self {
            id: config.id.clone(),
            name: config.name.clone(),
            dial: Dial::new(config, reach),
            metrics,
            idle: Pool::default(),
            facts: Mutex::default(),
            suspected: Notify::new(),
            tally: Tally::default(),
            penalty: Penalty::default(),
            recent: Recent::default(),
            queue,
            in_flight: AtomicU32::new(0),
            returned_at: AtomicU64::new(new_since.unwrap_or(0)),
            blocked_until: AtomicU64::new(FREE),
        }
    }

    /// Whether this configuration means this backend.
    pub(super) fn is(&self, config: &config::Backend, reach: &Reach) -> bool {
        self.id == config.id && self.dial.is(config, reach) && self.name == config.name
    }

    /// Counts one more attempt in flight, from before it connects until the lease is dropped; `None` when it has
    /// `most` already.
    pub(super) fn lease(this: &Arc<Self>, index: usize, most: Option<u32>) -> Option<Lease> {
        let one_more = |in_flight: u32| most.is_none_or(|most| in_flight < most).then_some(in_flight + 1);
        match most {
            None => drop(this.in_flight.fetch_add(1, Ordering::SeqCst)),
            Some(_) => {
                this.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
            }
        }
        this.metrics.in_flight.inc();
        Some(Lease { backend: Arc::clone(this), index })
    }

    /// In one order with the line of those who wait for room: see [`Lease`]'s end.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// It is back in rotation, and starts slowly.
    pub(super) fn returned(&self, now_ms: u64) {
        self.returned_at.store(now_ms, Ordering::Relaxed);
    }

    /// How long it has been back at this millisecond of its pool; for ever when it was never away.
    pub(super) fn back_for(&self, now_ms: u64) -> Duration {
        match self.returned_at.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            since => Duration::from_millis(now_ms.saturating_sub(since)),
        }
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

    /// Whether the operator took it out of rotation.
    pub(crate) fn is_out(&self) -> bool {
        self.blocked_until.load(Ordering::Acquire) == OUT
    }

    /// What its counters say now.
    pub(crate) fn sample(&self, at: Instant) -> Sample {
        let (answers, failed) = self.metrics.so_far();
        Sample { at, answers, failed }
    }

    /// Makes the availability known.
    pub(super) fn publish(&self, blocked: Blocked) {
        let value = match blocked {
            Blocked::Not => FREE,
            Blocked::Until(millisecond) => millisecond,
            Blocked::ForNow => FOR_NOW,
            Blocked::Out => OUT,
        };
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
        // First the room, then the line: who joins the line looks for room after that, so one of both sees the other.
        self.backend.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.backend.metrics.in_flight.dec();
        self.backend.queue.freed();
    }
}
