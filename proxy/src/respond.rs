//! The one place where a failure becomes a status, a reason and a body for the client.
//!
//! | refusal | status | whose fault |
//! | --- | --- | --- |
//! | malformed | 400 | the client's |
//! | no route | 404 | the client's |
//! | method not allowed | 405 | the client's |
//! | head too slow, body too slow | 408 | the client's |
//! | body too large | 413 | the client's |
//! | target too long | 414 | the client's |
//! | expectation | 417 | the client's |
//! | head too large | 431 | the client's |
//! | client left | 499 (logged, never sent) | the client's |
//! | internal | 500 | ours |
//! | version | 505 | the client's |
//! | unreachable, broken answer | 502 | the backend's |
//! | no backend | 503, Retry-After | the backends' |
//! | answer too slow, deadline reached | 504 | the backend's |

use std::fmt::Write as _;

use crate::retry::Failure;

/// Why the edge answers by itself. The reason is the metric label and the log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    NoRoute,
    MethodNotAllowed,
    HeadTooSlow,
    BodyTooSlow,
    BodyTooLarge,
    TargetTooLong,
    Expectation,
    HeadTooLarge,
    Version,
    ClientLeft,
    Internal,
    Unreachable,
    BrokenAnswer,
    NoBackend,
    AnswerTooSlow,
    DeadlineReached,
}

/// An answer of the edge's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    /// Seconds for `Retry-After`.
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    /// Every refusal, so that each series exists from the start.
    pub(crate) const ALL: [Self; 17] = [
        Self::Malformed,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::HeadTooSlow,
        Self::BodyTooSlow,
        Self::BodyTooLarge,
        Self::TargetTooLong,
        Self::Expectation,
        Self::HeadTooLarge,
        Self::Version,
        Self::ClientLeft,
        Self::Internal,
        Self::Unreachable,
        Self::BrokenAnswer,
        Self::NoBackend,
        Self::AnswerTooSlow,
        Self::DeadlineReached,
    ];

    /// The value of the `reason` label and log field.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HeadTooSlow => "head_too_slow",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyTooLarge => "body_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::Expectation => "expectation",
            Self::HeadTooLarge => "head_too_large",
            Self::Version => "version",
            Self::ClientLeft => "client_left",
            Self::Internal => "internal",
            Self::Unreachable => "unreachable",
            Self::BrokenAnswer => "broken_answer",
            Self::NoBackend => "no_backend",
            Self::AnswerTooSlow => "answer_too_slow",
            Self::DeadlineReached => "deadline_reached",
        }
    }

    /// The status that the client gets; 499 (nginx's) is only logged.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NoRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::HeadTooSlow | Self::BodyTooSlow => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge => 431,
            Self::Version => 505,
            Self::ClientLeft => 499,
            Self::Internal => 500,
            Self::Unreachable | Self::BrokenAnswer => 502,
            Self::NoBackend => 503,
            Self::AnswerTooSlow | Self::DeadlineReached => 504,
        }
    }

    /// What the client reads: what happened, and what to do where there is something to do.
    fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "The request could not be understood.",
            Self::NoRoute => "Nothing is served at this host and path.",
            Self::MethodNotAllowed => "This method is not served here.",
            Self::HeadTooSlow => "The request head did not arrive in time.",
            Self::BodyTooSlow => "The request body did not arrive in time.",
            Self::BodyTooLarge => "The request body is larger than this site accepts.",
            Self::TargetTooLong => "The request target is longer than this site accepts.",
            Self::Expectation => "The expectation is not 100-continue.",
            Self::HeadTooLarge => "The request head is larger than this site accepts.",
            Self::Version => "HTTP/1.0 and HTTP/1.1 are spoken here.",
            Self::ClientLeft => "The client closed the connection.",
            Self::Internal => "The edge could not handle the request.",
            Self::Unreachable => "No backend could be reached.",
            Self::BrokenAnswer => "The backend's answer was broken.",
            Self::NoBackend => "No backend is available. Please try again shortly.",
            Self::AnswerTooSlow => "The backend did not answer in time.",
            Self::DeadlineReached => "The request took longer than this site allows.",
        }
    }

    /// The refusal that stands for the last failed attempt.
    pub(crate) fn of(failure: Failure) -> Self {
        match failure {
            Failure::Connect => Self::Unreachable,
            Failure::StaleConnection | Failure::Reset | Failure::Protocol => Self::BrokenAnswer,
            Failure::ConnectTimeout | Failure::ReadTimeout | Failure::WriteTimeout => Self::AnswerTooSlow,
            // A status is passed on as it came; this is what holds if that was not possible.
            Failure::Status(_) => Self::BrokenAnswer,
        }
    }

    /// The answer in the form that the client's `Accept` header (empty: none) asks for.
    pub(crate) fn answer(self, accept: &str, request_id: &str) -> Answer {
        let status = self.status();
        let title = title(status);
        let detail = self.detail();
        let (content_type, body) = match form(accept) {
            Form::Problem => (
                "application/problem+json",
                format!(
                    "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\",\
                     \"request_id\":\"{request_id}\"}}\n"
                ),
            ),
            Form::Html => ("text/html; charset=utf-8", page(status, title, detail, request_id)),
            Form::Text => (
                "text/plain; charset=utf-8",
                format!("{status} {title}\n{detail}\nrequest id: {request_id}\n"),
            ),
        };
        let retry_after = (self == Self::NoBackend).then_some(1);
        Answer { status, content_type, body, retry_after }
    }
}

