//! Sends an answer of the edge's own through pingora.

use std::time::Duration;

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::Ctx;
use super::failure::is_interim;
use super::head::{edit_answer, facts};
use crate::config::policy::Action;
use crate::config::template::Facts;
use crate::respond::{self, Answer, Refusal};

/// How long the rest of a refused HTTP/2 request's body is still read, so that the client gets the answer.
const LINGER: Duration = Duration::from_secs(1);

/// Sends what a refusal leads to, where an answer can still be sent; says whether the connection may be used again.
pub(super) async fn send(session: &mut Session, refusal: Refusal, ctx: &Ctx) -> bool {
    if refusal == Refusal::ClientLeft || session.response_written().is_some_and(|head| !is_interim(head)) {
        return false;
    }
    let Some(exchange) = &ctx.exchange else { return false };
    if session.get_header_bytes("content-type").starts_with(b"application/grpc") {
        return deliver(session, in_grpc(refusal), is_whole_request(refusal), ctx).await;
    }
    let accept = String::from_utf8_lossy(session.get_header_bytes("accept")).into_owned();
    let answer = exchange.answer_to(refusal, &accept);
    deliver(session, answer, is_whole_request(refusal), ctx).await
}

/// A refusal as clients of gRPC read it: its code in a head that is also the trailers, and no message.
fn in_grpc(refusal: Refusal) -> Answer {
    let code = refusal.grpc_code().to_string();
    Answer {
        status: 200,
        content_type: "application/grpc".into(),
        body: Bytes::new(),
        fields: vec![("grpc-status", code), ("grpc-message", refusal.detail().to_owned())],
    }
}

/// Sends the answer that a route itself names.
pub(super) async fn send_own(session: &mut Session, action: &Action, ctx: &mut Ctx) {
    let (Some(told), Some(exchange)) = (&ctx.forwarded, &mut ctx.exchange) else { return };
    let answer = match action {
        Action::Upstream(_) => return,
        Action::Respond(answer) => respond::fixed(answer),
        Action::Redirect(redirect) => {
            let rest = exchange.rest_of(session.req_header().uri.path().as_bytes());
            let facts = facts(session.req_header(), told, exchange);
            respond::redirect(redirect, &Facts { rest: &rest, ..facts })
        }
    };
    exchange.answering(answer.status);
    deliver(session, answer, true, ctx).await;
}

/// Whether a refusal comes before anything else was done with the request.
fn is_whole_request(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NoRoute | Refusal::Maintenance | Refusal::Acl | Refusal::HttpsOnly | Refusal::Misdirected
    )
}

async fn deliver(session: &mut Session, answer: Answer, is_whole: bool, ctx: &Ctx) -> bool {
    // A request whose body was not read to its end leaves the connection in an unknown place.
    let can_reuse = is_whole && session.as_mut().is_body_empty();
    if !can_reuse {
        session.set_keepalive(None);
    }
    if write(session, answer, ctx).await.is_err() {
        return false;
    }
    if session.is_http2() && !session.as_mut().is_body_done() {
        // A stream that is dropped with its body unread is reset, and the reset may overtake the answer.
        let _ = tokio::time::timeout(LINGER, session.as_mut().drain_request_body()).await;
    }
    can_reuse
}

async fn write(session: &mut Session, answer: Answer, ctx: &Ctx) -> pingora::Result<()> {
    let mut head = ResponseHeader::build(answer.status, Some(6))?;
    if !answer.content_type.is_empty() {
        head.insert_header("Content-Type", answer.content_type.as_ref())?;
        head.insert_header("Content-Length", answer.body.len())?;
    }
    for (name, value) in answer.fields {
        head.insert_header(name, value)?;
    }
    if let Some(exchange) = &ctx.exchange {
        head.insert_header("X-Request-ID", &exchange.head().id)?;
    }
    ctx.say_https(&mut head)?;
    edit_answer(session, &mut head, ctx)?;
    let is_head = session.req_header().method == http::Method::HEAD;
    let has_body = !is_head && !answer.body.is_empty();
    session.write_response_header(Box::new(head), !has_body).await?;
    if has_body {
        session.write_response_body(Some(answer.body), true).await?;
    }
    Ok(())
}
