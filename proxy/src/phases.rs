//! The order of events on pingora's path; the thinking is elsewhere.
//!
//! Hooks translate: from pingora's session to values, and from decisions to pingora's errors. What is decided
//! stands in [`crate::exchange`] and the rooms that it asks.

mod answer;
mod failure;
mod head;
mod peer;
mod translate;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::time::Instant;

use crate::balance::key::key;
use crate::compress::encoder::Encoder;
use crate::edge::Edge;
use crate::exchange::{Exchange, Situation};
use crate::headers::Forwarded;
use crate::headers::rules::Edit;
use crate::limit::pace::{Floor, Pace};
use crate::respond::Refusal;
use crate::retry::{Decision, Failure};
use crate::route::{Asked, rewrite};
use crate::turn::{self, Turn};
use head::{code, code_end, compress, edit_answer, facts, too_large};
use translate::{bound, head, is_too_large, join_cookies, objection, remove_hop_by_hop, tell};

/// The hooks.
pub(crate) struct Phases {
    edge: Arc<Edge>,
}

/// What one request carries from hook to hook.
#[derive(Debug, Default)]
pub(crate) struct Ctx {
    exchange: Option<Exchange>,
    forwarded: Option<Forwarded>,
    /// Why the edge will answer by itself, decided before pingora asks for an answer.
    refusal: Option<Refusal>,
    /// A status was refused in favour of another attempt.
    is_retrying: bool,
    /// How fast the client sends its body.
    sends: Pace,
    /// What compresses the answer.
    coder: Option<Box<Encoder>>,
    turn: Option<Arc<Turn>>,
}

impl Drop for Ctx {
    /// A turn that is ended from outside never reaches `logging`: its exchange says here why it ended.
    fn drop(&mut self) {
        if let (Some(exchange), Some(why)) =
            (&mut self.exchange, self.turn.as_ref().and_then(|turn| turn.why_cut()))
        {
            exchange.refuse(why);
        }
    }
}