enum Form {
    Problem,
    Html,
    Text,
}

/// JSON for those who ask for it, a page for browsers, text for all others.
fn form(accept: &str) -> Form {
    let asks_for =
        |what: &str| accept.split(',').any(|part| part.split(';').next().is_some_and(|t| t.trim() == what));
    if asks_for("application/problem+json") || asks_for("application/json") {
        Form::Problem
    } else if asks_for("text/html") {
        Form::Html
    } else {
        Form::Text
    }
}

fn page(status: u16, title: &str, detail: &str, request_id: &str) -> String {
    let mut page = String::with_capacity(512);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {title}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:32em;padding:0 1em}}\
         small{{color:#666}}</style></head>\n\
         <body><h1>{status} {title}</h1><p>{detail}</p><p><small>Request {request_id}</small></p></body></html>\n"
    );
    page
}

/// The reason phrase of the statuses used here (RFC 9110 §15).
pub(crate) fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_status() {
        for (failure, status) in [
            (Failure::Connect, 502),
            (Failure::ConnectTimeout, 504),
            (Failure::StaleConnection, 502),
            (Failure::Reset, 502),
            (Failure::ReadTimeout, 504),
            (Failure::WriteTimeout, 504),
            (Failure::Protocol, 502),
            (Failure::Status(500), 502),
        ] {
            assert_eq!(Refusal::of(failure).status(), status, "{failure:?}");
        }
    }

    #[test]
    fn every_refusal_has_a_reason_of_its_own_and_a_title() {
        let reasons: std::collections::BTreeSet<_> =
            Refusal::ALL.iter().map(|refusal| refusal.reason()).collect();
        assert_eq!(reasons.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            let titled = title(refusal.status()) != "Internal Server Error";
            assert!(titled || refusal == Refusal::Internal, "{refusal:?}");
        }
    }

    #[test]
    fn the_body_follows_accept() {
        for (accept, expected) in [
            ("", "text/plain; charset=utf-8"),
            ("*/*", "text/plain; charset=utf-8"),
            ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/json", "application/problem+json"),
            ("text/html;q=0.5, application/problem+json", "application/problem+json"),
        ] {
            assert_eq!(Refusal::NoRoute.answer(accept, "id").content_type, expected, "{accept}");
        }
    }

    #[test]
    fn only_a_refusal_that_passes_says_when_to_come_back() {
        assert_eq!(Refusal::NoBackend.answer("", "id").retry_after, Some(1));
        assert_eq!(Refusal::Unreachable.answer("", "id").retry_after, None);
    }

    #[test]
    fn a_problem_is_json() {
        let answer = Refusal::DeadlineReached.answer("application/json", "abc");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((body["status"].as_u64(), body["request_id"].as_str()), (Some(504), Some("abc")));
    }
}
