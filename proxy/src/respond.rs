//! The one place where a failure becomes a status, a reason and a body for the client.
//!
//! | refusal | status | whose fault |
//! | --- | --- | --- |
//! | https only | 308, Location | the client's |
//! | malformed | 400 | the client's |
//! | acl | 403 | the client's |
//! | no route | 404 | the client's |
//! | method not allowed | 405 | the client's |
//! | head too slow, body too slow | 408 | the client's |
//! | body too large | 413 | the client's |
//! | target too long | 414 | the client's |
//! | expectation | 417 | the client's |
//! | rate | 429, Retry-After, RateLimit | the client's |
//! | misdirected | 421 | the client's |
//! | head too large | 431 | the client's |
//! | client left, reader too slow | 499 (logged, never sent) | the client's |
//! | internal | 500 | ours |
//! | version | 505 | the client's |
//! | unreachable, broken answer | 502 | the backend's |
//! | no backend | 503, Retry-After, or as configured | the backends' |
//! | queue full, queue timeout | 503, Retry-After | the backends' |
//! | overload | 503, Retry-After | nobody's |
//! | maintenance | 503, Retry-After | nobody's |
//! | answer too slow, deadline reached | 504 | the backend's |

mod action;

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;

use crate::config::policy::{ErrorPage, Page, Unavailable};
use crate::retry::Failure;

pub(crate) use action::{fixed, redirect};

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
    QueueFull,
    QueueTimeout,
    AnswerTooSlow,
    DeadlineReached,
    Acl,
    Maintenance,
    Rate,
    Overload,
    ReaderTooSlow,
    HttpsOnly,
    Misdirected,
}

/// An answer of the edge's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Empty: there is no content, and nothing is said of it (204).
    pub(crate) content_type: Cow<'static, str>,
    pub(crate) body: Bytes,
    /// Further fields; their values are one line each.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// What shapes a refusal's answer besides its reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    /// The client's `Accept` header; empty: none.
    pub(crate) accept: &'a str,
    pub(crate) request_id: &'a str,
    /// What is answered when no backend is available.
    pub(crate) unavailable: Option<&'a Unavailable>,
    /// Pages that stand for the usual body.
    pub(crate) pages: &'a [ErrorPage],
    /// The page of a route that is closed.
    pub(crate) maintenance: Option<&'a Page>,
    /// Fields that the refusal comes with: `Allow`, `Retry-After` and the like.
    pub(crate) fields: &'a [(&'static str, String)],
}

#[cfg(test)]
impl<'a> Form<'a> {
    /// The usual answer, in the form that `Accept` asks for.
    pub(crate) fn plain(accept: &'a str, request_id: &'a str) -> Self {
        Self { accept, request_id, unavailable: None, pages: &[], maintenance: None, fields: &[] }
    }
}

