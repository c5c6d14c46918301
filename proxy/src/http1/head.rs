//! Reads a request's head: which bytes are acceptable, and what they mean for everything after them.
//!
//! httparse checks tokens; every rule of framing and of what may be forwarded is ours, in [`Rule`].

use std::mem::MaybeUninit;
use std::ops::Range;

use super::lines::{Name, name};
use super::target::{Form, is_host, path_of, target_form};

/// The most header fields that a head is read with; `client.client_max_headers` may allow fewer.
pub(crate) const MOST_FIELDS: usize = 256;

/// Empty lines before a request line that are skipped (RFC 9112 §2.2 asks for at least one).
const MOST_EMPTY_LINES: usize = 2;

/// What a request breaks. The reason is the `rule` field of the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// RFC 9112 §2.2: a line ends in CRLF; a bare LF or CR is read differently by others.
    BareLineEnd,
    /// RFC 9112 §3: method, target and version, one space between them.
    RequestLine,
    /// RFC 9112 §2.3: HTTP/1.0 or HTTP/1.1.
    Version,
    /// RFC 9112 §3.2: origin-form, absolute-form with http(s), or `*` for OPTIONS.
    Target,
    /// RFC 9112 §5: a field is `name: value`; no space before the colon, no folded lines.
    Field,
    /// Bounded here: the number of fields.
    TooManyFields,
    /// Bounded here: the size of a head.
    TooLarge,
    /// Bounded here: the target, or a request line that alone fills the head.
    TargetTooLong,
    /// RFC 9112 §3.2: one Host field in HTTP/1.1, with a valid value.
    Host,
    /// RFC 9112 §3.2.2: the Host field and an absolute-form target name the same host.
    HostConflict,
    /// RFC 9110 §8.6: Content-Length is one decimal number.
    ContentLength,
    /// RFC 9112 §6.1: Content-Length and Transfer-Encoding together are how requests are smuggled.
    LengthAndCoding,
    /// RFC 9112 §6.1: chunked is the one coding understood, once, and not in HTTP/1.0.
    TransferEncoding,
    /// RFC 9110 §7.6.1: Connection names a field that frames the message.
    Connection,
    /// RFC 9110 §10.1.1: 100-continue is the one expectation there is.
    Expectation,
    /// RFC 9110 §9.3.6, §9.3.8: CONNECT is for forward proxies, and TRACE shows a client's secrets to scripts.
    Method,
}

impl Rule {
    /// The value of the `rule` field.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::BareLineEnd => "bare_line_end",
            Self::RequestLine => "request_line",
            Self::Version => "version",
            Self::Target => "target",
            Self::Field => "field",
            Self::TooManyFields => "too_many_fields",
            Self::TooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::Host => "host",
            Self::HostConflict => "host_conflict",
            Self::ContentLength => "content_length",
            Self::LengthAndCoding => "length_and_coding",
            Self::TransferEncoding => "transfer_encoding",
            Self::Connection => "connection",
            Self::Expectation => "expectation",
            Self::Method => "method",
        }
    }
}

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    None,
    /// So many bytes.
    Known(u64),
    /// Until the last chunk.
    Chunked,
}

/// A head that keeps every rule. Ranges point into the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Bytes of the head, its empty line included.
    pub(crate) len: usize,
    pub(crate) method: Range<usize>,
    /// What is forwarded as the target: path and query, or `*`.
    pub(crate) target: Range<usize>,
    /// Where the fields begin.
    pub(crate) fields: usize,
    /// How many there are.
    pub(crate) n_fields: usize,
    /// The host that was asked, empty when unknown (HTTP/1.0).
    pub(crate) host: Range<usize>,
    pub(crate) body: BodyLength,
    pub(crate) is_http10: bool,
    /// Whether the connection may be used again after this request.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub(crate) expects_continue: bool,
    /// The protocol that the client would switch to; never h2c.
    pub(crate) upgrade: Option<Range<usize>>,
    /// Whether Connection names fields that must not be forwarded.
    pub(crate) has_nominated: bool,
    /// Whether the target was in absolute form: Host is written anew then.
    pub(crate) is_absolute: bool,
    /// The target without its query.
    pub(crate) path: Range<usize>,
    /// The X-Request-ID that the client gave, acceptable or not.
    pub(crate) id: Option<Range<usize>>,
    /// Its one `traceparent`; empty when it has several.
    pub(crate) trace_parent: Option<Range<usize>>,
}

