//! One turn of a connection on pingora's path: what the listener and the hooks tell each other about it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cirque_shared::shutdown::Guard;
use tokio::time::Instant;

use crate::door::Origin;
use crate::edge::Edge;
use crate::respond::Refusal;

tokio::task_local! {
    /// The turn that the current task is serving; the hooks reach it through this.
    static TURN: Arc<Turn>;
}

/// One turn of a connection.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) origin: Arc<Origin>,
    head_is_complete: AtomicBool,
    in_flight: Mutex<Option<Guard>>,
    began: Instant,
    /// Milliseconds from the beginning to the last piece of the request's body; `NO_MORE` when it is not waited for.
    last_piece: AtomicU64,
    cut: Mutex<Option<Refusal>>,
}

/// The body is there, or the answer has begun without it.
const NO_MORE: u64 = u64::MAX;

impl Turn {
    pub(crate) fn new(origin: Arc<Origin>) -> Self {
        Self {
            origin,
            head_is_complete: AtomicBool::new(false),
            in_flight: Mutex::default(),
            began: Instant::now(),
            last_piece: AtomicU64::new(0),
            cut: Mutex::default(),
        }
    }

    /// A piece of the request's body came.
    pub(crate) fn body_moved(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(NO_MORE - 1);
        // What is not waited for any more stays so.
        let _ = self
            .last_piece
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| (last != NO_MORE).then_some(since));
    }

    /// The request's body is not waited for any more.
    pub(crate) fn body_is_over(&self) {
        self.last_piece.store(NO_MORE, Ordering::Release);
    }

    /// Waits until the request's body has paused for `timeout`.
    pub(crate) async fn body_is_overdue(&self, timeout: Duration) {
        loop {
            let last = self.last_piece.load(Ordering::Acquire);
            if last == NO_MORE {
                return std::future::pending().await;
            }
            let due = self.began + Duration::from_millis(last) + timeout;
            if Instant::now() >= due {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    /// The turn ends here: what its log line is to say.
    pub(crate) fn cut(&self, why: Refusal) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why the turn was ended from outside.
    pub(crate) fn why_cut(&self) -> Option<Refusal> {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
///
/// `None` outside a turn, for a request that pingora makes by itself: there is nothing to stop.
pub(crate) fn head_is_complete(edge: &Edge) -> Option<Arc<Turn>> {
    let turn = TURN.try_with(Arc::clone).ok()?;
    turn.head_is_complete.store(true, Ordering::Release);
    *turn.in_flight.lock().unwrap_or_else(PoisonError::into_inner) = Some(edge.in_flight.enter());
    Some(turn)
}