impl Refusal {
    /// Every refusal, so that each series exists from the start.
    pub(crate) const ALL: [Self; 26] = [
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
        Self::QueueFull,
        Self::QueueTimeout,
        Self::AnswerTooSlow,
        Self::DeadlineReached,
        Self::Acl,
        Self::Maintenance,
        Self::Rate,
        Self::Overload,
        Self::ReaderTooSlow,
        Self::HttpsOnly,
        Self::Misdirected,
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
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::AnswerTooSlow => "answer_too_slow",
            Self::DeadlineReached => "deadline_reached",
            Self::Acl => "acl",
            Self::Maintenance => "maintenance",
            Self::Rate => "rate",
            Self::Overload => "overload",
            Self::ReaderTooSlow => "reader_too_slow",
            Self::HttpsOnly => "https_only",
            Self::Misdirected => "misdirected",
        }
    }

    /// The status that the client gets; 499 (nginx's) is only logged.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::HttpsOnly => 308,
            Self::Malformed => 400,
            Self::Acl => 403,
            Self::NoRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::HeadTooSlow | Self::BodyTooSlow => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::Misdirected => 421,
            Self::HeadTooLarge => 431,
            Self::Version => 505,
            Self::Rate => 429,
            Self::ClientLeft | Self::ReaderTooSlow => 499,
            Self::Internal => 500,
            Self::Unreachable | Self::BrokenAnswer => 502,
            Self::NoBackend | Self::QueueFull | Self::QueueTimeout => 503,
            Self::Maintenance | Self::Overload => 503,
            Self::AnswerTooSlow | Self::DeadlineReached => 504,
        }
    }

    /// What the client reads: what happened, and what to do where there is something to do.
    pub(crate) fn detail(self) -> &'static str {
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
            Self::Version => "This version of HTTP is not spoken here.",
            Self::ClientLeft => "The client closed the connection.",
            Self::Internal => "The edge could not handle the request.",
            Self::Unreachable => "No backend could be reached.",
            Self::BrokenAnswer => "The backend's answer was broken.",
            Self::NoBackend => "No backend is available. Please try again shortly.",
            Self::QueueFull | Self::QueueTimeout => "All backends are busy. Please try again shortly.",
            Self::AnswerTooSlow => "The backend did not answer in time.",
            Self::DeadlineReached => "The request took longer than this site allows.",
            Self::Acl => "This address may not ask for this.",
            Self::HttpsOnly => "This site is served over https.",
            Self::Misdirected => "This host is not served over this connection. Please connect anew.",
            Self::Maintenance => "This site is closed for maintenance. Please come back later.",
            Self::Rate => "Too many requests. Please slow down.",
            Self::Overload => "This site is busy. Please try again shortly.",
            Self::ReaderTooSlow => "The answer was read too slowly.",
        }
    }

    /// The code of gRPC that stands for it, as its clients would translate the status (gRPC's
    /// `http-grpc-status-mapping`).
    pub(crate) fn grpc_code(self) -> u8 {
        match self.status() {
            400 => 13,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        }
    }

    /// The refusal that stands for the last failed attempt.
    pub(crate) fn of(failure: Failure) -> Self {
        match failure {
            Failure::Connect => Self::Unreachable,
            Failure::StaleConnection | Failure::Reset | Failure::Protocol => Self::BrokenAnswer,
            Failure::ConnectTimeout
            | Failure::ReadTimeout
            | Failure::WriteTimeout
            | Failure::AttemptTimeout => Self::AnswerTooSlow,
            // A status is passed on as it came; this is what holds if that was not possible.
            Failure::Status(_) => Self::BrokenAnswer,
        }
    }

    /// The answer that a client gets.
    pub(crate) fn answer(self, form: &Form<'_>) -> Answer {
        let own = form.unavailable.filter(|_| self == Self::NoBackend);
        let status = own.map_or(self.status(), |own| own.status);
        let page = form.maintenance.filter(|_| self == Self::Maintenance);
        let by_status = || form.pages.iter().find(|page| page.statuses.contains(&status))?.page.as_ref();
        let (content_type, body) = match (own.filter(|own| !own.body.is_empty()), page.or_else(by_status)) {
            (Some(own), _) => (own.content_type.clone().into(), own.body.clone().into()),
            (None, Some(page)) => (page.content_type.into(), page.body.clone()),
            (None, None) => self.usual(status, form),
        };
        let mut fields = vec![("Cache-Control", "no-store".to_owned())];
        fields.extend_from_slice(form.fields);
        let passes = matches!(self, Self::NoBackend | Self::QueueFull | Self::QueueTimeout | Self::Overload);
        let seconds = own.map_or(u32::from(passes), |own| own.retry_after);
        if seconds > 0 && fields.iter().all(|(name, _)| *name != RETRY_AFTER) {
            fields.push((RETRY_AFTER, seconds.to_string()));
        }
        Answer { status, content_type, body, fields }
    }

    /// The body that holds where an operator gave no page.
    fn usual(self, status: u16, form: &Form<'_>) -> (Cow<'static, str>, Bytes) {
        let (detail, request_id) = (self.detail(), form.request_id);
        let title = title(status);
        let (content_type, body) = match kind(form.accept) {
            Kind::Problem => (
                "application/problem+json",
                format!(
                    "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\",\
                     \"request_id\":\"{request_id}\"}}\n"
                ),
            ),
            Kind::Html => ("text/html; charset=utf-8", page(status, title, detail, request_id)),
            Kind::Text => (
                "text/plain; charset=utf-8",
                format!("{status} {title}\n{detail}\nrequest id: {request_id}\n"),
            ),
        };
        (content_type.into(), body.into())
    }
}

/// The field that says when to come back.
pub(crate) const RETRY_AFTER: &str = "Retry-After";

/// How a body is written.
enum Kind {
    Problem,
    Html,
    Text,
}

