//! Idle connections to one backend: the newest is used first, and none that was closed meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::dial::Io;

/// Idle connections that are kept for one backend.
const MOST_IDLE: usize = 512;

/// A connection that can be kept for another request.
pub(crate) trait Keep {
    /// Whether it is open and nothing has come that nobody asked for, as far as can be known without a wait.
    fn is_quiet(&mut self) -> bool;
}

impl Keep for Io {
    fn is_quiet(&mut self) -> bool {
        Self::is_quiet(self)
    }
}

/// The idle connections of one backend. They are closed with it.
#[derive(Debug)]
pub(crate) struct Pool<T>(Mutex<Vec<Idle<T>>>);

#[derive(Debug)]
struct Idle<T> {
    connection: T,
    until: Instant,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Keep> Pool<T> {
    /// A connection that is open as far as can be known; newer ones that are not are dropped on the way.
    pub(crate) fn take(&self, now: Instant) -> Option<T> {
        let mut idle = self.lock();
        while let Some(mut candidate) = idle.pop() {
            if now < candidate.until && candidate.connection.is_quiet() {
                return Some(candidate.connection);
            }
        }
        None
    }

    /// Keeps a connection for `keepalive`; zero keeps none.
    pub(crate) fn put(&self, connection: T, keepalive: Duration, now: Instant) {
        if keepalive.is_zero() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() < MOST_IDLE {
            idle.push(Idle { connection, until: now + keepalive });
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Closes the connections whose time is up.
    pub(crate) fn sweep(&self, now: Instant) {
        self.lock().retain(|candidate| now < candidate.until);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn the_newest_open_connection_is_taken() {
        let pool = Pool::default();
        let now = Instant::now();
        let (first, _first_peer) = pair().await;
        let (second, mut second_peer) = pair().await;
        pool.put(Io::from(first), LONG, now);
        pool.put(Io::from(second), LONG, now);
        pool.take(now).unwrap().write_all(b"x").await.unwrap();
        assert_eq!(second_peer.read_u8().await.unwrap(), b'x', "the newest");
        assert!(pool.take(now).is_some());
        assert!(pool.take(now).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_spoke_is_not_taken() {
        let pool = Pool::default();
        let now = Instant::now();
        let (closed, peer) = pair().await;
        drop(peer);
        closed.readable().await.unwrap();
        pool.put(Io::from(closed), LONG, now);
        let (noisy, mut peer) = pair().await;
        peer.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        noisy.readable().await.unwrap();
        pool.put(Io::from(noisy), LONG, now);
        assert!(pool.take(now).is_none());
    }

    #[tokio::test]
    async fn connections_are_closed_when_their_time_is_up() {
        let pool = Pool::default();
        let now = Instant::now();
        let (stream, _peer) = pair().await;
        pool.put(Io::from(stream), LONG, now);
        pool.sweep(now + LONG);
        assert!(pool.take(now).is_none());
    }
}
