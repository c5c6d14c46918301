//! Writes the heads that leave: a request to a backend, an answer to a client, an answer of our own.

use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use cirque_shared::trace::Trace;

use super::answer::{self, Answer};
use super::download::Shown;
use super::head::{BodyLength, Request};
use super::lines::{Line, Name, lines, name};
use crate::compress::{self, Changed, Plan};
use crate::headers::Forwarded;
use crate::headers::rules::Edit;
use crate::respond::{self, title};

/// What a backend is told about the client, as field lines; for most clients the same for a whole connection.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) is_trusted: bool,
    pub(crate) client: IpAddr,
    pub(crate) proto: &'static str,
    lines: Box<str>,
    /// Where the addresses of X-Forwarded-For stand in the lines.
    chain: Range<usize>,
}

impl Told {
    pub(crate) fn new(told: &Forwarded) -> Self {
        let Forwarded { client, chain, proto, is_trusted } = told;
        let before = format!("X-Real-IP: {client}\r\nX-Forwarded-For: ");
        let lines = format!("{before}{chain}\r\nX-Forwarded-Proto: {proto}\r\n");
        Self {
            is_trusted: *is_trusted,
            client: *client,
            proto,
            lines: lines.into_boxed_str(),
            chain: before.len()..before.len() + chain.len(),
        }
    }

    /// What X-Forwarded-For says.
    pub(crate) fn chain(&self) -> &str {
        &self.lines[self.chain.clone()]
    }
}

/// What changes in a request's head on its way to a backend, beyond what always does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Onward<'a> {
    pub(crate) told: &'a Told,
    pub(crate) id: &'a str,
    /// What a client that names no host asks for: the backend's own name.
    pub(crate) host: &'a str,
    /// The trace, where the edge takes part in one.
    pub(crate) trace: Option<&'a Trace>,
    /// The target, where the route changes it.
    pub(crate) target: Option<&'a [u8]>,
    /// The route's header rules, where it has any.
    pub(crate) edit: Option<Edit<'a>>,
}

