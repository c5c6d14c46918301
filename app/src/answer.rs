//! Decides how a value becomes an answer: JSON, complete, with its length.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

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

/// Stands for some bytes: the same for the same ones, on every node.
pub fn digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(bytes)[..16])
}

/// A strong entity tag: the same for the same bytes. Where a version is named, it stands before a point.
pub fn etag(body: &Bytes, version: Option<&str>) -> HeaderValue {
    let version = version.map(|version| format!("{version}.")).unwrap_or_default();
    let tag = format!("\"{version}{}\"", digest(body));
    HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// 301 to `location`, to be asked again after a minute; `None` when it cannot be written in a header.
pub fn moved(location: &str) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(location).ok()?);
    // The old address may become another post's some day.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    Some(response)
}

/// 204.
pub fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
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
