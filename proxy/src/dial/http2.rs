//! HTTP/2 connections to one backend: how many requests share one, and how long one without requests is kept.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Dial, PING_AFTER};

/// What a backend may send ahead of being read, for one answer; it lies in our memory while a client is slow.
const WINDOW: u32 = 256 * 1024;

/// A request's body, piece by piece; an error resets the stream.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx)
    }
}

/// The connections to one backend. They are closed with it.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Held while one is made: who needs one meanwhile may find room on it.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    /// Requests under way.
    active: AtomicU32,
    /// Whether it takes no more requests: it refused one, or said that it ends.
    is_retired: AtomicBool,
    /// When it is closed, unless it is used before.
    until: Mutex<Instant>,
}

/// One request's share of a connection.
#[derive(Debug)]
pub(crate) struct Share {
    connection: Arc<Connection>,
    keepalive: Duration,
    /// Whether the connection was there before.
    pub(crate) is_reused: bool,
}

impl Share {
    /// What sends the request.
    pub(crate) fn sender(&self) -> SendRequest<Body> {
        self.connection.sender.clone()
    }

    /// Gives the connection up for further requests, after one of them failed on it.
    pub(crate) fn retire(&self) {
        self.connection.is_retired.store(true, Ordering::Release);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *lock(&self.connection.until) = Instant::now() + self.keepalive;
        self.connection.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Http2 {
    /// A share of a connection that has room, or of a new one.
    ///
    /// # Errors
    ///
    /// When no connection can be made. Has no time limit of its own.
    pub(crate) async fn share(&self, dial: &Dial, keepalive: Duration) -> io::Result<Share> {
        let reused = |connection| Share { connection, keepalive, is_reused: true };
        if let Some(connection) = self.with_room(dial.reach.max_streams) {
            return Ok(reused(connection));
        }
        let _making = self.making.lock().await;
        if let Some(connection) = self.with_room(dial.reach.max_streams) {
            return Ok(reused(connection));
        }
        let io = dial.open().await?;
        let (sender, driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .keep_alive_interval(PING_AFTER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(io::Error::other)?;
        // It ends when its last sender is dropped, or when it breaks; whoever uses it hears of that.
        tokio::spawn(async move { drop(driver.await) });
        let until = Mutex::new(Instant::now() + keepalive);
        let (active, is_retired) = (AtomicU32::new(1), AtomicBool::new(false));
        let connection = Arc::new(Connection { sender, active, is_retired, until });
        if !keepalive.is_zero() {
            lock(&self.connections).push(Arc::clone(&connection));
        }
        Ok(Share { connection, keepalive, is_reused: false })
    }

    fn with_room(&self, most: u32) -> Option<Arc<Connection>> {
        let mut connections = lock(&self.connections);
        connections.retain(|connection| {
            !connection.sender.is_closed() && !connection.is_retired.load(Ordering::Acquire)
        });
        let found = connections.iter().find(|connection| {
            connection.active.load(Ordering::Acquire) < most && connection.sender.is_ready()
        })?;
        // Under the lock: nobody else takes the same room.
        found.active.fetch_add(1, Ordering::AcqRel);
        Some(Arc::clone(found))
    }

    /// Closes the connections without requests whose time is up.
    pub(super) fn sweep(&self, now: Instant) {
        lock(&self.connections).retain(|connection| {
            connection.active.load(Ordering::Acquire) > 0 || now < *lock(&connection.until)
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
