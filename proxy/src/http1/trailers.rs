//! Decides which fields after a chunked body are passed on: those that the route lists, if they are well formed.

use std::sync::Arc;

use super::head::MOST_FIELDS;
use super::lines::{Name, name};
use crate::compress;

/// Bytes of trailers that are kept; of more than these none is passed on.
const MOST_BYTES: usize = 8 * 1024;

/// The trailers of one body, as far as anyone wants them.
#[derive(Debug)]
pub(super) struct Trailers {
    listed: Arc<[String]>,
    lines: Vec<u8>,
    is_too_much: bool,
    /// Whether the bytes before them are others than the backend's.
    is_changed: bool,
}

impl Trailers {
    /// A place for the trailers of a route that lists these; `None` where it lists none.
    pub(super) fn wanted(listed: &Arc<[String]>) -> Option<Self> {
        (!listed.is_empty()).then(|| Self {
            listed: Arc::clone(listed),
            lines: Vec::new(),
            is_too_much: false,
            is_changed: false,
        })
    }

    /// The content is compressed on its way: a trailer that speaks of its bytes would be wrong.
    pub(super) fn content_changes(&mut self) {
        self.is_changed = true;
    }

    /// Takes one byte of the lines.
    pub(super) fn take(&mut self, byte: u8) {
        if self.lines.len() < MOST_BYTES {
            self.lines.push(byte);
        } else {
            self.is_too_much = true;
        }
    }

    /// Appends the lines that are passed on.
    fn append(&self, out: &mut Vec<u8>) {
        if self.is_too_much || self.lines.is_empty() {
            return;
        }
        let section = [&self.lines[..], b"\r\n"].concat();
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&section, &mut fields)
        else {
            return;
        };
        let is_listed = |field: &str| self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(field));
        for field in fields.iter().filter(|field| is_listed(field.name)) {
            if self.is_changed && compress::fixes(field.name.as_bytes(), field.value) {
                continue;
            }
            // What frames a message or speaks for a client is no trailer, whoever lists it.
            if name(field.name.as_bytes()) == Name::Other {
                out.extend_from_slice(field.name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(field.value);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Appends the end of a chunked body, with its trailers.
pub(super) fn end(trailers: Option<&Trailers>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.append(out);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(listed: &[&str], lines: &str) -> String {
        let listed: Arc<[String]> = listed.iter().map(|name| (*name).to_owned()).collect();
        let mut trailers = Trailers::wanted(&listed);
        if let Some(trailers) = &mut trailers {
            lines.bytes().for_each(|byte| trailers.take(byte));
        }
        let mut out = Vec::new();
        end(trailers.as_ref(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_listed_and_well_formed_trailers_are_passed_on() {
        for (listed, lines, expected) in [
            (
                &["server-timing"][..],
                "Server-Timing: db;dur=5\r\nX-Other: 1\r\n",
                "Server-Timing: db;dur=5\r\n",
            ),
            (&[], "Server-Timing: x\r\n", ""),
            (&["digest"], "", ""),
            (&["digest"], "Digest : x\r\n", ""),
            (&["digest"], "Digest\r\n", ""),
            (
                &["content-length", "x-real-ip", "a_b"],
                "Content-Length: 5\r\nX-Real-IP: 1.2.3.4\r\na_b: 1\r\n",
                "",
            ),
        ] {
            assert_eq!(ended(listed, lines), format!("0\r\n{expected}\r\n"), "{listed:?} {lines:?}");
        }
    }

    #[test]
    fn too_many_are_none() {
        assert_eq!(ended(&["a"], &"a: b\r\n".repeat(2000)), "0\r\n\r\n");
    }
}
