//! The client's side of a connection on pingora's path: how long heads and bodies may take, what is in flight.
//!
//! pingora limits single reads only, so a head that drips would never end, and no read of an HTTP/2 body. Each turn
//! of a connection (waiting for a request, reading its head, answering it) therefore runs beside a deadline that the
//! first hook stops, and each HTTP/2 request with a body beside one that every piece of the body moves.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cirque_shared::request_id;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::config::policy::Client;
use crate::door::Origin;
use crate::edge::Edge;
use crate::exchange::{Exchange, Head};
use crate::limit::pace::Floor;
use crate::phases::Phases;
use crate::respond::Refusal;
use crate::turn::{self, Turn};

/// Serves one connection through pingora's proxy.
pub(crate) struct Listener {
    proxy: Arc<HttpProxy<Phases>>,
    edge: Arc<Edge>,
    origin: Arc<Origin>,
    options: HttpServerOptions,
}

impl Listener {
    /// A server for a connection from there.
    pub(crate) fn new(proxy: Arc<HttpProxy<Phases>>, edge: Arc<Edge>, origin: Origin) -> Self {
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(edge.client().keepalive_requests.saturating_sub(1));
        Self { proxy, edge, origin: Arc::new(origin), options }
    }

    /// The limits of the client's side.
    pub(crate) fn client(&self) -> Client {
        self.edge.client()
    }

    /// Counts the end of an HTTP/2 connection.
    pub(crate) fn closed(&self, reason: &'static str) {
        self.origin.door.metrics.http2_ended(reason);
    }

    /// Logs and counts a request that was malformed before any hook saw it.
    pub(crate) fn refuse_malformed(&self) {
        let head = Head {
            id: request_id::generate(),
            client: self.origin.peer,
            door: Some(Arc::clone(&self.origin.door)),
            method: String::new(),
            host: String::new(),
            path: String::new(),
            is_idempotent: false,
            trace: None,
            said: None,
        };
        let mut exchange = Exchange::begin(&self.edge, head);
        exchange.broke(Some("http2"));
        exchange.refuse(Refusal::Malformed);
    }

    /// Has one HTTP/2 request answered; its head is there. Dropping it resets its stream.
    async fn http2(&self, mut session: ServerSession, shutdown: &ShutdownWatch) {
        let turn = Arc::new(Turn::new(Arc::clone(&self.origin)));
        let has_body = !session.is_body_empty();
        let serve = turn::within(Arc::clone(&turn), self.proxy.process_new_http(session, shutdown));
        let client = self.edge.client();
        let floor = Floor { rate: client.min_send_rate, window: client.send_timeout };
        // Said before the request is dropped, which writes its line.
        let overdue = async {
            turn.cut(tokio::select! {
                () = turn.body_is_overdue(client.body_timeout), if has_body => Refusal::BodyTooSlow,
                () = turn.answer_is_overdue(floor) => Refusal::ReaderTooSlow,
            });
        };
        tokio::select! {
            biased;
            _ = serve => {}
            () = overdue => {}
        }
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
        if session.is_http2() {
            self.http2(session, shutdown).await;
            return None;
        }
        let is_first = !session.pipelining_enabled();
        let client = self.edge.client();
        let deadline = if is_first { client.header_timeout } else { self.head_deadline() };
        // A first read may take as long as a head may; later ones wait for the next request.
        session.set_read_timeout(Some(deadline));
        let turn = Arc::new(Turn::new(Arc::clone(&self.origin)));
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
                self.edge.no_route.refused(Refusal::HeadTooSlow);
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
