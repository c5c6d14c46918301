//! HTTP/1.x by a path of our own: one task per connection, which owns its buffers and its one deadline.
//!
//! [`crate::accept`] accepts the connection, [`crate::front`] sees to TLS; from the first byte of HTTP on this path carries it,
//! and asks the same deciding rooms as [`crate::phases`]. Neither knows the other.

pub(crate) mod answer;
mod attempt;
mod bridge;
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
mod trailers;
mod tunnel;
mod upload;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::door::Origin;
use crate::downstream::Downstream;
use crate::edge::Edge;
use connection::{Connection, End};

/// How often idle connections to backends are looked over.
const SWEEP: Duration = Duration::from_secs(1);

/// What an HTTP/2 client sends first (RFC 9113 §3.4); to a reader of HTTP/1.1 a head of an unknown version.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// The path.
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
                    member.dial.sweep(Instant::now());
                }
            }
        });
    }
}

impl Http1 {
    /// Serves a connection to its end.
    ///
    /// Gives it back, with what was read of it, when the client begins with HTTP/2 and `may_switch`.
    pub(crate) async fn serve(
        &self,
        stream: Downstream,
        origin: &Origin,
        may_switch: bool,
    ) -> Option<(Downstream, Vec<u8>)> {
        self.keep_swept();
        let mut connection = Connection::new(&self.edge, stream, origin, may_switch);
        match connection.serve().await {
            End::Over => None,
            End::Http2 => Some((connection.io, connection.input)),
        }
    }
}
