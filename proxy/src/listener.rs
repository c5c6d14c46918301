//! The client's side of a connection on pingora's path: how long a head may take, and what counts as in flight.
//!
//! pingora limits single reads only, so a head that drips would never end. Each turn of a connection (waiting
//! for a request, reading its head, answering it) therefore runs beside a deadline that the first hook stops.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::edge::Edge;
use crate::phases::Phases;
use crate::respond::Refusal;
use crate::turn::{self, Turn};

/// Serves connections through pingora's proxy.
pub(crate) struct Listener {
    proxy: Arc<HttpProxy<Phases>>,
    edge: Arc<Edge>,
    options: HttpServerOptions,
}

impl Listener {
    /// A server for this proxy.
    pub(crate) fn new(proxy: Arc<HttpProxy<Phases>>, edge: Arc<Edge>) -> Self {
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(edge.client().keepalive_requests.saturating_sub(1));
        Self { proxy, edge, options }
    }

    /// How long a turn may wait until its head is complete: the idle time comes first on a kept connection.
    fn head_deadline(&self) -> Duration {
        let client = self.edge.client();
        client.keepalive_timeout + client.header_timeout
    }
}

#[async_trait]
impl HttpServerApp for Listener {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let is_first = !session.pipelining_enabled();
        let client = self.edge.client();
        let deadline = if is_first { client.header_timeout } else { self.head_deadline() };
        // A first read may take as long as a head may; later ones wait for the next request.
        session.set_read_timeout(Some(deadline));
        let turn = Arc::new(Turn::default());
        let serve = turn::within(Arc::clone(&turn), self.proxy.process_new_http(session, shutdown));
        let overdue = async {
            tokio::time::sleep(deadline).await;
            if turn.head_is_complete() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            next = serve => next,
            () = overdue => {
                // Dropping the turn closes the connection.
                self.edge.metrics.refused(Refusal::HeadTooSlow);
                None
            }
        }
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
