//! Decides what an HTTP/2 client sends, frame by frame, also what no library would send.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The first bytes of a connection (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// RFC 9113 §7.
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload
            .get(at..at + 4)
            .map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    /// Whether a HEADERS frame begins with `:status: 200`, as an index of HPACK's static table.
    pub fn is_200(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// A connection on which only what the test says is sent; SETTINGS and PING are not answered by themselves.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
}

impl Frames {
    /// Connects and sends the preface with empty settings.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Frames {
        let mut frames = Frames::connect(address);
        frames.write(PREFACE).expect("a new connection takes a few bytes");
        frames.send(SETTINGS, 0, 0, &[]).expect("a new connection takes a few bytes");
        frames.send(SETTINGS, ACK, 0, &[]).expect("a new connection takes a few bytes");
        frames
    }

    /// Only connects.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Frames {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("the edge listens");
        stream.set_nodelay(true).expect("a connected socket takes it");
        let frames = Frames { stream };
        frames.set_timeout(Duration::from_secs(10));
        frames
    }

    pub fn set_timeout(&self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout above zero is accepted");
        self.stream.set_write_timeout(Some(timeout)).expect("a timeout above zero is accepted");
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(kind, flags, stream, payload))
    }

    /// Sends a request without a body.
    pub fn get(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", path, &[]))
    }

    /// The next frame; an error when the connection ended or nothing came in time.
    pub fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until a frame is wanted.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let mut seen = Vec::new();
        loop {
            match self.read() {
                Ok(frame) if wanted(&frame) => return frame,
                Ok(frame) => seen.push(frame),
                Err(error) => panic!("{what} did not come ({error}); there were {seen:?}"),
            }
        }
    }

    /// The body of the answer on a stream, which must be 200 and end.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> Vec<u8> {
        let head = self
            .until("the head of an answer", |frame| frame.stream == stream && frame.kind != WINDOW_UPDATE);
        assert!(head.is_200(), "{head:?}");
        let mut body = Vec::new();
        let mut last = head;
        while !last.ends_stream() {
            last = self
                .until("more of an answer", |frame| frame.stream == stream && frame.kind != WINDOW_UPDATE);
            assert!(matches!(last.kind, DATA | HEADERS), "{last:?}");
            if last.kind == DATA {
                body.extend_from_slice(&last.payload);
            }
        }
        body
    }

    /// Reads to the end of the connection; all that came.
    pub fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.read() {
                Ok(frame) => frames.push(frame),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the connection was not closed; it sent {frames:?}")
                }
                Err(_) => return frames,
            }
        }
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload fits a frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A request's fields in HPACK, none indexed.
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "site.test"), (":path", path)];
    pseudo.iter().chain(fields).flat_map(|(name, value)| literal(name, value)).collect()
}

/// One field: literal, without indexing, without Huffman coding (RFC 7541 §6.2.2).
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(text.len(), &mut bytes);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// An integer with a prefix of 7 bits (RFC 7541 §5.1).
fn length(mut value: usize, bytes: &mut Vec<u8>) {
    if value < 127 {
        return bytes.push(u8::try_from(value).expect("below 127"));
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128 + 128).expect("below 256"));
        value /= 128;
    }
    bytes.push(u8::try_from(value).expect("below 128"));
}
