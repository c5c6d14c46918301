//! Translates a request of pingora's into values of ours, and what backends are told of it back into pingora's.

use std::sync::Arc;

use cirque_shared::request_id;
use cirque_shared::trace::Trace;
use http::header::{self, HeaderName};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::Ctx;
use super::head::{said, trace};
use crate::config::policy::Client;
use crate::edge::Edge;
use crate::exchange::Head;
use crate::headers::{FORWARDING, Forwarded, forwarded};
use crate::respond::Refusal;
use crate::turn::Turn;

// Known names are not parsed again for each request.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Gives a request the times that it may take; `is_leaving`: it is the last of its connection.
pub(super) fn bound(session: &mut Session, client: &Client, is_leaving: bool) {
    // Guarded: a connection that pingora marked as not reusable must stay so.
    if session.get_keepalive().is_some() {
        let seconds = if is_leaving { 0 } else { client.keepalive_timeout.as_secs() };
        session.set_keepalive((seconds > 0).then_some(seconds));
    }
    session.set_read_timeout(Some(client.body_timeout));
    session.set_write_timeout(Some(client.send_timeout));
    session.set_total_drain_timeout(Some(client.body_timeout));
    session.as_downstream_mut().set_pipelining_enabled(true);
}

/// What the request's head says, and what backends are told about its client.
pub(super) fn head(session: &Session, edge: &Edge, turn: Option<&Turn>) -> (Head, Forwarded) {
    let request = session.req_header();
    let text = |name: &HeaderName| String::from_utf8_lossy(session.get_header_bytes(name)).into_owned();
    let origin = turn.map(|turn| turn.origin.as_ref());
    let peer = origin.map_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), |origin| origin.peer);
    let is_tls = origin.is_some_and(|origin| origin.door.is_tls());
    let site = edge.site();
    let trusted = &site.config.trusted_proxies;
    let told =
        forwarded(peer, trusted, &joined(request, &X_FORWARDED_FOR), &text(&X_FORWARDED_PROTO), is_tls);
    let given = session.get_header_bytes(&X_REQUEST_ID);
    let id = if request_id::is_acceptable(given) {
        String::from_utf8_lossy(given).into_owned()
    } else {
        request_id::generate()
    };
    let head = Head {
        id,
        client: told.client,
        door: origin.map(|origin| Arc::clone(&origin.door)),
        method: request.method.as_str().to_owned(),
        host: request
            .uri
            .authority()
            .map_or_else(|| text(&header::HOST), |authority| authority.as_str().to_owned()),
        path: request.uri.path().to_owned(),
        is_idempotent: request.method.is_idempotent(),
        trace: site.config.trace_context.then(|| edge.traces.decide(trace(request))),
        said: edge.access_log.is_combined().then(|| Box::new(said(request))),
    };
    (head, told)
}

/// All values of a header that may come in several lines.
pub(super) fn joined(request: &RequestHeader, name: &HeaderName) -> String {
    let values = request.headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",")
}

/// Whether the announced length is above the limit; without an announcement the pieces are counted.
pub(super) fn is_too_large(session: &Session, limit: Option<u64>) -> bool {
    let length = std::str::from_utf8(session.get_header_bytes("content-length")).ok();
    let length = length.and_then(|length| length.trim().parse::<u64>().ok());
    matches!((length, limit), (Some(length), Some(limit)) if length > limit)
}

/// Removes what the backend said about its own connection (RFC 9110 §7.6.1); pingora passes it on.
pub(super) fn remove_hop_by_hop(head: &mut ResponseHeader) {
    if head.status.as_u16() == 101 {
        return;
    }
    let values = head.headers.get_all(header::CONNECTION).iter();
    let nominated: Vec<String> = values
        .flat_map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .collect::<Vec<_>>()
        })
        .collect();
    for name in &nominated {
        if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection" | "close" | "") {
            head.remove_header(name.as_str());
        }
    }
    head.remove_header(&KEEP_ALIVE);
    head.remove_header(&PROXY_CONNECTION);
}

/// Why a request is not served over this connection, whatever its route.
pub(super) fn objection(request: &RequestHeader, ctx: &mut Ctx) -> Option<Refusal> {
    let origin = Arc::clone(&ctx.turn.as_ref()?.origin);
    let exchange = ctx.exchange.as_mut()?;
    let refusal = origin.objection(&exchange.head().host)?;
    if refusal == Refusal::HttpsOnly {
        let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        exchange.send_to(origin.door.https_location(&exchange.head().host, target));
    }
    Some(refusal)
}

/// HTTP/2 clients may send a cookie in pieces; backends of HTTP/1.1 know one field only (RFC 9113 §8.2.3).
pub(super) fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let pieces: Vec<&[u8]> = request.headers.get_all("cookie").iter().map(|value| value.as_bytes()).collect();
    if pieces.len() < 2 {
        return Ok(());
    }
    let whole = pieces.join(&b"; "[..]);
    request.insert_header("Cookie", whole)
}

/// Writes what a backend is told about its client.
pub(super) fn tell(
    request: &mut RequestHeader,
    told: &Forwarded,
    id: &str,
    trace: Option<&Trace>,
) -> Result<()> {
    if !told.is_trusted {
        for name in &FORWARDING {
            request.remove_header(name);
        }
        // Whom nobody speaks for is the whole chain.
        request.insert_header("X-Real-IP", &told.chain)?;
    } else {
        request.insert_header("X-Real-IP", told.client.to_string())?;
    }
    request.insert_header("X-Forwarded-For", &told.chain)?;
    request.insert_header("X-Forwarded-Proto", told.proto)?;
    request.insert_header("X-Request-ID", id)?;
    if let Some(trace) = trace {
        request.insert_header("traceparent", trace.parent())?;
        if !trace.is_continued {
            request.remove_header("tracestate");
        }
    }
    Ok(())
}
