//! Decides how a value becomes an answer: JSON, complete, with its length.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Media type of all answers but errors for those who asked for problem details.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with `value` as JSON.
pub fn json(value: &impl Serialize) -> Response {
    with_status(StatusCode::OK, value, JSON)
}

/// `value` as JSON of the given media type.
pub fn with_status(status: StatusCode, value: &impl Serialize, media_type: HeaderValue) -> Response {
    of(status, bytes(value), media_type)
}

/// `value` as JSON.
pub fn bytes(value: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(4096);
    serde_json::to_writer(&mut bytes, value).expect("answers have string keys and no failing values");
    Bytes::from(bytes)
}

/// `response`, which nobody may keep: it holds what is for its reader alone.
pub fn secret(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `bytes` as they are.
pub fn of(status: StatusCode, bytes: Bytes, media_type: HeaderValue) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}