impl Phases {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

impl Ctx {
    fn exchange(&mut self) -> Result<&mut Exchange> {
        self.exchange
            .as_mut()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "no exchange before its head"))
    }

    /// Says in an answer to come back over TLS, where the listener says so.
    fn say_https(&self, head: &mut ResponseHeader) -> Result<()> {
        match self.turn.as_ref().map(|turn| &turn.origin.door.hsts).filter(|hsts| !hsts.is_empty()) {
            Some(hsts) => head.insert_header("Strict-Transport-Security", hsts),
            None => Ok(()),
        }
    }

    /// Notes a refusal, and hands pingora the error that leads to it.
    fn refuse<T>(&mut self, refusal: Refusal) -> Result<T> {
        self.refusal = Some(refusal);
        Error::e_explain(ErrorType::HTTPStatus(refusal.status()), refusal.reason())
    }

    /// A silence that was cut short by the time of one attempt.
    fn of_attempt(&self, failure: Failure) -> Failure {
        let Some(exchange) = &self.exchange else { return failure };
        failure::cut_short(failure, exchange.began().elapsed(), exchange.attempt_timeout())
    }

    /// Ends the attempt and decides whether there is another one.
    fn fail(&mut self, session: &Session, failure: Failure) -> bool {
        let situation = Situation {
            is_replayable: !session.as_ref().retry_buffer_truncated(),
            answer_started: session.response_written().is_some_and(|head| !failure::is_interim(head)),
        };
        let decision = self.exchange.as_mut().map(|exchange| exchange.fail(failure, situation));
        decision == Some(Decision::Retry)
    }
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    /// Empty: pingora's default adds a compression module to every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        ctx.turn = turn::head_is_complete(&self.edge);
        let door = ctx.turn.as_ref().map(|turn| &turn.origin.door);
        let is_leaving = self.edge.is_draining() || door.is_some_and(|door| door.is_closed());
        bound(session, &self.edge.client(), is_leaving);
        let (head, forwarded) = head(session, &self.edge, ctx.turn.as_deref());
        ctx.exchange = Some(Exchange::begin(&self.edge, head));
        ctx.forwarded = Some(forwarded);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if let Some((refusal, rule)) = too_large(session.req_header(), &self.edge.client()) {
            ctx.exchange()?.broke(Some(rule));
            return ctx.refuse(refusal);
        }
        if let Some(refusal) = objection(session.req_header(), ctx) {
            return ctx.refuse(refusal);
        }
        let exchange = ctx.exchange()?;
        let found = {
            let request = session.req_header();
            let host = exchange.head().host.clone();
            exchange.find_route(&Asked {
                method: request.method.as_str(),
                host: &host,
                path: request.uri.path().as_bytes(),
                header: &|name| request.headers.get(name).map(http::HeaderValue::as_bytes),
            })
        };
        match found {
            Ok(route) if route.upstream.is_none() => {
                answer::send_own(session, &route.config.action, ctx).await;
                Ok(true)
            }
            Ok(route) if is_too_large(session, route.config.max_body) => ctx.refuse(Refusal::BodyTooLarge),
            Ok(_) => {
                let client = exchange.head().client;
                let headers = &session.req_header().headers;
                let values =
                    |name: &str| headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
                let path = session.req_header().uri.path().as_bytes();
                exchange.recognise(|by| key(by, client, path, values));
                Ok(false)
            }
            Err(refusal) => ctx.refuse(refusal),
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let exchange = ctx.exchange()?;
        let chosen = exchange.next_backend().await.map(|chosen| Arc::clone(chosen.lease.backend()));
        match chosen {
            Ok(backend) => {
                let upstream = exchange.route().and_then(|route| route.upstream.as_ref());
                let timeouts = upstream.map(|upstream| upstream.config.timeouts).unwrap_or_default();
                let attempt = exchange.attempt_timeout().unwrap_or(Duration::MAX);
                Ok(Box::new(peer::peer(&backend, &timeouts, exchange.remaining().min(attempt))?))
            }
            Err(refusal) => ctx.refuse(refusal),
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.exchange()?.connected(reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if session.is_http2() {
            join_cookies(request)?;
        }
        let (Some(told), Some(exchange)) = (&ctx.forwarded, &mut ctx.exchange) else { return Ok(()) };
        let trace = exchange.trace_onward();
        tell(request, told, &exchange.head().id, trace.as_ref())?;
        if let Some(route) = exchange.route() {
            let asked = session.req_header();
            let target = asked.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
            if let Some(target) = rewrite::target(&route.config.rewrite, target.as_bytes()) {
                request.set_raw_path(&target)?;
            }
            let edit = Edit::of(&route.config.request_headers, || facts(asked, told, exchange));
            if let Some(edit) = edit {
                edit.gone(&request.headers).iter().for_each(|name| drop(request.remove_header(name)));
                for (name, value) in edit.fields() {
                    request.append_header(name, value)?;
                }
            }
        }
        // pingora pools a connection whatever its idle time; asked to close, the backend sees to it.
        let upstream = exchange.route().and_then(|route| route.upstream.as_ref());
        if upstream.is_some_and(|upstream| upstream.config.timeouts.keepalive.is_zero()) {
            request.insert_header("Connection", "close")?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if let Some(turn) = &ctx.turn {
            if end_of_stream { turn.body_is_over() } else { turn.body_moved() }
        }
        let route = ctx.exchange()?.route();
        let limit = route.and_then(|route| route.config.max_body);
        if limit.is_some_and(|limit| session.as_ref().body_bytes_read() as u64 > limit) {
            return ctx.refuse(Refusal::BodyTooLarge);
        }
        let client = self.edge.client();
        let floor = Floor { rate: client.min_body_rate, window: client.body_timeout };
        let read = session.as_ref().body_bytes_read() as u64;
        if !end_of_stream && ctx.sends.is_too_slow(Instant::now(), read, floor) {
            return ctx.refuse(Refusal::BodyTooSlow);
        }
        // pingora 0.9.1 ends a chunked body twice when its last piece is empty (cloudflare/pingora#935).
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let status = head.status.as_u16();
        if failure::is_interim(head)
            || !ctx.exchange()?.is_retryable(status)
            || !ctx.fail(session, Failure::Status(status))
        {
            return Ok(());
        }
        ctx.is_retrying = true;
        let mut error = Error::explain(ErrorType::HTTPStatus(status), "another backend is tried").into_up();
        error.set_retry(true);
        Err(error)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if failure::is_interim(head) {
            return Ok(());
        }
        if let Some(turn) = &ctx.turn {
            // An answer that has begun need not wait for the body.
            turn.body_is_over();
        }
        let exchange = ctx.exchange()?;
        exchange.answering(head.status.as_u16());
        remove_hop_by_hop(head);
        ctx.say_https(head)?;
        let exchange = ctx.exchange()?;
        head.insert_header("X-Request-ID", &exchange.head().id)?;
        let rule = exchange.route().map(|route| route.config.compress.clone());
        if let Some(rule) = rule.filter(|rule| !rule.encodings.is_empty()) {
            let coding = compress(session.req_header(), head, &rule)?.coding();
            ctx.coder = coding.and_then(|coding| Encoder::new(coding).ok()).map(Box::new);
        }
        edit_answer(session, head, ctx)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        code(&mut ctx.coder, body, end_of_stream)?;
        if let (true, Some(turn)) = (session.is_http2(), &ctx.turn) {
            *body = body.take().map(|piece| if piece.is_empty() { piece } else { turn.handed(piece) });
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut http::HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        Ok(code_end(&mut ctx.coder))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        ctx: &mut Ctx,
        mut e: Box<Error>,
    ) -> Box<Error> {
        let retry = ctx.fail(session, failure::before_send(&e));
        e.set_retry(retry);
        e
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Ctx,
        is_reused: bool,
    ) -> Box<Error> {
        let retry = if std::mem::take(&mut ctx.is_retrying) {
            true
        } else if ctx.refusal.is_some() || *e.esource() == ErrorSource::Downstream {
            false
        } else {
            // pingora marks GOAWAY and REFUSED_STREAM so.
            e.retry.decide_reuse(is_reused);
            let failure = failure::after_send(&e, is_reused, e.retry());
            ctx.fail(session, ctx.of_attempt(failure))
        };
        // Always decided: an undecided `ReusedOnly` panics in pingora.
        e.set_retry(retry);
        e
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        let refusal = ctx.refusal.unwrap_or_else(|| match e.esource() {
            ErrorSource::Downstream => failure::of_client(e),
            _ => {
                let exchange = ctx.exchange.as_ref();
                exchange.and_then(Exchange::refusal_of_last_failure).unwrap_or(Refusal::Internal)
            }
        });
        if let Some(exchange) = &mut ctx.exchange {
            exchange.refuse(refusal);
        }
        let can_reuse = answer::send(session, refusal, ctx).await;
        FailToProxy { error_code: refusal.status(), can_reuse_downstream: can_reuse }
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Ctx) {
        let Some(mut exchange) = ctx.exchange.take() else { return };
        exchange.bytes_in = session.as_ref().body_bytes_read() as u64;
        exchange.bytes_out = session.body_bytes_sent() as u64;
        if e.is_none() {
            exchange.succeed();
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true // The access line says it, once.
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
