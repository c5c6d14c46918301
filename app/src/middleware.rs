//! Decides what happens around every request, and in which order.
//!
//! Outside in: name the request, count it, refuse it if there were too many, bound it (body, time), survive its
//! handler, write its error in the form the client asked for, say what it wrote, name the node, count and log the outcome.

mod bounds;
mod consistency;
mod limits;
mod observe;
mod request_id;
mod views;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use cirque_shared::trace::{self, Scope, Trace};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::cause::Cause;
use crate::client::{self, Client};
use crate::error::ApiError;
use crate::idempotency;
use crate::state::AppState;

pub use request_id::RequestId;

/// The address of the other end of the connection, put into requests by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub std::net::SocketAddr);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The one layer around all routes, the unknown ones included.
pub async fn around(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let trace = trace_of(&request, &state);
    request.extensions_mut().insert(Cause::request(id.as_str(), trace));
    if let Some(Peer(peer)) = request.extensions().get().copied() {
        let address = client::address(peer.ip(), request.headers(), &state.trusted_proxies);
        request.extensions_mut().insert(Client(address));
    }
    let seen = observe::Seen::of(&request, &id, trace, &state);
    let accept = accepted(request.headers());
    let view = views::View::of(&request);
    let counted = match limits::Question::of(&request, &state) {
        Some(question) => question.ask(&state).await,
        None => None,
    };
    let seeing = consistency::Seeing::of(&request, &state);
    let outcome = match counted.as_ref().and_then(limits::Counted::refusal) {
        Some(refusal) => Err(refusal),
        None => match bounds::body(request, state.max_body_size) {
            Ok(request) => {
                let scope = Scope::of(&state.traces, trace);
                let work = || bounds::time(trace::within(scope, carried_out(&state, request, next)), &state);
                seeing.scope(work).await
            }
            Err(refusal) => Err(refusal),
        },
    };
    let response = outcome.unwrap_or_else(axum::response::IntoResponse::into_response);
    let (mut response, error) = written(response, &accept);
    if let Some(counted) = counted {
        counted.settle(&state, &mut response, error.as_ref()).await;
    }
    seeing.settle(&state, &mut response);
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.header());
    headers.insert(X_SERVED_BY, state.node.clone());
    if !state.lifecycle.keeps_connections() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(view) = view {
        view.note(&state, response.status());
    }
    seen.finish(&response, error.as_ref());
    response
}

/// The trace that a request belongs to: its sender's, where it names one and only one, else a new one.
fn trace_of(request: &Request, state: &AppState) -> Trace {
    let mut given = request.headers().get_all(TRACEPARENT).iter();
    let only = given.next().filter(|_| given.next().is_none());
    state.traces.decide(Trace::of(only.map(HeaderValue::as_bytes)))
}

/// Carries a request out, once where its client asks for that.
async fn carried_out(state: &AppState, request: Request, next: Next) -> Response {
    let outcome = idempotency::around(state, request, |request| next.run(request)).await;
    outcome.unwrap_or_else(axum::response::IntoResponse::into_response)
}

/// Only what the client accepts, so that the rest of the head need not be kept.
fn accepted(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(header::ACCEPT).iter().map(|value| (header::ACCEPT, value.clone())).collect()
}

/// Gives an error its body; keeps the headers that were set beside it, like `Allow`.
fn written(mut response: Response, accept: &HeaderMap) -> (Response, Option<ApiError>) {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else {
        return (response, None);
    };
    let mut answer = error.answer(accept);
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && !answer.headers().contains_key(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    (answer, Some(error))
}
