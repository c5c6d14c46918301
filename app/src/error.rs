//! Decides which status, code and words each failure becomes; no other file turns errors into answers.
//!
//! | failure | status | code |
//! | --- | --- | --- |
//! | path or head that cannot be read | 400 | `bad_request` |
//! | [`BadCursor`] | 400 | `invalid_cursor` |
//! | no token where one is needed, or one that is not good (any more) | 401 | `unauthenticated` |
//! | a token without the ability, a role without the right | 403 | `forbidden` |
//! | no such route, no such post | 404 | `not_found` |
//! | route without this method | 405 | `method_not_allowed` |
//! | the same request is still running, or another one was quicker | 409 | `conflict` |
//! | `If-Match` names another version | 412 | `precondition_failed` |
//! | body above `max_body_size` | 413 | `body_too_large` |
//! | body that is not JSON | 415 | `unsupported_media_type` |
//! | [`query::Problems`] of the query / of the body | 422 | `invalid_parameters` / `invalid_fields` |
//! | too many tries, too many requests | 429 | `too_many_requests` |
//! | no connection free, lock held for too long | 503 | `overloaded` |
//! | longer than `max_execution_time`, or a statement than `statement_timeout` | 503 | `deadline_exceeded` |
//! | mail, where none is sent | 503 | `unavailable` |
//! | database gone | 503 | `database_unavailable` |
//! | anything else, a panic | 500 | `internal` |

use std::error::Error as StdError;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::page::cursor::BadCursor;
use crate::{answer, db, query};

/// What kind of failure it is. The stable word for it is in problem details and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request cannot be read.
    BadRequest,
    /// A cursor that is not of this list.
    InvalidCursor,
    /// No token where one is needed, or one that is not good.
    Unauthenticated,
    /// The token or its owner may not do this.
    Forbidden,
    /// Nothing there.
    NotFound,
    /// The route does not have this method.
    MethodNotAllowed,
    /// Something else is under way.
    Conflict,
    /// What is to be changed is not what the client knows.
    PreconditionFailed,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// Parameters that are unknown or out of range.
    InvalidParameters,
    /// Fields of the body that are unknown, missing or wrong.
    InvalidFields,
    /// Too many tries in a while.
    TooManyRequests,
    /// No room for this request now.
    Overloaded,
    /// It took too long.
    DeadlineExceeded,
    /// The database is gone.
    DatabaseUnavailable,
    /// What this site does not offer.
    Unavailable,
    /// Our fault.
    Internal,
}

impl Code {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::InvalidCursor => "invalid_cursor",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition_failed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidFields => "invalid_fields",
            Self::TooManyRequests => "too_many_requests",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::InvalidParameters => "invalid_parameters",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::InvalidCursor => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidParameters | Self::InvalidFields => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable | Self::Overloaded | Self::DeadlineExceeded | Self::DatabaseUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether it is our side that failed, not the client's.
    pub fn is_ours(self) -> bool {
        self.status().is_server_error()
    }

    /// Seconds after which trying again makes sense, unless the failure knows better.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::Overloaded | Self::DeadlineExceeded | Self::DatabaseUnavailable | Self::Conflict => Some(1),
            _ => None,
        }
    }
}

/// The status of health checks that say "not me": the database is down, or the node is about to stop.
pub const NOT_SERVING: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A failure, with what the client is told and what the log is told.
#[derive(Clone, Debug)]
pub struct ApiError(Arc<Failure>);

#[derive(Debug)]
struct Failure {
    code: Code,
    public: String,
    fields: Vec<(String, String)>,
    retry_after: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    fn of(code: Code, public: String) -> Self {
        Self { code, public, fields: Vec::new(), retry_after: code.retry_after(), source: None }
    }
}

impl ApiError {
    /// A failure of which the client is told `public`.
    pub fn new(code: Code, public: impl Into<String>) -> Self {
        Self(Arc::new(Failure::of(code, public.into())))
    }

    fn caused(code: Code, public: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = Some(source.into());
        Self(Arc::new(Failure { source, ..Failure::of(code, public.to_owned()) }))
    }

