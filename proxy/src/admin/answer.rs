//! The answers of the admin interface: JSON, text, and what went wrong in one shape.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::access::Denied;
use crate::control::Refused;
use crate::handover::Failed;

pub(super) type Answer = Response<Full<Bytes>>;

/// Plain text.
pub(super) fn text(status: StatusCode, body: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

/// An answer of this type, not to be stored.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A value, readable for people too.
pub(super) fn json(value: &impl Serialize) -> Answer {
    let body = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    typed(StatusCode::OK, "application/json", body)
}

/// With the tag of the state that it tells of.
pub(super) fn tagged(mut answer: Answer, tag: &str) -> Answer {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// What went wrong: `error` for programs, `message` for people.
pub(super) fn problem(status: StatusCode, error: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "error": error, "message": message });
    typed(status, "application/json", serde_json::to_string_pretty(&body).unwrap_or_default() + "\n")
}

/// A change that did not happen.
pub(super) fn refused(refused: &Refused) -> Answer {
    let status = match refused.reason() {
        "invalid" => StatusCode::UNPROCESSABLE_ENTITY,
        "not_found" => StatusCode::NOT_FOUND,
        "stale" => StatusCode::PRECONDITION_FAILED,
        "io" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    };
    problem(status, refused.reason(), &refused.to_string())
}

/// A successor that did not take over.
pub(super) fn failed(failed: &Failed) -> Answer {
    let status = match failed {
        Failed::Left | Failed::Supervised => StatusCode::CONFLICT,
        Failed::Start(_) | Failed::Said(_) | Failed::Ended | Failed::TooSlow => StatusCode::BAD_GATEWAY,
    };
    problem(status, "successor_failed", &failed.to_string())
}

/// Somebody who is not let in.
pub(super) fn denied(denied: Denied) -> Answer {
    match denied {
        Denied::Unknown => {
            let mut answer = problem(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send a token of [server] admin_tokens: Authorization: Bearer TOKEN",
            );
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
        Denied::ReadOnly => {
            problem(StatusCode::FORBIDDEN, "read_only", "this token may look, but not change anything")
        }
        Denied::FromBrowser => problem(
            StatusCode::FORBIDDEN,
            "browser",
            "requests of web pages, and to a name that is no address, are not answered here",
        ),
    }
}

/// A wrong question.
pub(super) fn bad_request(message: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, "bad_request", message)
}

/// Nothing is there.
pub(super) fn not_found(what: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, "not_found", what)
}

/// Something is there, but not for this method.
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &format!("this answers {allowed} only"),
    );
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// A body that is larger than anything that may be said here.
pub(super) fn too_large() -> Answer {
    problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a body of 64 KiB at most is read here")
}