/// JSON for those who ask for it, a page for browsers, text for all others.
fn kind(accept: &str) -> Kind {
    let asks_for =
        |what: &str| accept.split(',').any(|part| part.split(';').next().is_some_and(|t| t.trim() == what));
    if asks_for("application/problem+json") || asks_for("application/json") {
        Kind::Problem
    } else if asks_for("text/html") {
        Kind::Html
    } else {
        Kind::Text
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

/// The reason phrase of a status (RFC 9110 §15).
pub(crate) fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        other => http::StatusCode::from_u16(other)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Internal Server Error"),
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
        // Series are kept by place.
        assert!(Refusal::ALL.iter().enumerate().all(|(place, refusal)| *refusal as usize == place));
        for refusal in Refusal::ALL {
            let titled = title(refusal.status()) != "Internal Server Error";
            assert!(titled || refusal == Refusal::Internal, "{refusal:?}");
        }
    }

    fn plain(refusal: Refusal, accept: &str) -> Answer {
        refusal.answer(&Form::plain(accept, "abc"))
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
            assert_eq!(plain(Refusal::NoRoute, accept).content_type, expected, "{accept}");
        }
    }

    #[test]
    fn only_a_refusal_that_passes_says_when_to_come_back() {
        let when = |refusal: Refusal, form: &Form<'_>| {
            let fields = refusal.answer(form).fields;
            fields.into_iter().find(|(name, _)| *name == RETRY_AFTER).map(|(_, value)| value)
        };
        for passing in [Refusal::NoBackend, Refusal::QueueFull, Refusal::QueueTimeout] {
            assert_eq!(when(passing, &Form::plain("", "abc")).as_deref(), Some("1"));
        }
        assert_eq!(when(Refusal::Unreachable, &Form::plain("", "abc")), None);
        let fields = [(RETRY_AFTER, "9".to_owned())];
        let form = Form { fields: &fields, ..Form::plain("", "abc") };
        assert_eq!(when(Refusal::NoBackend, &form).as_deref(), Some("9"));
    }

    #[test]
    fn an_operator_may_answer_otherwise_when_nothing_is_available() {
        let when = |answer: &Answer| answer.fields.iter().find(|(name, _)| *name == RETRY_AFTER).cloned();
        let own = Unavailable { status: 429, retry_after: 30, ..Unavailable::default() };
        let form = Form { unavailable: Some(&own), ..Form::plain("", "id") };
        let answer = Refusal::NoBackend.answer(&form);
        assert_eq!((answer.status, when(&answer)), (429, Some((RETRY_AFTER, "30".to_owned()))));
        assert!(answer.body.starts_with(b"429 Too Many Requests\n"), "{:?}", answer.body);
        assert_eq!(Refusal::Unreachable.answer(&form).status, 502, "a word for that moment only");
        let own = Unavailable {
            status: 503,
            retry_after: 0,
            body: "<p>soon".into(),
            content_type: "text/html".into(),
        };
        let answer = Refusal::NoBackend.answer(&Form { unavailable: Some(&own), ..form });
        assert_eq!(
            (&answer.body[..], &*answer.content_type, when(&answer)),
            (&b"<p>soon"[..], "text/html", None)
        );
    }

    #[test]
    fn a_problem_is_json() {
        let answer = plain(Refusal::DeadlineReached, "application/json");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((body["status"].as_u64(), body["request_id"].as_str()), (Some(504), Some("abc")));
    }

    #[test]
    fn an_operators_page_stands_for_the_usual_body() {
        let page = |text: &'static str| Page { content_type: "text/html", body: Bytes::from(text) };
        let pages = [
            ErrorPage { statuses: vec![502, 503], page: Some(page("down")) },
            ErrorPage { statuses: vec![503, 400], page: None },
        ];
        let closed = page("closed");
        let form = Form { pages: &pages, maintenance: Some(&closed), ..Form::plain("", "abc") };
        for (refusal, expected) in
            [(Refusal::Unreachable, "down"), (Refusal::NoBackend, "down"), (Refusal::Maintenance, "closed")]
        {
            assert_eq!(refusal.answer(&form).body, expected, "{refusal:?}");
        }
        assert!(refusal_text(Refusal::NoRoute, &form).starts_with("404 Not Found"));
        assert!(refusal_text(Refusal::Malformed, &form).starts_with("400 Bad Request"));
    }

    fn refusal_text(refusal: Refusal, form: &Form<'_>) -> String {
        String::from_utf8(refusal.answer(form).body.to_vec()).unwrap()
    }
}
