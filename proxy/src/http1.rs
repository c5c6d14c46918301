//! HTTP/1.x by a path of our own: one task per connection, which owns its buffers and its one deadline.
//!
//! pingora accepts the connection (and will do TLS); from the first byte on this path carries it, and asks the
//! same deciding rooms as [`crate::phases`]. Neither knows the other.

pub(crate) mod answer;
mod attempt;
pub(crate) mod chunked;
mod connection;
mod deliver;
mod download;
pub(crate) mod head;
mod io;
mod lines;
mod refuse;
mod relay;
mod target;
mod tunnel;
mod upload;
mod write;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::time::Instant;

use crate::edge::Edge;
use connection::Connection;

/// How often idle connections to backends are looked over.
const SWEEP: Duration = Duration::from_secs(1);

/// The path, as pingora's listeners see it.
pub(crate) struct Http1 {
    edge: Arc<Edge>,
    is_swept: AtomicBool,
}

impl Http1 {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        Self { edge, is_swept: AtomicBool::new(false) }
    }

    /// Starts to look over the idle connections, once, on the runtime of the first connection.
    fn keep_swept(&self) {
        if self.is_swept.load(Ordering::Relaxed) || self.is_swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let edge = Arc::downgrade(&self.edge);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP);
            loop {
                ticks.tick().await;
                let Some(edge) = edge.upgrade() else { return };
                let site = edge.site();
                for member in site.upstreams.iter().flat_map(|upstream| &upstream.backends) {
                    member.idle.sweep(Instant::now());
                }
            }
        });
    }
}

#[async_trait]
impl ServerApp for Http1 {
    async fn process_new(self: &Arc<Self>, stream: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        self.keep_swept();
        let digest = stream.get_socket_digest();
        let peer = digest.as_ref().and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip()));
        // A unix socket has no address: only the machine itself can be at its other end.
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        // With one listener there is nothing to ask the kernel.
        let is_one_of_many = self.edge.site().config.listeners.len() > 1;
        let local =
            digest.filter(|_| is_one_of_many).and_then(|digest| digest.local_addr()?.as_inet().copied());
        let listener = self.edge.listener_at(local);
        let mut connection = Connection::new(&self.edge, stream, peer, listener);
        connection.serve().await;
        None
    }
}
