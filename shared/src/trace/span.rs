//! What is recorded of one part of a trace, and what that looks like to a collector (OTLP).

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as Told, Status};

use super::Trace;

/// The longest text of an attribute, in characters; the rest is cut off.
const LONGEST: usize = 1000;

/// What a part of a trace is to the parts around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers somebody.
    Server,
    /// Asks somebody.
    Client,
    /// Does what somebody left to be done.
    Consumer,
}

/// What is known about a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
}

/// One part of a trace, when it is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// Which part of which trace.
    pub trace: Trace,
    /// What it did, in words of which there are few: a method and a route, not an address.
    pub name: Cow<'static, str>,
    /// What it is to others.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What is known about it, under OpenTelemetry's names. No secrets, no addresses of persons, no queries.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub failed: Option<Cow<'static, str>>,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.chars().take(LONGEST).collect())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Whole(number.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl Span {
    /// As a collector is told.
    pub(super) fn told(self) -> Told {
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let attributes = self.attributes.into_iter().map(|(key, value)| attribute(key, value));
        Told {
            trace_id: self.trace.trace_id().to_vec(),
            span_id: self.trace.span_id().to_vec(),
            parent_span_id: self.trace.above().map(|above| above.to_vec()).unwrap_or_default(),
            name: self.name.into_owned(),
            kind: kind(self.kind).into(),
            start_time_unix_nano: nanoseconds(began),
            end_time_unix_nano: nanoseconds(began + self.took),
            attributes: attributes.collect(),
            status: self
                .failed
                .map(|why| Status { message: why.into_owned(), code: StatusCode::Error.into() }),
            // Sampled (the W3C flag).
            flags: 1,
            ..Told::default()
        }
    }
}

/// A fact as a collector is told it.
pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Whole(number) => any_value::Value::IntValue(number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Consumer => SpanKind::Consumer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_told_ids_as_bytes_and_times_in_nanoseconds() {
        let trace = Trace::of(Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        let span = Span {
            trace,
            name: "GET api".into(),
            kind: Kind::Server,
            began: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
            took: Duration::from_millis(2),
            attributes: vec![("http.response.status_code", 503_u16.into()), ("http.route", "api".into())],
            failed: Some("no_backend".into()),
        };
        let told = span.told();
        assert_eq!(told.trace_id, trace.trace_id());
        assert_eq!(told.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!((told.start_time_unix_nano, told.end_time_unix_nano), (5_000_000_000, 5_002_000_000));
        assert_eq!(told.status.map(|status| (status.code, status.message)), Some((2, "no_backend".into())));
        assert_eq!(told.attributes.len(), 2);
    }

    #[test]
    fn a_long_text_is_cut() {
        let Value::Text(text) = Value::from("ü".repeat(5000).as_str()) else { panic!("a text") };
        assert_eq!(text.chars().count(), LONGEST);
    }
}
