//! Sends an answer of the edge's own through pingora.

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::is_interim;
use crate::exchange::Exchange;
use crate::respond::Refusal;

/// Sends the answer, where one can still be sent; says whether the connection may be used again.
pub(super) async fn send(session: &mut Session, refusal: Refusal, exchange: Option<&Exchange>) -> bool {
    if refusal == Refusal::ClientLeft || session.response_written().is_some_and(|head| !is_interim(head)) {
        return false;
    }
    // A request whose body was not read to its end leaves the connection in an unknown place.
    let can_reuse = matches!(refusal, Refusal::NoRoute) && session.as_mut().is_body_empty();
    if !can_reuse {
        session.set_keepalive(None);
    }
    match write(session, refusal, exchange.map_or("", |exchange| exchange.head().id.as_str())).await {
        Ok(()) => can_reuse,
        Err(_) => false,
    }
}

async fn write(session: &mut Session, refusal: Refusal, request_id: &str) -> pingora::Result<()> {
    let accept = String::from_utf8_lossy(session.get_header_bytes("accept")).into_owned();
    let answer = refusal.answer(&accept, request_id);
    let mut head = ResponseHeader::build(answer.status, Some(6))?;
    head.insert_header("Content-Type", answer.content_type)?;
    head.insert_header("Content-Length", answer.body.len())?;
    head.insert_header("Cache-Control", "no-store")?;
    head.insert_header("X-Request-ID", request_id)?;
    if let Some(seconds) = answer.retry_after {
        head.insert_header("Retry-After", seconds)?;
    }
    let is_head = session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(head), is_head).await?;
    if !is_head {
        session.write_response_body(Some(Bytes::from(answer.body)), true).await?;
    }
    Ok(())
}
