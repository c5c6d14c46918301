//! Reads the head of a backend's answer by the same strict rules as a request's.
//!
//! A broken answer must never reach a client, nor poison the next one.

use std::mem::MaybeUninit;

use super::head::{EndFinder, MOST_FIELDS, decimal};
use super::lines::{Name, name};

/// A backend's answer is not one that can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// How the end of an answer's body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none: HEAD, 204, 304.
    None,
    Known(u64),
    Chunked,
    /// Until the connection is closed.
    UntilClose,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Bytes of the head, its empty line included.
    pub(crate) len: usize,
    pub(crate) status: u16,
    /// Where the fields begin.
    pub(crate) fields: usize,
    pub(crate) body: BodyLength,
    /// The announced length, also where there is no body (HEAD, 304).
    pub(crate) announced: Option<u64>,
    /// Whether the backend keeps the connection open.
    pub(crate) keep_alive: bool,
    /// Whether Connection names fields that must not be forwarded.
    pub(crate) has_nominated: bool,
}

impl Answer {
    /// Whether another head follows (RFC 9110 §15.2); 101 is final.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Finds and reads a head at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn parse(
    bytes: &[u8],
    finder: &mut EndFinder,
    is_to_head: bool,
) -> Result<Option<Answer>, Broken> {
    let Some(len) = finder.find(bytes).map_err(|_| Broken)? else { return Ok(None) };
    let bytes = &bytes[..len];
    if memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n')) {
        return Err(Broken);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(end)) if end == len => {}
        _ => return Err(Broken),
    }
    let (Some(minor), Some(status)) = (parsed.version, parsed.code) else { return Err(Broken) };
    if !(100..600).contains(&status) {
        return Err(Broken);
    }
    let mut seen = Seen::default();
    for field in &*parsed.headers {
        seen.take(field)?;
    }
    if seen.is_chunked && (seen.length.is_some() || minor == 0) {
        return Err(Broken);
    }
    let has_none = is_to_head || status < 200 || matches!(status, 204 | 304);
    let body = match (has_none, seen.is_chunked, seen.length) {
        (true, ..) => BodyLength::None,
        (_, true, _) => BodyLength::Chunked,
        (_, _, Some(length)) => BodyLength::Known(length),
        _ => BodyLength::UntilClose,
    };
    let keep_alive =
        !seen.wants_close && (minor == 1 || seen.wants_keep_alive) && body != BodyLength::UntilClose;
    let line = memchr::memchr(b'\n', bytes).ok_or(Broken)? + 1;
    Ok(Some(Answer {
        len,
        status,
        fields: line,
        body,
        announced: seen.length,
        keep_alive,
        has_nominated: seen.has_nominated,
    }))
}

#[derive(Default)]
struct Seen {
    length: Option<u64>,
    is_chunked: bool,
    wants_close: bool,
    wants_keep_alive: bool,
    has_nominated: bool,
}

impl Seen {
    fn take(&mut self, field: &httparse::Header<'_>) -> Result<(), Broken> {
        match name(field.name.as_bytes()) {
            Name::ContentLength if self.length.is_some() => return Err(Broken),
            Name::ContentLength => self.length = Some(decimal(field.value).ok_or(Broken)?),
            Name::TransferEncoding if self.is_chunked || !field.value.eq_ignore_ascii_case(b"chunked") => {
                return Err(Broken);
            }
            Name::TransferEncoding => self.is_chunked = true,
            Name::Connection => {
                for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.wants_close = true;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        self.wants_keep_alive = true;
                    } else if matches!(name(option), Name::ContentLength | Name::TransferEncoding) {
                        return Err(Broken);
                    } else if !option.is_empty() && !option.eq_ignore_ascii_case(b"upgrade") {
                        self.has_nominated = true;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str, is_to_head: bool) -> Result<Option<Answer>, Broken> {
        parse(head.as_bytes(), &mut EndFinder::default(), is_to_head)
    }

    #[track_caller]
    fn body(head: &str, expected: BodyLength) {
        assert_eq!(read(head, false).unwrap().expect("complete").body, expected, "{head:?}");
    }

    #[test]
    fn the_end_of_a_body_is_known_by_one_rule() {
        body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", BodyLength::Known(5));
        body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BodyLength::Chunked);
        body("HTTP/1.1 200 OK\r\n\r\n", BodyLength::UntilClose);
        body("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", BodyLength::None);
        body("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", BodyLength::None);
        body("HTTP/1.1 100 Continue\r\n\r\n", BodyLength::None);
        let head = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).unwrap().unwrap();
        assert_eq!((head.body, head.announced), (BodyLength::None, Some(5)));
    }

    #[test]
    fn a_connection_is_kept_only_when_its_end_is_clear() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
        ] {
            assert_eq!(read(head, false).unwrap().unwrap().keep_alive, expected, "{head:?}");
        }
    }

    #[test]
    fn answers_that_could_be_read_in_two_ways_are_broken() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
            "HTTP/1.1 99 Odd\r\n\r\n",
            "HTTP/1.1 600 Odd\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            assert_eq!(read(head, false), Err(Broken), "{head:?}");
        }
    }

    #[test]
    fn an_incomplete_head_is_waited_for() {
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Len", false), Ok(None));
    }
}
