//! One HTTP/2 connection of a client: how long it may take and last, and how it is told to end.
//!
//! The protocol is the h2 library's, one request pingora's; this loop stands between them because pingora's own
//! has no limit on the preface, on the number of requests or on malformed ones seen by us.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp as _;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;

use crate::config::policy::Client;
use crate::listener::Listener;

/// Malformed requests on one connection, then it is closed: whoever sends more is not mistaken, but attacking.
const MOST_REJECTED: u32 = 32;

/// After it was told to end, a connection without requests is kept so long for the client to take notice.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a client may send ahead of being read: one body, and all of a connection's together.
const BODY_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A head so many times too large still reaches us, to be refused, counted and logged; beyond that the library refuses
/// it by itself.
const HEAD_ROOM: usize = 4;

/// What of answers may wait in the library for one stream's window.
const MOST_WAITING: usize = 128 * 1024;

/// Resets of streams by a client that were not looked at yet, then the connection is closed (rapid reset,
/// CVE-2023-44487).
const MOST_PENDING_RESETS: usize = 20;

/// Streams reset by us for a client's errors, then the connection is closed (CVE-2025-8671).
const MOST_ERRORS: usize = 64;

/// Why a connection ended. The reason is the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed it.
    Client,
    /// Nothing was asked for too long.
    Idle,
    /// It had its number of requests.
    Requests,
    /// The edge stops, or the listener is gone.
    Draining,
    /// The preface did not come, or not in time.
    NoPreface,
    /// It broke, or broke the protocol's rules.
    Error,
    /// Too many malformed requests.
    Abuse,
}

impl Ended {
    const fn reason(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Idle => "idle",
            Self::Requests => "requests",
            Self::Draining => "draining",
            Self::NoPreface => "no_preface",
            Self::Error => "error",
            Self::Abuse => "abuse",
        }
    }

    #[cfg(test)]
    const ALL: [Self; 7] =
        [Self::Client, Self::Idle, Self::Requests, Self::Draining, Self::NoPreface, Self::Error, Self::Abuse];
}

/// Requests under way on one connection.
#[derive(Debug, Default)]
struct Active {
    count: AtomicUsize,
    changed: Notify,
}

/// One of them; dropping it ends it.
struct Request(Arc<Active>);

impl Active {
    fn begin(self: &Arc<Self>) -> Request {
        self.count.fetch_add(1, Ordering::AcqRel);
        Request(Arc::clone(self))
    }

    fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Waits until nothing is under way, and then for `pause`.
    async fn idle_for(&self, pause: Duration) {
        while !self.is_idle() {
            self.changed.notified().await;
        }
        tokio::time::sleep(pause).await;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_one();
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(listener: Arc<Listener>, stream: Stream, shutdown: ShutdownWatch) {
    let ended = run(&listener, stream, shutdown).await;
    listener.closed(ended.reason());
}

async fn run(listener: &Arc<Listener>, stream: Stream, mut shutdown: ShutdownWatch) -> Ended {
    let client = listener.client();
    let digest = Arc::new(Digest { socket_digest: stream.get_socket_digest(), ..Digest::default() });
    let shaken = tokio::time::timeout(client.header_timeout, handshake(stream, Some(options(&client)))).await;
    let Ok(Ok(mut connection)) = shaken else { return Ended::NoPreface };
    let active = Arc::new(Active::default());
    let (mut served, mut rejected) = (0_u32, 0_u32);
    // Why the connection was told to end, and until when it is waited for without requests.
    let mut ending: Option<Ended> = None;
    if *shutdown.borrow() {
        connection.graceful_shutdown();
        ending = Some(Ended::Draining);
    }
    loop {
        let pause = match ending {
            Some(_) => FAREWELL,
            None if served == 0 => client.header_timeout,
            None => client.keepalive_timeout,
        };
        let accepted = tokio::select! {
            biased;
            _ = shutdown.changed(), if ending.is_none() => {
                connection.graceful_shutdown();
                ending = Some(Ended::Draining);
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = active.idle_for(pause) => {
                if let Some(why) = ending {
                    return why;
                }
                connection.graceful_shutdown();
                ending = Some(Ended::Idle);
                continue;
            }
        };
        match accepted {
            Err(_) => return ending.unwrap_or(Ended::Error),
            Ok(None) => return ending.unwrap_or(Ended::Client),
            Ok(Some(H2Accept::Rejected)) => {
                listener.refuse_malformed();
                rejected += 1;
                if rejected >= MOST_REJECTED {
                    return Ended::Abuse;
                }
            }
            Ok(Some(H2Accept::Session(session))) => {
                served += 1;
                if served >= client.keepalive_requests && ending.is_none() {
                    connection.graceful_shutdown();
                    ending = Some(Ended::Requests);
                }
                let (listener, request, shutdown) = (Arc::clone(listener), active.begin(), shutdown.clone());
                tokio::spawn(async move {
                    listener.process_new_http(ServerSession::new_http2(session), &shutdown).await;
                    drop(request);
                });
            }
        }
    }
}

/// Bounds of what one client may make us hold.
fn options(client: &Client) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_header_list_size(
            u32::try_from(client.max_head_size.saturating_mul(HEAD_ROOM)).unwrap_or(u32::MAX),
        )
        .max_concurrent_streams(client.max_concurrent_streams)
        .max_pending_accept_reset_streams(MOST_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MOST_ERRORS))
        .max_send_buffer_size(MOST_WAITING)
        .initial_window_size(BODY_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    options
}

/// Reads until it is known whether the client begins with `wanted`; what was read, at most as much as that.
pub(super) async fn begins_with(stream: &mut (impl AsyncRead + Unpin), wanted: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let mut byte = [0; 64];
    while wanted.starts_with(&read) && read.len() < wanted.len() {
        let most = (wanted.len() - read.len()).min(byte.len());
        match stream.read(&mut byte[..most]).await {
            Ok(0) | Err(_) => break,
            Ok(n) => read.extend_from_slice(&byte[..n]),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::client::HTTP2_ENDS;

    #[test]
    fn every_end_has_a_series_from_the_start() {
        assert_eq!(Ended::ALL.map(Ended::reason), HTTP2_ENDS);
    }
}
