//! Decides where one HTTP/1.1 message ends on a byte stream; shared by the client and the scripted backend.

use std::io::{self, BufRead, ErrorKind, Read};

const MAX_HEAD_BYTES: usize = 1024 * 1024;
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

pub type Headers = Vec<(String, String)>;

/// The first line and the headers of a message, and the bytes they were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub raw: Vec<u8>,
    pub first_line: String,
    pub headers: Headers,
}

impl Head {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// True when one of the comma-separated elements of the header is `token`.
    pub fn header_has(&self, name: &str, token: &str) -> bool {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }
}

pub fn header<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Reads a head; `None` when the stream ended before its first byte.
pub fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut raw = Vec::new();
    loop {
        let before = raw.len();
        stream.by_ref().take((MAX_HEAD_BYTES - before) as u64).read_until(b'\n', &mut raw)?;
        if raw.is_empty() {
            return Ok(None);
        }
        if raw.len() == before || raw.len() >= MAX_HEAD_BYTES {
            return Err(broken("the stream ended inside a head", &raw));
        }
        if before > 0 && matches!(&raw[before..], b"\r\n" | b"\n") {
            break;
        }
    }
    parse_head(raw).map(Some)
}

fn parse_head(raw: Vec<u8>) -> io::Result<Head> {
    let text = String::from_utf8_lossy(&raw).into_owned();
    let mut lines = text.lines();
    let first_line = lines.next().unwrap_or_default().to_owned();
    let mut headers = Headers::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(broken("a header line without a colon", &raw));
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Head { raw, first_line, headers })
}

/// Reads exactly as many bytes as `Content-Length` says.
pub fn read_counted(stream: &mut impl Read, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if length > MAX_BODY_BYTES as u64 {
        return Err(broken("a body larger than the harness accepts", &[]));
    }
    let read = stream.take(length).read_to_end(body)?;
    if (read as u64) < length {
        return Err(cut(format!("the stream ended after {read} of {length} body bytes")));
    }
    Ok(())
}

/// Reads chunks up to and including the last one and its trailer.
pub fn read_chunked(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size) = u64::from_str_radix(size, 16) else {
            return Err(broken("a chunk size that is no number", line.as_bytes()));
        };
        if size == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(());
        }
        if body.len() as u64 + size > MAX_BODY_BYTES as u64 {
            return Err(broken("a body larger than the harness accepts", &[]));
        }
        read_counted(stream, size, body)?;
        if !read_line(stream)?.is_empty() {
            return Err(broken("a chunk that does not end where it says", &[]));
        }
    }
}

/// Reads until the stream ends.
pub fn read_to_end(stream: &mut impl Read, body: &mut Vec<u8>) -> io::Result<()> {
    stream.take(MAX_BODY_BYTES as u64).read_to_end(body).map(drop)
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.by_ref().take(MAX_HEAD_BYTES as u64).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(cut("the stream ended inside a chunked body".to_owned()));
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn broken(what: &str, bytes: &[u8]) -> io::Error {
    let shown = &bytes[..bytes.len().min(500)];
    io::Error::new(ErrorKind::InvalidData, format!("{what}: {:?}", String::from_utf8_lossy(shown)))
}

fn cut(what: String) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_the_empty_line_and_leaves_the_rest() {
        let mut stream = &b"GET / HTTP/1.1\r\nHost: a\r\nX-Two: 1, Two\r\n\r\nbody"[..];
        let head = read_head(&mut stream).unwrap().unwrap();
        assert_eq!(head.first_line, "GET / HTTP/1.1");
        assert_eq!(head.header("host"), Some("a"));
        assert!(head.header_has("x-two", "two"));
        assert_eq!(stream, b"body");
    }

    #[test]
    fn a_stream_that_ends_inside_a_head_is_an_error_and_an_empty_one_is_none() {
        assert!(read_head(&mut &b""[..]).unwrap().is_none());
        assert!(read_head(&mut &b"HTTP/1.1 200 OK\r\nA: b\r\n"[..]).is_err());
    }

    #[test]
    fn chunks_are_joined_and_a_missing_end_is_noticed() {
        let mut body = Vec::new();
        read_chunked(&mut &b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"[..], &mut body).unwrap();
        assert_eq!(body, b"abcde");
        assert!(read_chunked(&mut &b"3\r\nabc\r\n"[..], &mut Vec::new()).is_err());
        assert!(read_counted(&mut &b"abc"[..], 4, &mut Vec::new()).is_err());
    }
}
