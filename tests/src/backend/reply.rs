//! Describes one scripted answer: what is sent, at what pace, and how it ends.

use std::time::Duration;

use crate::http::Headers;

/// What happens instead of, or after, the bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The whole answer is sent and the connection kept.
    Complete,
    /// The connection is closed after this many body bytes.
    CutAfter(usize),
    /// Nothing more is sent after this many body bytes; the connection stays open.
    StallAfter(usize),
    /// No byte of an answer is sent; the connection stays open.
    Silence,
    /// No byte of an answer is sent; the connection is closed.
    Close,
    /// The body of the reply alone is sent, and the connection closed.
    Garbage,
    /// Not even the body of the request is read; the connection stays open.
    Deaf,
    /// The body of the reply alone is sent, and the connection kept for the next request.
    Raw,
    /// The protocol is switched: every byte that comes is sent back until the other side ends.
    Tunnel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Counted,
    Chunked,
    UntilClose,
}

/// One answer of a scripted backend.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) delay: Duration,
    pub(super) pace: Option<(usize, Duration)>,
    pub(super) end: End,
    pub(super) is_early: bool,
    pub(super) is_last: bool,
    pub(super) is_echo: bool,
    pub(super) interim: Vec<u8>,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status: 200,
            headers: Headers::new(),
            body: body.into(),
            framing: Framing::Counted,
            delay: Duration::ZERO,
            pace: None,
            end: End::Complete,
            is_early: false,
            is_last: false,
            is_echo: false,
            interim: Vec::new(),
        }
    }

    pub fn status(status: u16) -> Reply {
        Reply { status, ..Reply::ok(format!("status {status}")) }
    }

    /// With another body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    /// Reads the request and never answers.
    pub fn stall() -> Reply {
        Reply { end: End::Silence, ..Reply::ok("") }
    }

    /// Reads the head of the request and not one byte of its body, and never answers.
    pub fn deaf() -> Reply {
        Reply { end: End::Deaf, is_early: true, ..Reply::ok("") }
    }

    /// Reads the request and closes without an answer.
    pub fn close() -> Reply {
        Reply { end: End::Close, ..Reply::ok("") }
    }

    /// Sends these bytes instead of an answer and closes.
    pub fn garbage(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply { end: End::Garbage, ..Reply::ok(bytes) }
    }

    /// Sends these bytes instead of an answer and waits for the next request.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply { end: End::Raw, ..Reply::ok(bytes) }
    }

    /// Switches to this protocol and sends every byte back.
    pub fn tunnel(protocol: &str) -> Reply {
        let reply = Reply { end: End::Tunnel, ..Reply::status(101) };
        reply.header("Upgrade", protocol).header("Connection", "upgrade")
    }

    /// Answers with the body of the request.
    pub fn echo() -> Reply {
        Reply { is_echo: true, ..Reply::ok("") }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the first byte of the answer.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }

    /// Sends these bytes, an interim answer or several, before the head.
    #[must_use]
    pub fn interim(mut self, bytes: &str) -> Reply {
        self.interim = bytes.as_bytes().to_vec();
        self
    }

    #[must_use]
    pub fn chunked(mut self) -> Reply {
        self.framing = Framing::Chunked;
        self
    }

    /// No framing: the body ends with the connection.
    #[must_use]
    pub fn until_close(mut self) -> Reply {
        self.framing = Framing::UntilClose;
        self
    }

    /// Sends the body in pieces of `bytes`, one every `every`.
    #[must_use]
    pub fn drip(mut self, bytes: usize, every: Duration) -> Reply {
        self.pace = Some((bytes.max(1), every));
        self
    }

    /// Closes the connection after this many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Reply {
        self.end = End::CutAfter(bytes);
        self
    }

    /// Sends the head and this many bytes of the body, then nothing more.
    #[must_use]
    pub fn stall_after(mut self, bytes: usize) -> Reply {
        self.end = End::StallAfter(bytes);
        self
    }

    /// Answers as soon as the head of the request is there, without reading its body first.
    #[must_use]
    pub fn early(mut self) -> Reply {
        self.is_early = true;
        self
    }

    /// Says `Connection: close` and closes afterwards.
    #[must_use]
    pub fn last(mut self) -> Reply {
        self.is_last = true;
        self
    }
}
