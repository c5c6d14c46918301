//! Reads one message by the letter of RFC 9112, and says which rule a bad one breaks.

use std::io::{self, BufRead};

use super::{Framing, Message, read_exactly};
use crate::http::Headers;

const MOST_HEAD: usize = 1024 * 1024;
const MOST_BODY: u64 = 64 * 1024 * 1024;

/// Reads up to and including an empty line, however its lines end; `None` when the stream ends before a first byte.
pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let start = head.len();
        reader.read_until(b'\n', &mut head)?;
        if head.is_empty() {
            return Ok(None);
        }
        if head.len() == start || head.len() > MOST_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if matches!(&head[start..], b"\r\n" | b"\n") {
            return Ok(Some(head));
        }
    }
}

/// What a head says; with a fault when it breaks a rule.
pub(super) fn message(head: &[u8]) -> Message {
    let mut message = Message {
        method: String::new(),
        target: String::new(),
        headers: Headers::new(),
        framing: Framing::None,
        body: Vec::new(),
        has_trailers: false,
        is_complete: false,
        fault: None,
    };
    if let Err(fault) = parse(head, &mut message) {
        message.fault = Some(format!("{fault}: {:?}", String::from_utf8_lossy(head)));
    }
    message
}

fn parse(head: &[u8], message: &mut Message) -> Result<(), &'static str> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let plain = text.replace("\r\n", "");
    if plain.contains(['\r', '\n', '\0']) {
        return Err("a bare CR or LF, or a zero byte");
    }
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else { return Err("a request line of other than three words") };
    if !is_token(method) || target.is_empty() || !target.chars().all(|c| c.is_ascii_graphic()) {
        return Err("an odd method or target");
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err("an odd version");
    }
    (message.method, message.target) = (method.to_owned(), target.to_owned());
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
        if !is_token(name) || value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err("an odd field");
        }
        message.headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    message.framing = framing(message, version)?;
    Ok(())
}

fn framing(message: &Message, version: &str) -> Result<Framing, &'static str> {
    let hosts = message.header_values("host").len();
    if hosts > 1 || (hosts == 0 && version == "HTTP/1.1") {
        return Err("not one Host");
    }
    match (&message.header_values("content-length")[..], &message.header_values("transfer-encoding")[..]) {
        ([], []) => Ok(Framing::None),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "a length beyond 64 bits")
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && version == "HTTP/1.1" => {
            Ok(Framing::Chunked)
        }
        _ => Err("more than one framing, or an odd one"),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Reads the body that the head announced; a broken chunk is a fault, an early end is an error.
pub(super) fn read_body(reader: &mut impl BufRead, message: &mut Message) -> io::Result<()> {
    match message.framing {
        Framing::None => Ok(()),
        Framing::Length(length) => read_exactly(reader, length.min(MOST_BODY), &mut message.body),
        Framing::Chunked => loop {
            let line = read_line(reader)?;
            let size = line.strip_suffix(b"\r\n").and_then(|line| line.split(|byte| *byte == b';').next());
            let digits = size.filter(|size| !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit));
            let size = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(size) = size.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else {
                message.fault = Some(format!("a chunk size of {:?}", String::from_utf8_lossy(&line)));
                return Ok(());
            };
            if size == 0 {
                return read_trailers(reader, message);
            }
            read_exactly(reader, size.min(MOST_BODY), &mut message.body)?;
            let mut end = Vec::new();
            read_exactly(reader, 2, &mut end)?;
            if end != b"\r\n" {
                message.fault = Some(format!("a chunk that ends in {end:?}"));
                return Ok(());
            }
        },
    }
}

fn read_trailers(reader: &mut impl BufRead, message: &mut Message) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        if !line.ends_with(b"\r\n") {
            message.fault = Some("a trailer line that ends in LF".to_owned());
        }
        if line.len() <= 2 {
            return Ok(());
        }
        message.has_trailers = true;
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