/// Appends the head of `request` (read from `bytes`) as a backend gets it.
///
/// Fields keep their order, case and bytes, but for those that concern one connection only, those that speak
/// for the client, and the framing, which is written anew.
pub(crate) fn request(request: &Request, bytes: &[u8], onward: &Onward<'_>, out: &mut Vec<u8>) {
    let Onward { told, id, host, trace, target, edit } = onward;
    let stays = |name: &[u8]| edit.is_none_or(|edit| edit.keeps(name));
    out.extend_from_slice(&bytes[request.method.clone()]);
    out.push(b' ');
    out.extend_from_slice(target.unwrap_or(&bytes[request.target.clone()]));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let fields = &bytes[request.fields..request.len];
    if (request.is_absolute || request.host.is_empty()) && stays(b"Host") {
        // HTTP/1.1 backends must get one; a 1.0 client without is given the backend's own name, as nginx does.
        let named = if request.host.is_empty() { host.as_bytes() } else { &bytes[request.host.clone()] };
        field(out, b"Host", named);
    }
    for line in lines(fields) {
        let keep = match name(line.name) {
            Name::Host => !request.is_absolute,
            Name::Other | Name::Hsts => !request.has_nominated || !is_nominated(fields, line.name),
            Name::Expect => request.expects_continue,
            Name::TraceParent => trace.is_none(),
            Name::TraceState => trace.is_none_or(|trace| trace.is_continued),
            Name::Forwarding => told.is_trusted,
            Name::Connection
            | Name::ContentLength
            | Name::HopByHop
            | Name::ForwardedFor
            | Name::ForwardedProto
            | Name::RealIp
            | Name::RequestId
            | Name::TransferEncoding
            | Name::Upgrade
            | Name::Ambiguous => false,
        };
        if keep && stays(line.name) {
            out.extend_from_slice(line.whole);
        }
    }
    match request.body {
        BodyLength::Known(length) => number(out, "Content-Length", length),
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // A POST without a body says so; others have none by their nature.
        BodyLength::None if matches!(&bytes[request.method.clone()], b"POST" | b"PUT" | b"PATCH") => {
            number(out, "Content-Length", 0);
        }
        BodyLength::None => {}
    }
    if let Some(upgrade) = &request.upgrade {
        field(out, b"Connection", b"upgrade");
        field(out, b"Upgrade", &bytes[upgrade.clone()]);
    }
    if let Some(trace) = trace.filter(|_| stays(b"traceparent")) {
        field(out, b"traceparent", trace.parent().as_bytes());
    }
    match edit {
        None => {
            out.extend_from_slice(told.lines.as_bytes());
            field(out, b"X-Request-ID", id.as_bytes());
        }
        Some(edit) => {
            for line in lines(told.lines.as_bytes()).filter(|line| edit.keeps(line.name)) {
                out.extend_from_slice(line.whole);
            }
            if edit.keeps(b"X-Request-ID") {
                field(out, b"X-Request-ID", id.as_bytes());
            }
            edit.append(out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What the client's connection will do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    /// As `KeepAlive`, said aloud: HTTP/1.0.
    KeepAliveSaid,
    Close,
    /// It becomes a tunnel for this protocol.
    Tunnel,
}

/// What changes in an answer's head on its way to a client, beyond what always does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes<'a> {
    pub(crate) id: &'a str,
    /// Whether it is compressed.
    pub(crate) plan: Plan,
    /// The route's header rules, where it has any.
    pub(crate) edit: Option<Edit<'a>>,
    /// Our Strict-Transport-Security; empty: none.
    pub(crate) hsts: &'a str,
}

/// Appends the head of a backend's answer (read from `bytes`) as the client gets it.
pub(crate) fn answer(
    answer: &Answer,
    bytes: &[u8],
    (shown, then): (Shown, Then),
    changes: &Changes<'_>,
    out: &mut Vec<u8>,
) {
    let Changes { id, plan, edit, hsts } = changes;
    let stays = |name: &[u8]| edit.is_none_or(|edit| edit.keeps(name));
    let (coding, mut varies) = (plan.coding(), *plan == Plan::AsIs);
    status_line(answer, bytes, out);
    let fields = &bytes[answer.fields..answer.len];
    for line in lines(fields) {
        let keep = match name(line.name) {
            Name::Connection | Name::ContentLength | Name::TransferEncoding | Name::RequestId => false,
            Name::HopByHop => line.name.eq_ignore_ascii_case(b"trailer") && shown == Shown::AsIs,
            Name::Upgrade => then == Then::Tunnel || answer.status == 426,
            Name::Hsts if !hsts.is_empty() => false,
            _ => !answer.has_nominated || !is_nominated(fields, line.name),
        };
        if !keep || !stays(line.name) {
            continue;
        }
        varies |= line.name.eq_ignore_ascii_case(b"vary") && compress::varies(line.value);
        match coding.and_then(|_| compress::changed(line.name, line.value)) {
            None => out.extend_from_slice(line.whole),
            Some(Changed::Gone) => {}
            Some(Changed::Weak) => field(out, line.name, &[b"W/", line.value].concat()),
        }
    }
    if let Some(coding) = coding {
        field(out, b"Content-Encoding", coding.name().as_bytes());
    }
    if !varies {
        field(out, b"Vary", b"Accept-Encoding");
    }
    if stays(b"X-Request-ID") {
        field(out, b"X-Request-ID", id.as_bytes());
    }
    if !hsts.is_empty() {
        field(out, b"Strict-Transport-Security", hsts.as_bytes());
    }
    if let Some(edit) = edit {
        edit.append(out);
    }
    match (shown, answer.body, answer.announced) {
        (Shown::Chunked, ..) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Shown::UntilClose, ..) => {}
        // How long a compressed answer would be is not known beforehand (HEAD).
        (Shown::AsIs, answer::BodyLength::None, _) if coding.is_some() => {}
        (Shown::AsIs, answer::BodyLength::Known(length), _) => number(out, "Content-Length", length),
        // HEAD and 304 may say how long the body would be; 1xx and 204 must not.
        (Shown::AsIs, _, Some(length)) if answer.status >= 200 && answer.status != 204 => {
            number(out, "Content-Length", length);
        }
        (Shown::AsIs, ..) => {}
    }
    match then {
        Then::KeepAlive => {}
        Then::KeepAliveSaid => field(out, b"Connection", b"keep-alive"),
        Then::Close => field(out, b"Connection", b"close"),
        Then::Tunnel => field(out, b"Connection", b"upgrade"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim answer (100, 103) as it is, but for what concerns one connection only.
pub(crate) fn interim(answer: &Answer, bytes: &[u8], out: &mut Vec<u8>) {
    status_line(answer, bytes, out);
    for line in lines(&bytes[answer.fields..answer.len]) {
        if name(line.name) == Name::Other {
            out.extend_from_slice(line.whole);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an answer of our own; `then` is `KeepAlive…` or `Close`.
pub(crate) fn own(
    answer: &respond::Answer,
    id: &str,
    is_to_head: bool,
    then: Then,
    edit: Option<&Edit<'_>>,
    hsts: &str,
    out: &mut Vec<u8>,
) {
    let stays = |name: &str| edit.is_none_or(|edit| edit.keeps(name.as_bytes()));
    // Writing to memory cannot fail.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status, title(answer.status));
    if !answer.content_type.is_empty() {
        if stays("Content-Type") {
            field(out, b"Content-Type", answer.content_type.as_bytes());
        }
        number(out, "Content-Length", answer.body.len() as u64);
    }
    for (name, value) in answer.fields.iter().filter(|(name, _)| stays(name)) {
        field(out, name.as_bytes(), value.as_bytes());
    }
    if stays("X-Request-ID") {
        field(out, b"X-Request-ID", id.as_bytes());
    }
    if !hsts.is_empty() {
        field(out, b"Strict-Transport-Security", hsts.as_bytes());
    }
    if let Some(edit) = edit {
        edit.append(out);
    }
    match then {
        Then::KeepAlive | Then::Tunnel => {}
        Then::KeepAliveSaid => field(out, b"Connection", b"keep-alive"),
        Then::Close => field(out, b"Connection", b"close"),
    }
    out.extend_from_slice(b"\r\n");
    if !is_to_head {
        out.extend_from_slice(&answer.body);
    }
}

/// The backend's status and reason, under our version.
fn status_line(answer: &Answer, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let rest = &bytes[b"HTTP/1.1 ".len()..answer.fields];
    // The space before a reason belongs there even when there is no reason (RFC 9112 §4).
    let (code, reason) = rest.split_at(rest.len().min(3));
    out.extend_from_slice(code);
    if !reason.starts_with(b" ") {
        out.push(b' ');
    }
    out.extend_from_slice(reason);
}

/// Whether a Connection field names this one, so that it must not travel further (RFC 9110 §7.6.1).
fn is_nominated(fields: &[u8], name_asked: &[u8]) -> bool {
    let connections = lines(fields).filter(|line| name(line.name) == Name::Connection);
    connections
        .flat_map(|line: Line<'_>| line.value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name_asked))
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, name: &str, number: u64) {
    let mut digits = itoa::Buffer::new();
    field(out, name.as_bytes(), digits.format(number).as_bytes());
}

#[cfg(test)]
mod tests;
