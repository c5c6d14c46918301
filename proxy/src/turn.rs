//! One turn of a connection on pingora's path: what the listener and the hooks tell each other about it.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cirque_shared::shutdown::Guard;
use tokio::time::Instant;

use crate::door::Origin;
use crate::edge::Edge;
use crate::limit::pace::Floor;
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
    answer: Arc<Answered>,
    cut: Mutex<Option<Refusal>>,
}

/// How much of an answer was handed to the client's connection, and how much of that it let go of again.
#[derive(Debug, Default)]
struct Answered {
    handed: AtomicU64,
    taken: AtomicU64,
}

/// A piece of an answer. It is dropped once the client's connection has taken all of it.
struct Piece {
    bytes: Bytes,
    answer: Arc<Answered>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.answer.taken.fetch_add(self.bytes.len() as u64, Ordering::AcqRel);
    }
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
            answer: Arc::default(),
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

    /// A piece of the answer on its way to the client, so that it is noticed when the client takes it.
    pub(crate) fn handed(&self, bytes: Bytes) -> Bytes {
        self.answer.handed.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        Bytes::from_owner(Piece { bytes, answer: Arc::clone(&self.answer) })
    }

    /// Waits until the client has not taken in time what waited for it. To be polled after whatever hands it out; it
    /// costs no timer while nothing waits.
    pub(crate) async fn answer_is_overdue(&self, floor: Floor) {
        let mut waiting: Option<(u64, std::pin::Pin<Box<tokio::time::Sleep>>)> = None;
        poll_fn(|cx| {
            loop {
                let taken = self.answer.taken.load(Ordering::Acquire);
                if waiting.as_ref().is_some_and(|(owed, _)| taken >= *owed) {
                    waiting = None;
                }
                let (_, timer) = match &mut waiting {
                    Some(waiting) => waiting,
                    None => {
                        let owed = self.answer.handed.load(Ordering::Acquire);
                        let time = floor.time_for(owed.saturating_sub(taken));
                        let Some(time) = time.filter(|_| owed > taken) else { return Poll::Pending };
                        waiting.insert((owed, Box::pin(tokio::time::sleep(time))))
                    }
                };
                ready!(timer.as_mut().poll(cx));
                if waiting.as_ref().is_some_and(|(owed, _)| self.answer.taken.load(Ordering::Acquire) < *owed)
                {
                    return Poll::Ready(());
                }
            }
        })
        .await
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

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;
    use crate::config::Listener;
    use crate::config::policy::Protocols;
    use crate::door::{Door, Standing};
    use crate::metrics::Metrics;

    const FLOOR: Floor = Floor { rate: 1000, window: Duration::from_secs(10) };

    fn turn() -> Turn {
        let listener = Listener::plain(Protocols { http1: true, http2: true });
        let metrics = Metrics::new(&Registry::new());
        let door = Door::new(&listener, Standing::default(), &metrics, None).unwrap();
        Turn::new(Arc::new(Origin { door: Arc::new(door), peer: [127, 0, 0, 1].into(), name: None }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_overdue_after_a_window_and_the_time_of_its_bytes() {
        let turn = turn();
        let piece = turn.handed(Bytes::from(vec![0; 5000]));
        let began = Instant::now();
        turn.answer_is_overdue(FLOOR).await;
        assert_eq!(began.elapsed().as_secs(), 15);
        drop(piece);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_up_and_one_that_nothing_waits_for_are_never_overdue() {
        let turn = turn();
        let mut piece = Some(turn.handed(Bytes::from(vec![0; 5000])));
        let overdue = turn.answer_is_overdue(FLOOR);
        let taking = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(14)).await;
                drop(piece.take());
                piece = Some(turn.handed(Bytes::from(vec![0; 5000])));
            }
            drop(piece.take());
            tokio::time::sleep(Duration::from_secs(1000)).await;
        };
        tokio::select! {
            biased;
            () = taking => {}
            () = overdue => panic!("it kept up"),
        }
    }
}