    /// The request cannot be read.
    pub fn bad_request(public: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, public)
    }

    /// Nothing there.
    pub fn not_found(public: impl Into<String>) -> Self {
        Self::new(Code::NotFound, public)
    }

    /// What is wrong with the fields of a body.
    pub fn invalid_fields(problems: query::Problems) -> Self {
        Self::invalid(Code::InvalidFields, "field", problems)
    }

    fn invalid(code: Code, what: &str, problems: query::Problems) -> Self {
        let public = match problems.0.as_slice() {
            [(name, message)] => format!("The {what} `{name}` {message}."),
            several => format!("{} {what}s are not valid.", several.len()),
        };
        Self(Arc::new(Failure { fields: problems.0, ..Failure::of(code, public) }))
    }

    /// Too many tries; the next one makes sense after so many seconds.
    pub fn too_many(public: impl Into<String>, seconds: u64) -> Self {
        let failure = Failure::of(Code::TooManyRequests, public.into());
        Self(Arc::new(Failure { retry_after: Some(seconds), ..failure }))
    }

    /// A handler panicked.
    pub fn panicked() -> Self {
        Self::caused(Code::Internal, INTERNAL, "the handler panicked")
    }

    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the client is told.
    pub fn public(&self) -> &str {
        &self.0.public
    }

    /// What is wrong with which parameter or field.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0.fields
    }

    /// The chain of causes for the log, where there is more than the client is told.
    pub fn chain(&self) -> Option<String> {
        self.0.source.as_deref().map(|source| cirque_shared::report::chain(source))
    }

    /// The answer in the form that `accept` asks for: problem details, else `{message, errors}`.
    pub fn answer(&self, accept: &HeaderMap) -> Response {
        let status = self.0.code.status();
        let mut response = if wants_problem(accept) {
            answer::with_status(status, &self.problem(), HeaderValue::from_static(PROBLEM))
        } else {
            answer::with_status(status, &self.message(), answer::JSON)
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.0.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cirque\""));
        }
        response
    }

    fn message(&self) -> Value {
        let mut body = Map::new();
        body.insert("message".into(), self.0.public.as_str().into());
        if !self.0.fields.is_empty() {
            body.insert("errors".into(), self.errors());
        }
        body.into()
    }

    fn problem(&self) -> Value {
        let status = self.0.code.status();
        let mut body = Map::new();
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), status.canonical_reason().unwrap_or_default().into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("detail".into(), self.0.public.as_str().into());
        body.insert("code".into(), self.0.code.word().into());
        if !self.0.fields.is_empty() {
            body.insert("errors".into(), self.errors());
        }
        body.into()
    }

    /// The problems by parameter, each with a list of sentences.
    fn errors(&self) -> Value {
        let mut errors = Map::new();
        for (name, message) in &self.0.fields {
            let list = errors.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(message.as_str().into());
            }
        }
        errors.into()
    }
}

const PROBLEM: &str = "application/problem+json";
const INTERNAL: &str = "Something went wrong on our side.";

/// Whether a list of media types names problem details and does not refuse them.
fn wants_problem(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let is_problem = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(PROBLEM));
        is_problem && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The body is written by the layer around all handlers, which knows what the client accepts.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.code.status();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<query::Problems> for ApiError {
    fn from(problems: query::Problems) -> Self {
        Self::invalid(Code::InvalidParameters, "parameter", problems)
    }
}

impl From<BadCursor> for ApiError {
    fn from(reason: BadCursor) -> Self {
        let mut public = reason.to_string();
        public.replace_range(..1, "T");
        public.push_str(": start again without `cursor`.");
        Self::new(Code::InvalidCursor, public)
    }
}

impl From<db::Error> for ApiError {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Saturated | db::Error::Busy(_) => {
                Self::caused(Code::Overloaded, "The service is busy. Try again in a moment.", error)
            }
            db::Error::NoPrimary | db::Error::ReadOnly(_) => Self::caused(
                Code::DatabaseUnavailable,
                "The service cannot change its data right now. Try again in a moment.",
                error,
            ),
            db::Error::Unreachable(_) | db::Error::Missing(_) | db::Error::Open { .. } => Self::caused(
                Code::DatabaseUnavailable,
                "The service cannot reach its data. Try again in a moment.",
                error,
            ),
            db::Error::TooSlow(_) => Self::caused(
                Code::DeadlineExceeded,
                "The request took too long. Try again in a moment.",
                error,
            ),
            db::Error::Refused(..) => Self::caused(
                Code::Conflict,
                "This conflicts with what somebody else is doing. Try again in a moment.",
                error,
            ),
            db::Error::Statement(_) | db::Error::Migrate(_) => Self::caused(Code::Internal, INTERNAL, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    async fn body(error: &ApiError, headers: &HeaderMap) -> (StatusCode, String, String) {
        let response = error.answer(headers);
        let media_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, media_type, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn all_problems_of_a_parameter_are_listed_under_its_name() {
        let mut problems = query::Problems::default();
        problems.push("page", "must be a number");
        problems.push("sort", "must be one of: a, b");
        problems.push("page", "must be given only once");
        let (status, media_type, body) = body(&problems.into(), &HeaderMap::new()).await;
        assert_eq!((status.as_u16(), media_type.as_str()), (422, "application/json"));
        assert_eq!(
            body,
            r#"{"message":"3 parameters are not valid.","errors":{"page":["must be a number","must be given only once"],"sort":["must be one of: a, b"]}}"#
        );
    }

    #[tokio::test]
    async fn problem_details_are_for_those_who_ask() {
        let error = ApiError::from(BadCursor::Forged);
        let (status, media_type, text) =
            body(&error, &accept("text/html, application/problem+json;q=0.5")).await;
        assert_eq!((status.as_u16(), media_type.as_str()), (400, PROBLEM));
        assert_eq!(
            text,
            r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"The cursor was not made by this site: start again without `cursor`.","code":"invalid_cursor"}"#
        );
        for other in ["application/json", "*/*", "application/problem+json;q=0"] {
            assert_eq!(body(&error, &accept(other)).await.1, "application/json", "{other}");
        }
    }

    #[test]
    fn what_the_client_is_told_does_not_have_the_cause() {
        let error = ApiError::from(db::Error::Statement(sqlx::Error::RowNotFound));
        assert_eq!(error.code(), Code::Internal);
        assert!(!error.message().to_string().contains("row"), "{error:?}");
        assert!(error.chain().unwrap().starts_with("the database refused a statement: "));
    }

    #[test]
    fn an_overloaded_database_is_not_our_fault_and_worth_a_retry() {
        let error = ApiError::from(db::Error::Saturated);
        assert_eq!((error.code(), error.code().status().as_u16()), (Code::Overloaded, 503));
        assert_eq!(error.answer(&HeaderMap::new()).headers()[header::RETRY_AFTER], "1");
    }
}
