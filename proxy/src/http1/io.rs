//! The primitives of the path: one deadline per connection, and reads that need no buffer while they wait.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What is read at once, at most.
pub(crate) const PIECE: usize = 64 * 1024;

thread_local! {
    /// Where every read of this thread lands first: a connection that waits holds no buffer of its own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// A connection's one deadline.
///
/// The timer behind it is only moved when a deadline comes nearer; when it fires early, it is set anew. So a
/// request costs no timer of its own, as long as each of its waits ends in time.
#[derive(Debug)]
pub(crate) struct Clock {
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Clock {
    /// A clock that rings after `first`, unless it is set before.
    pub(crate) fn new(first: Duration) -> Self {
        let deadline = Instant::now() + first;
        Self { timer: Box::pin(tokio::time::sleep_until(deadline)), deadline }
    }

    /// From now on it rings at `deadline`.
    pub(crate) fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll_ring(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }
}

/// Reads one piece and hands it to `take`; an empty piece is the end.
pub(crate) fn poll_piece<R>(
    io: &mut (impl AsyncRead + Unpin + ?Sized),
    cx: &mut Context<'_>,
    most: usize,
    take: impl FnOnce(&[u8]) -> R,
) -> Poll<io::Result<R>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let most = most.min(scratch.len());
        let mut buffer = ReadBuf::new(&mut scratch[..most]);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    })
}

/// Reads one piece onto the end of `into`; 0 is the end.
pub(crate) fn poll_append(
    io: &mut (impl AsyncRead + Unpin + ?Sized),
    cx: &mut Context<'_>,
    most: usize,
    into: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    poll_piece(io, cx, most, |piece| {
        into.extend_from_slice(piece);
        piece.len()
    })
}

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    sent: usize,
    /// Everything that ever went out.
    pub(crate) total: u64,
}

impl Outgoing {
    /// Whether everything is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends as much as the other side takes; ready when all of it went. Says through `progress` whether some did.
    pub(crate) fn poll_send(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin + ?Sized),
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let sent = ready!(Pin::new(&mut *io).poll_write(cx, &self.bytes[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
            self.total += sent as u64;
            *progress = true;
        }
        // TLS may still hold what it was given. Nothing is begun anew here: flushing nothing costs nothing.
        ready!(Pin::new(&mut *io).poll_flush(cx))?;
        self.bytes.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_rings_at_its_last_deadline_only() {
        let started = Instant::now();
        let mut clock = Clock::new(Duration::from_secs(10));
        clock.set(started + Duration::from_secs(30));
        std::future::poll_fn(|cx| clock.poll_ring(cx)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        clock.set(Instant::now() + Duration::from_secs(1));
        std::future::poll_fn(|cx| clock.poll_ring(cx)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(31));
    }
}