impl Request {
    /// Whether the head is within what an operator allows of fields, and of bytes in its target.
    pub(crate) fn within(self, most_fields: usize, most_target: usize) -> Result<Self, Rule> {
        if self.target.len() > most_target {
            Err(Rule::TargetTooLong)
        } else if self.n_fields > most_fields {
            Err(Rule::TooManyFields)
        } else {
            Ok(self)
        }
    }
}

/// Finds the end of a head in bytes that arrive in pieces, without looking at any byte twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndFinder {
    seen: usize,
    line: usize,
}

impl EndFinder {
    /// The length of the head when it is complete, `None` while it is not.
    ///
    /// Refuses line ends that are not CRLF at the first one.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Rule> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]).map(|at| at + self.seen) {
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Rule::BareLineEnd);
            }
            let is_empty_line = at - 1 == self.line;
            (self.seen, self.line) = (at + 1, at + 1);
            if is_empty_line {
                return Ok(Some(at + 1));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// How many bytes of empty lines to skip before a request, after so many that were skipped already.
pub(crate) fn leading_empty_lines(bytes: &[u8], skipped: usize) -> usize {
    let mut skip = 0;
    while skipped + skip < 2 * MOST_EMPTY_LINES && bytes[skip..].starts_with(b"\r\n") {
        skip += 2;
    }
    skip
}

/// What the fields say, collected in one walk.
#[derive(Default)]
struct Seen {
    host: Option<Range<usize>>,
    length: Option<u64>,
    is_chunked: bool,
    expects_continue: bool,
    wants_close: bool,
    wants_keep_alive: bool,
    wants_upgrade: bool,
    has_nominated: bool,
    upgrade: Option<Range<usize>>,
    id: Option<Range<usize>>,
    trace_parent: Option<Range<usize>>,
}

/// Reads a complete head (`bytes` ends with its empty line).
pub(crate) fn parse(bytes: &[u8]) -> Result<Request, Rule> {
    // A carriage return that ends no line is read as a line end by some, and as content by others.
    if memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n')) {
        return Err(Rule::BareLineEnd);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(Rule::Field),
        Err(httparse::Error::TooManyHeaders) => return Err(Rule::TooManyFields),
        Err(httparse::Error::Version) if names_a_version(bytes) => return Err(Rule::Version),
        Err(httparse::Error::Version) => return Err(Rule::RequestLine),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            return Err(Rule::Field);
        }
        Err(httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status) => {
            return Err(Rule::RequestLine);
        }
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Rule::RequestLine);
    };
    let is_http10 = minor == 0;
    let line = method.len() + target.len() + b"  HTTP/1.1\r\n".len();
    // httparse tolerates more than one space; what is left over here is such a space.
    if bytes.get(line - 2..line) != Some(b"\r\n") {
        return Err(Rule::RequestLine);
    }
    let mut seen = Seen::default();
    for field in &*parsed.headers {
        seen.take(field, bytes)?;
    }
    let method_range = 0..method.len();
    let target_range = method.len() + 1..method.len() + 1 + target.len();
    let form = target_form(method, target_range, bytes)?;
    let host = seen.host(&form, bytes, is_http10)?;
    let body = seen.body(is_http10)?;
    if seen.expects_continue && is_http10 {
        // RFC 9110 §10.1.1: a 1.0 client's expectation is ignored.
        seen.expects_continue = false;
    }
    let wants_upgrade = seen.wants_upgrade && !is_http10 && body == BodyLength::None;
    Ok(Request {
        len: bytes.len(),
        method: method_range,
        path: path_of(form.target.clone(), bytes),
        target: form.target,
        fields: line,
        n_fields: parsed.headers.len(),
        host,
        body,
        is_http10,
        keep_alive: !seen.wants_close && (!is_http10 || seen.wants_keep_alive),
        expects_continue: seen.expects_continue && body != BodyLength::None,
        upgrade: seen.upgrade.filter(|_| wants_upgrade).filter(|what| is_tunnel(&bytes[what.clone()])),
        has_nominated: seen.has_nominated,
        is_absolute: form.authority.is_some(),
        id: seen.id,
        trace_parent: seen.trace_parent,
    })
}

