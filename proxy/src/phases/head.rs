//! What pingora's heads say to the deciding rooms, and what those change in them.

use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::Ctx;
use crate::config::policy::Client;
use crate::config::template::Facts;
use crate::exchange::Exchange;
use crate::headers::Forwarded;
use crate::headers::rules::Edit;
use crate::respond::Refusal;

/// What placeholders of the route may ask of this request.
pub(super) fn facts<'a>(
    request: &'a RequestHeader,
    told: &'a Forwarded,
    exchange: &'a Exchange,
) -> Facts<'a> {
    let target = request.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str).as_bytes();
    let path = request.uri.path().as_bytes();
    Facts {
        scheme: told.proto,
        host: exchange.head().host.as_bytes(),
        path,
        query: target.get(path.len()..).unwrap_or_default(),
        rest: b"",
        method: request.method.as_str().as_bytes(),
        client: told.client,
        forwarded_for: &told.chain,
        request_id: &exchange.head().id,
        route: exchange.route().map_or("", |route| &route.config.name),
    }
}

/// Applies the route's rules to an answer, be it a backend's or ours.
pub(super) fn edit_answer(session: &Session, head: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let (Some(told), Some(exchange)) = (&ctx.forwarded, &ctx.exchange) else { return Ok(()) };
    let Some(route) = exchange.route() else { return Ok(()) };
    let edit = Edit::of(&route.config.response_headers, || facts(session.req_header(), told, exchange));
    let Some(edit) = edit else { return Ok(()) };
    edit.gone(&head.headers).iter().for_each(|name| drop(head.remove_header(name)));
    for (name, value) in edit.fields() {
        head.append_header(name, value)?;
    }
    Ok(())
}

/// What of a head is above the limits that pingora does not keep.
pub(super) fn too_large(request: &RequestHeader, client: &Client) -> Option<(Refusal, &'static str)> {
    let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > client.max_target {
        Some((Refusal::TargetTooLong, "target_too_long"))
    } else {
        (request.headers.len() > client.max_headers).then_some((Refusal::HeadTooLarge, "too_many_fields"))
    }
}
