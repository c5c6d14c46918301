//! Idle connections to backends: the newest is used first, and none that was closed meanwhile.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

/// Idle connections that are kept for one backend.
const MOST_IDLE: usize = 512;

/// The idle connections of one thread of the path.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    until: Instant,
}

impl Pool {
    /// A connection that is open as far as can be known; older ones that are not are dropped on the way.
    pub(crate) fn take(&self, address: SocketAddr, now: Instant) -> Option<TcpStream> {
        let mut pool = self.lock();
        let idle = pool.get_mut(&address)?;
        while let Some(candidate) = idle.pop() {
            // The runtime knows of a close or of stray bytes without a system call of ours.
            let mut byte = [0_u8; 1];
            let is_quiet = matches!(candidate.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            if is_quiet && now < candidate.until {
                return Some(candidate.stream);
            }
        }
        None
    }

    /// Keeps a connection for `keepalive`; zero keeps none.
    pub(crate) fn put(&self, address: SocketAddr, stream: TcpStream, keepalive: Duration, now: Instant) {
        if keepalive.is_zero() {
            return;
        }
        let mut pool = self.lock();
        let idle = pool.entry(address).or_default();
        if idle.len() < MOST_IDLE {
            idle.push(Idle { stream, until: now + keepalive });
        }
    }

    /// Closes the connections whose time is up.
    pub(crate) fn sweep(&self, now: Instant) {
        self.lock().retain(|_, idle| {
            idle.retain(|candidate| now < candidate.until);
            !idle.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0, address)
    }

    #[tokio::test]
    async fn the_newest_open_connection_is_taken() {
        let pool = Pool::default();
        let now = Instant::now();
        let (first, _first_peer, address) = pair().await;
        let (second, _second_peer, _) = pair().await;
        let newest = second.local_addr().unwrap();
        pool.put(address, first, LONG, now);
        pool.put(address, second, LONG, now);
        assert_eq!(pool.take(address, now).unwrap().local_addr().unwrap(), newest);
        assert!(pool.take(address, now).is_some());
        assert!(pool.take(address, now).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_spoke_is_not_taken() {
        let pool = Pool::default();
        let now = Instant::now();
        let (closed, peer, address) = pair().await;
        drop(peer);
        closed.readable().await.unwrap();
        pool.put(address, closed, LONG, now);
        let (noisy, mut peer, _) = pair().await;
        peer.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        noisy.readable().await.unwrap();
        pool.put(address, noisy, LONG, now);
        assert!(pool.take(address, now).is_none());
    }

    #[tokio::test]
    async fn connections_are_closed_when_their_time_is_up() {
        let pool = Pool::default();
        let now = Instant::now();
        let (stream, _peer, address) = pair().await;
        pool.put(address, stream, LONG, now);
        pool.sweep(now + LONG);
        assert!(pool.take(address, now).is_none());
    }
}