/// Whether a request line that was refused for its version has the right form, and names another one.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = &bytes[..memchr::memchr(b'\r', bytes).unwrap_or(bytes.len())];
    let mut words = line.split(|byte| *byte == b' ');
    let version = words.nth(2).unwrap_or_default();
    let digits = version.strip_prefix(b"HTTP/").unwrap_or_default();
    words.next().is_none()
        && matches!(digits, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// Whether a protocol may take over the connection: one named token, and never HTTP/2, whose tunnel would
/// carry requests past every check (h2c smuggling).
fn is_tunnel(protocol: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-./".contains(byte);
    !protocol.is_empty()
        && protocol.iter().all(token)
        && !protocol.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
        && !protocol.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"))
}

impl Seen {
    fn take(&mut self, field: &httparse::Header<'_>, bytes: &[u8]) -> Result<(), Rule> {
        let value = field.value;
        match name(field.name.as_bytes()) {
            Name::Host => {
                if self.host.is_some() || !is_host(value) || is_beside_a_tab(value, bytes) {
                    return Err(Rule::Host);
                }
                self.host = Some(range_in(value, bytes));
            }
            Name::ContentLength => {
                if self.length.is_some() || is_beside_a_tab(value, bytes) {
                    return Err(Rule::ContentLength);
                }
                self.length = Some(decimal(value).ok_or(Rule::ContentLength)?);
            }
            Name::TransferEncoding => {
                let is_known = value.eq_ignore_ascii_case(b"chunked") && !is_beside_a_tab(value, bytes);
                if self.is_chunked || !is_known {
                    return Err(Rule::TransferEncoding);
                }
                self.is_chunked = true;
            }
            Name::Connection => self.take_connection(value)?,
            Name::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Rule::Expectation);
                }
                self.expects_continue = true;
            }
            Name::Upgrade => self.upgrade = Some(range_in(value, bytes)),
            Name::TraceParent if self.trace_parent.is_some() => self.trace_parent = Some(0..0),
            Name::TraceParent => self.trace_parent = Some(range_in(value, bytes)),
            Name::RequestId => self.id = Some(range_in(value, bytes)),
            _ => {}
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) -> Result<(), Rule> {
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                self.wants_close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.wants_keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.wants_upgrade = true;
            } else if matches!(name(option), Name::Host | Name::ContentLength | Name::TransferEncoding) {
                return Err(Rule::Connection);
            } else if !option.is_empty() {
                self.has_nominated = true;
            }
        }
        Ok(())
    }

    fn host(&self, form: &Form, bytes: &[u8], is_http10: bool) -> Result<Range<usize>, Rule> {
        match (&form.authority, &self.host) {
            (Some(authority), Some(host))
                if !bytes[authority.clone()].eq_ignore_ascii_case(&bytes[host.clone()]) =>
            {
                Err(Rule::HostConflict)
            }
            (Some(authority), Some(_)) => Ok(authority.clone()),
            (Some(authority), None) if is_http10 => Ok(authority.clone()),
            (None, Some(host)) => Ok(host.clone()),
            (None, None) if is_http10 => Ok(0..0),
            (_, None) => Err(Rule::Host),
        }
    }

    fn body(&self, is_http10: bool) -> Result<BodyLength, Rule> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Rule::LengthAndCoding),
            (None, true) if is_http10 => Err(Rule::TransferEncoding),
            (None, true) => Ok(BodyLength::Chunked),
            (None | Some(0), false) => Ok(BodyLength::None),
            (Some(length), false) => Ok(BodyLength::Known(length)),
        }
    }
}

/// A decimal number without sign, spaces or overflow.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Whether a tab stands between a value and its colon or line end. RFC 9112 §5.1 allows it; where a message ends
/// and whom it is for must not hang on it, because nginx and others read it differently.
fn is_beside_a_tab(value: &[u8], bytes: &[u8]) -> bool {
    let range = range_in(value, bytes);
    let before = bytes[..range.start].iter().rev().take_while(|byte| **byte != b':');
    let after = bytes[range.end..].iter().take_while(|byte| **byte != b'\r');
    before.chain(after).any(|byte| *byte == b'\t')
}

/// Where `part`, a piece of `whole`, stands in it.
fn range_in(part: &[u8], whole: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

#[cfg(test)]
mod tests;
