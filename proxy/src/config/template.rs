//! Decides how a text with placeholders is written in a file, and what a request makes of it.
//!
//! Whatever a client sends, a filled-in text is one line of printable ASCII: every other byte is left out or
//! percent-encoded, so that no placeholder can end a field or begin another one.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `http` or `https`, as the client asked.
    Scheme,
    /// The name in the Host header, without its port.
    Host,
    /// The Host header as it came.
    HostPort,
    /// The path, as it came.
    Path,
    /// The query with its question mark, or nothing.
    Query,
    /// Path and query.
    Uri,
    /// What the `*` of the matching path stood for.
    Rest,
    /// The method.
    Method,
    /// The client's address.
    Client,
    /// The chain of addresses that X-Forwarded-For holds.
    ForwardedFor,
    /// The request's id.
    RequestId,
    /// The route's name.
    Route,
}

/// Every placeholder, with nginx's name for it.
pub const VARIABLES: [(&str, Variable, &str); 12] = [
    ("scheme", Variable::Scheme, "$scheme"),
    ("host", Variable::Host, "$host"),
    ("host_port", Variable::HostPort, "$http_host"),
    ("path", Variable::Path, "$uri"),
    ("query", Variable::Query, "$is_args$args"),
    ("uri", Variable::Uri, "$request_uri"),
    ("rest", Variable::Rest, "$1"),
    ("method", Variable::Method, "$request_method"),
    ("client", Variable::Client, "$remote_addr"),
    ("forwarded_for", Variable::ForwardedFor, "$proxy_add_x_forwarded_for"),
    ("request_id", Variable::RequestId, "$request_id"),
    ("route", Variable::Route, ""),
];

/// A text with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Value(Variable),
}

/// What is known of a request, as far as placeholders ask for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) scheme: &'static str,
    /// The Host header; may be empty.
    pub(crate) host: &'a [u8],
    pub(crate) path: &'a [u8],
    /// With its question mark, or empty.
    pub(crate) query: &'a [u8],
    /// What the `*` of the route's path stood for.
    pub(crate) rest: &'a [u8],
    pub(crate) method: &'a [u8],
    pub(crate) client: IpAddr,
    pub(crate) forwarded_for: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) route: &'a str,
}

impl Template {
    /// Reads a text; `{name}` is a placeholder, `{{` and `}}` are braces.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(odd) = text.chars().find(|c| !matches!(c, ' '..='~')) {
            return Err(format!("must be printable ASCII, got {odd:?} in {text:?}"));
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!(
                    "has a brace without its other half; write {{{{ or }}}} for one: {text:?}"
                ));
            };
            let Some((_, variable, _)) = VARIABLES.iter().find(|(known, ..)| *known == name) else {
                let known: Vec<&str> = VARIABLES.iter().map(|(name, ..)| *name).collect();
                return Err(format!("has no placeholder {{{name}}}; there are: {}", known.join(", ")));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Value(*variable));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { parts })
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The text before the first placeholder, and that placeholder.
    pub(crate) fn start(&self) -> (&str, Option<Variable>) {
        match &self.parts[..] {
            [Part::Text(text), Part::Value(variable), ..] => (text, Some(*variable)),
            [Part::Text(text)] => (text, None),
            [Part::Value(variable), ..] => ("", Some(*variable)),
            _ => ("", None),
        }
    }

    /// Appends the text as this request makes it.
    pub(crate) fn fill(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(variable) => variable.fill(facts, out),
            }
        }
    }
}

impl Variable {
    fn fill(self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        // OPTIONS * has no path; its root is the nearest thing to it.
        let path = if facts.path == b"*" { b"/" } else { facts.path };
        match self {
            Self::Scheme => out.extend_from_slice(facts.scheme.as_bytes()),
            Self::Host => printable(name_of(facts.host), out),
            Self::HostPort => printable(facts.host, out),
            Self::Path => encoded(path, out),
            Self::Query => encoded(facts.query, out),
            Self::Uri => {
                encoded(path, out);
                encoded(facts.query, out);
            }
            Self::Rest => encoded(facts.rest, out),
            Self::Method => printable(facts.method, out),
            // Writing to memory cannot fail.
            Self::Client => drop(write!(out, "{}", facts.client)),
            Self::ForwardedFor => printable(facts.forwarded_for.as_bytes(), out),
            Self::RequestId => printable(facts.request_id.as_bytes(), out),
            Self::Route => out.extend_from_slice(facts.route.as_bytes()),
        }
    }
}

/// A Host header without its port.
fn name_of(host: &[u8]) -> &[u8] {
    let end = if host.starts_with(b"[") {
        memchr::memchr(b']', host).map(|at| at + 1)
    } else {
        memchr::memchr(b':', host)
    };
    &host[..end.unwrap_or(host.len())]
}

/// Appends what is printable.
fn printable(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value.iter().filter(|byte| matches!(byte, b' '..=b'~')));
}

/// Appends a part of a target; what has no place in one is percent-encoded.
fn encoded(value: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Value(variable) => {
                    let name = VARIABLES.iter().find(|(_, known, _)| known == variable);
                    write!(f, "{{{}}}", name.map_or("", |(name, ..)| name))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Facts<'static> {
    /// A request like any other.
    pub(crate) fn example() -> Self {
        Self {
            scheme: "http",
            host: b"api.example.com:8080",
            path: b"/old/a",
            query: b"?x=1",
            rest: b"a",
            method: b"GET",
            client: IpAddr::from([192, 0, 2, 1]),
            forwarded_for: "192.0.2.1",
            request_id: "abc",
            route: "api",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str, facts: &Facts<'_>) -> String {
        let mut out = Vec::new();
        Template::parse(text).unwrap().fill(facts, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_placeholder_stands_for_what_it_says() {
        for (text, expected) in [
            ("plain", "plain"),
            ("{{{host}}}", "{api.example.com}"),
            ("https://{host}{uri}", "https://api.example.com/old/a?x=1"),
            ("{scheme} {host_port} {path} {query} {rest}", "http api.example.com:8080 /old/a ?x=1 a"),
            ("{method} {client} {forwarded_for}", "GET 192.0.2.1 192.0.2.1"),
            ("{request_id} {route}", "abc api"),
        ] {
            assert_eq!(filled(text, &Facts::example()), expected, "{text}");
        }
        let all: String = VARIABLES.iter().map(|(name, ..)| format!("{{{name}}}")).collect();
        assert_eq!(Template::parse(&all).unwrap().to_string(), all);
    }

    #[test]
    fn a_text_that_cannot_be_meant_is_refused() {
        for text in ["{hots}", "{", "a}b", "{host", "tab\there", "\r\n", "caf\u{e9}"] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_request_makes_more_than_one_line_of_a_text(
            host in prop::collection::vec(any::<u8>(), 0..20),
            path in prop::collection::vec(any::<u8>(), 0..20),
            query in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let facts =
                Facts { host: &host, path: &path, query: &query, rest: &path, method: &host, ..Facts::example() };
            for (name, ..) in VARIABLES {
                let text = filled(&format!("{{{name}}}"), &facts);
                prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}: {:?}", name, text);
            }
        }
    }
}
