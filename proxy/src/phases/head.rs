//! What pingora's heads say to the deciding rooms, and what those change in them.

use bytes::Bytes;
use cirque_shared::trace::Trace;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::Ctx;
use crate::access_log::combined::Said;
use crate::compress::encoder::Encoder;
use crate::compress::{self, Changed, Plan};
use crate::config::policy::{Client, Compress};
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
        let is_large = size(request, target) > client.max_head_size;
        if is_large {
            return Some((Refusal::HeadTooLarge, "too_large"));
        }
        (request.headers.len() > client.max_headers).then_some((Refusal::HeadTooLarge, "too_many_fields"))
    }
}

/// How long a head is, written as HTTP/1.1.
fn size(request: &RequestHeader, target: usize) -> usize {
    let line = request.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    let around = ": \r\n".len();
    request.headers.iter().fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + around)
}

/// The trace that a request belongs to.
pub(super) fn trace(request: &RequestHeader) -> Trace {
    let mut given = request.headers.get_all("traceparent").iter();
    let only = given.next().filter(|_| given.next().is_none());
    Trace::of(only.map(http::HeaderValue::as_bytes))
}

/// What the combined format asks of a head.
pub(super) fn said(request: &RequestHeader) -> Said {
    let target = request.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let version = if request.version == http::Version::HTTP_2 {
        "HTTP/2.0".to_owned()
    } else {
        format!("{:?}", request.version)
    };
    let line = format!("{} {target} {version}", request.method);
    Said::of(line.as_bytes(), |name| request.headers.get(name).map(http::HeaderValue::as_bytes))
}

/// Whether an answer is compressed; its head is made to say so.
pub(super) fn compress(request: &RequestHeader, head: &mut ResponseHeader, rule: &Compress) -> Result<Plan> {
    if rule.encodings.is_empty() {
        return Ok(Plan::AsIs);
    }
    let length =
        head.headers.get("content-length").and_then(|length| length.to_str().ok()?.trim().parse().ok());
    let facts = compress::Facts {
        status: head.status.as_u16(),
        length,
        content_type: head.headers.get("content-type").map_or(b"", http::HeaderValue::as_bytes),
        // pingora writes what is left in a coder or the trailers, not both: announced trailers are kept.
        is_fixed: head.headers.contains_key("trailer")
            || head.headers.iter().any(|(name, value)| compress::fixes(name.as_ref(), value.as_bytes())),
    };
    let accepts = request.headers.get_all("accept-encoding").iter().map(http::HeaderValue::as_bytes);
    let plan = Plan::of(rule, &facts, accepts);
    let varies = head.headers.get_all("vary").iter().any(|value| compress::varies(value.as_bytes()));
    if plan != Plan::AsIs && !varies {
        head.append_header("Vary", "Accept-Encoding")?;
    }
    let Some(coding) = plan.coding() else { return Ok(plan) };
    let etag = head.headers.get("etag").map(|etag| etag.as_bytes().to_vec());
    if let Some(etag) = etag.filter(|etag| compress::changed(b"etag", etag) == Some(Changed::Weak)) {
        head.insert_header("ETag", [b"W/", &etag[..]].concat())?;
    }
    for name in ["accept-ranges", "content-encoding", "content-length"] {
        head.remove_header(name);
    }
    head.insert_header("Content-Encoding", coding.name())?;
    if request.method != http::Method::HEAD {
        // pingora takes it away again for HTTP/2.
        head.insert_header("Transfer-Encoding", "chunked")?;
    }
    Ok(plan)
}

/// The end of an answer that is compressed and goes on with trailers that nothing announced; they are given up for it.
pub(super) fn code_end(coder: &mut Option<Box<Encoder>>) -> Option<Bytes> {
    // What cannot be ended stays without an end, as the client will notice.
    coder.take().and_then(|at_work| at_work.finish().ok()).map(Bytes::from)
}

/// Compresses one piece of an answer's body, where it is compressed at all.
pub(super) fn code(coder: &mut Option<Box<Encoder>>, body: &mut Option<Bytes>, is_last: bool) -> Result<()> {
    let Some(mut at_work) = coder.take() else { return Ok(()) };
    let broken =
        |error| Error::because(ErrorType::InternalError, "the answer could not be compressed", error);
    let mut coded = at_work.write(body.as_deref().unwrap_or_default()).map_err(broken)?;
    if is_last {
        coded.extend(at_work.finish().map_err(broken)?);
    } else {
        // Whether more comes soon is not known here: each piece can be read by itself.
        coded.extend(at_work.flush().map_err(broken)?);
        *coder = Some(at_work);
    }
    *body = (!coded.is_empty() || body.is_some()).then(|| Bytes::from(coded));
    Ok(())
}
