//! Decides what the reads of one request must see: what its caller wrote before, and what it writes itself.
//!
//! A session goes with the task that answers a request, so that no handler has to name it. Work that is handed to
//! another task takes it along with [`Session::scope`]; outside a session a read may be a moment old.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Position;
use super::servers::choice::Need;

tokio::task_local! {
    static CURRENT: Session;
}

/// No replica yet.
const NOWHERE: usize = usize::MAX;

/// What one request must see. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    need: Mutex<Need>,
    /// Where the database was after the last write.
    wrote: Mutex<Option<Position>>,
    /// The replica that answered first.
    pinned: AtomicUsize,
}

impl Session {
    /// One whose reads see this at least.
    pub fn new(need: Need) -> Self {
        Self(Arc::new(Inner {
            need: Mutex::new(need),
            wrote: Mutex::default(),
            pinned: AtomicUsize::new(NOWHERE),
        }))
    }

    /// The session of the task that calls this.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Carries out `work` in this session.
    pub fn scope<W: Future>(self, work: W) -> impl Future<Output = W::Output> {
        CURRENT.scope(self, work)
    }

    /// What its reads must see.
    pub fn need(&self) -> Need {
        *self.0.need.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the database was after the last write of this session; `None` when it wrote nothing.
    pub fn wrote(&self) -> Option<Position> {
        *self.0.wrote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was written, and is there from this place on.
    pub(super) fn note_write(&self, position: Position) {
        let mut wrote = self.0.wrote.lock().unwrap_or_else(PoisonError::into_inner);
        *wrote = Some(wrote.map_or(position, |before| before.furthest(position)));
        let mut need = self.0.need.lock().unwrap_or_else(PoisonError::into_inner);
        *need = need.and(Need::At(position));
    }

    pub(super) fn pinned(&self) -> Option<usize> {
        Some(self.0.pinned.load(Ordering::Relaxed)).filter(|server| *server != NOWHERE)
    }

    pub(super) fn pin(&self, server: usize) {
        self.0.pinned.store(server, Ordering::Relaxed);
    }
}
