//! Decides how long a client may be silent: in the head of a request, between requests, while taking an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::metrics::ConnectionMetrics;

/// How long each silence may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a head, or the start of the connection, to the head's end.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// Without taking a byte of an answer.
    pub(super) write: Duration,
}

const HEAD: u8 = 0;
const REQUEST: u8 = 1;
const IDLE: u8 = 2;

/// Where the connection is in its conversation; told by the handler, read by the socket.
#[derive(Clone, Debug)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    /// The head is complete: from here on `max_execution_time` is what counts.
    pub(super) fn begin_request(&self) {
        self.0.store(REQUEST, Ordering::Relaxed);
    }

    /// The answer is on its way: the next thing to read is another request.
    pub(super) fn end_request(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

/// A connection that does not wait for ever.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    phase: Phase,
    limits: Limits,
    metrics: ConnectionMetrics,
    read: Timer,
    write: Timer,
}

/// A deadline that is set when waiting begins.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What the deadline is for, so that it is not moved while that lasts.
    armed_for: Option<u8>,
}

impl Timer {
    /// Whether `limit` has passed since waiting for `what` began.
    fn is_over(&mut self, what: u8, limit: Duration, context: &mut Context<'_>) -> bool {
        let deadline = Instant::now() + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if self.armed_for != Some(what) {
            sleep.as_mut().reset(deadline);
            self.armed_for = Some(what);
        }
        sleep.as_mut().poll(context).is_ready()
    }

    fn disarm(&mut self) {
        self.armed_for = None;
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream, limits: Limits, metrics: ConnectionMetrics) -> (Self, Phase) {
        let phase = Phase(Arc::new(AtomicU8::new(HEAD)));
        let (read, write) = (Timer::default(), Timer::default());
        (Self { stream, phase: phase.clone(), limits, metrics, read, write }, phase)
    }

    /// Passes on the outcome of a write, unless the client has taken nothing for too long.
    fn written<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write.disarm();
            // A connection that takes its answer, however slowly, is not idle: its idle time begins anew with
            // each write. Here and not at the next read, because hyper does not ask again for bytes that it
            // was already told to wait for.
            if self.phase.0.load(Ordering::Relaxed) == IDLE {
                self.read.disarm();
                let _ = self.read.is_over(IDLE, self.limits.idle, context);
            }
            return outcome;
        }
        if self.write.is_over(REQUEST, self.limits.write, context) {
            self.metrics.slow_readers.inc();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.phase.0.load(Ordering::Relaxed);
        let before = buffer.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if phase == IDLE && buffer.filled().len() > before {
                // The first bytes of the next head: its time begins.
                this.phase.0.store(HEAD, Ordering::Relaxed);
                this.read.disarm();
            }
            return Poll::Ready(outcome);
        }
        match phase {
            HEAD if this.read.is_over(HEAD, this.limits.head, context) => {
                this.metrics.slow_heads.inc();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            // Nothing read is the end of the stream: an idle connection closes quietly.
            IDLE if this.read.is_over(IDLE, this.limits.idle, context) => Poll::Ready(Ok(())),
            HEAD | IDLE => Poll::Pending,
            _ => {
                this.read.disarm();
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(outcome, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.written(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.get_mut().stream).poll_shutdown(context));
        Poll::Ready(outcome)
    }
}
