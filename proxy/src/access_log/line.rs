//! How a line of the access log looks: one JSON object, its fields in a fixed order, durations in milliseconds.
//!
//! Written by hand, because a line is part of every request: half a microsecond instead of three.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use super::combined::Said;
use crate::upstream::backend::Backend;

/// One request.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) arrived: OffsetDateTime,
    pub(crate) request_id: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    /// Why the edge answered by itself, if it did.
    pub(crate) reason: Option<&'static str>,
    /// Which rule of the protocol the request broke.
    pub(crate) rule: Option<&'static str>,
    /// Where the request came in.
    pub(crate) listener: &'a str,
    pub(crate) route: &'a str,
    pub(crate) upstream: Option<&'a str>,
    /// The backend whose answer the client got.
    pub(crate) backend: Option<&'a str>,
    pub(crate) took: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) attempts: &'a [Attempt],
    /// Why the last failure was not tried again.
    pub(crate) gave_up: Option<&'static str>,
    /// The rate limit that it was above, and whether that one only counts.
    pub(crate) limited: Option<(&'a str, bool)>,
    /// The trace that it belongs to.
    pub(crate) trace_id: Option<&'a str>,
    /// What the combined format asks of its head.
    pub(crate) said: Option<&'a Said>,
}

/// One try at one backend.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) backend: Arc<Backend>,
    /// `answered`, `unfinished`, or the reason of the failure.
    pub(crate) outcome: &'static str,
    pub(crate) status: Option<u16>,
    /// To the end of the answer, or to the failure.
    pub(crate) took: Duration,
    /// Whether the backend was taken although none was available.
    pub(crate) fail_open: bool,
}

impl Line<'_> {
    /// Appends the line and its end.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        timestamp(self.arrived, out);
        out.push(b'"');
        text(out, "request.id", self.request_id);
        optional(out, "trace.id", self.trace_id);
        out.extend_from_slice(b",\"client.address\":\"");
        address(self.client, out);
        out.push(b'"');
        text(out, "http.request.method", self.method);
        text(out, "server.address", self.host);
        text(out, "url.path", self.path);
        number(out, "http.response.status_code", u64::from(self.status));
        optional(out, "reason", self.reason);
        optional(out, "rule", self.rule);
        text(out, "listener", self.listener);
        text(out, "route", self.route);
        optional(out, "upstream", self.upstream);
        optional(out, "backend", self.backend);
        millis(out, self.took);
        number(out, "bytes_in", self.bytes_in);
        number(out, "bytes_out", self.bytes_out);
        out.extend_from_slice(b",\"attempts\":[");
        for (index, attempt) in self.attempts.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            attempt.append_to(out);
        }
        out.push(b']');
        optional(out, "gave_up", self.gave_up);
        if let Some((limit, is_dry_run)) = self.limited {
            text(out, if is_dry_run { "rate_limit_dry_run" } else { "rate_limit" }, limit);
        }
        out.extend_from_slice(b"}\n");
    }
}

impl Attempt {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"backend\":");
        quoted(out, &self.backend.id);
        text(out, "outcome", self.outcome);
        if let Some(status) = self.status {
            number(out, "status", u64::from(status));
        }
        millis(out, self.took);
        if self.fail_open {
            out.extend_from_slice(b",\"fail_open\":true");
        }
        out.push(b'}');
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    quoted(out, value);
}

fn optional(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `duration_ms`, with three decimals.
fn millis(out: &mut Vec<u8>, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    number(out, "duration_ms", micros / 1000);
    out.push(b'.');
    digits(out, micros % 1000);
}

/// Three digits.
fn digits(out: &mut Vec<u8>, below_thousand: u64) {
    for power in [100, 10, 1] {
        out.push(b'0' + (below_thousand / power % 10) as u8);
    }
}

fn quoted(out: &mut Vec<u8>, value: &str) {
    let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // Writing a text to memory cannot fail.
        let _ = serde_json::to_writer(out, value);
    }
}

pub(super) fn address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        out.extend_from_slice(address.to_string().as_bytes());
        return;
    };
    let mut number = itoa::Buffer::new();
    for (index, part) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(number.format(part).as_bytes());
    }
}

/// RFC 3339 with milliseconds; what stands before them is formatted once a second.
fn timestamp(at: OffsetDateTime, out: &mut Vec<u8>) {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != at.unix_timestamp() {
            let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].");
            (*second, *text) = (at.unix_timestamp(), at.format(format).unwrap_or_default());
        }
        out.extend_from_slice(text.as_bytes());
    });
    digits(out, u64::from(at.millisecond()));
    out.push(b'Z');
}

#[cfg(test)]
impl Line<'static> {
    /// A line like any other.
    pub(super) fn example() -> Self {
        Self {
            arrived: OffsetDateTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_007),
            request_id: "abc",
            client: IpAddr::from([192, 0, 2, 1]),
            method: "GET",
            host: "example.com",
            path: "/\"quoted\"\n\u{e9}",
            status: 200,
            reason: None,
            rule: Some("host"),
            listener: "http",
            route: "api",
            upstream: Some("app"),
            backend: Some("app-1"),
            took: Duration::from_micros(1_052),
            bytes_in: 0,
            bytes_out: 2,
            attempts: &[],
            gave_up: None,
            limited: Some(("per-client", true)),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            said: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_with_every_field_in_its_place() {
        let mut out = Vec::new();
        Line::example().append_to(&mut out);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2023-11-14T22:13:20.007Z",
            "request.id": "abc",
            "trace.id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "client.address": "192.0.2.1",
            "http.request.method": "GET",
            "server.address": "example.com",
            "url.path": "/\"quoted\"\n\u{e9}",
            "http.response.status_code": 200,
            "rule": "host",
            "listener": "http",
            "route": "api",
            "upstream": "app",
            "backend": "app-1",
            "duration_ms": 1.052,
            "bytes_in": 0,
            "bytes_out": 2,
            "attempts": [],
            "rate_limit_dry_run": "per-client",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn addresses_of_both_kinds_are_written_as_usual() {
        let written = |text: &str| {
            let mut out = Vec::new();
            address(text.parse().unwrap(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            (written("10.0.0.1"), written("2001:db8::1")),
            ("10.0.0.1".to_owned(), "2001:db8::1".to_owned())
        );
    }
}
