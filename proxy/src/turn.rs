//! One turn of a connection on pingora's path: what the listener and the hooks tell each other about it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cirque_shared::shutdown::Guard;

use crate::edge::Edge;

tokio::task_local! {
    /// The turn that the current task is serving; the hooks reach it through this.
    static TURN: Arc<Turn>;
}

/// One turn of a connection.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    head_is_complete: AtomicBool,
    in_flight: Mutex<Option<Guard>>,
}

impl Turn {
    /// Whether the hooks have seen the request's head.
    pub(crate) fn head_is_complete(&self) -> bool {
        self.head_is_complete.load(Ordering::Acquire)
    }
}

/// Runs a future as this turn.
pub(crate) fn within<F: Future>(turn: Arc<Turn>, future: F) -> impl Future<Output = F::Output> {
    TURN.scope(turn, future)
}

/// To be called by the first hook: the head is there, so the request is in flight until its turn ends.
pub(crate) fn head_is_complete(edge: &Edge) {
    // Outside a turn (a request that pingora makes by itself) there is nothing to stop.
    let _ = TURN.try_with(|turn| {
        turn.head_is_complete.store(true, Ordering::Release);
        *turn.in_flight.lock().unwrap_or_else(PoisonError::into_inner) = Some(edge.in_flight.enter());
    });
}
