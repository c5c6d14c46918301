//! Records every message that reaches a backend, read as strictly as RFC 9112 allows; what it cannot read is a fault.
//!
//! The scripted [`crate::Backend`] reads leniently, as many servers do. This one is the witness that a proxy forwards
//! nothing that could be read in two ways.

mod strict;

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ports;
use crate::sync::lock;

/// Connections that say nothing for so long are given up, so that no thread outlives a test by more.
const IDLE_AT_MOST: Duration = Duration::from_secs(60);

/// How a message said where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// One message as it arrived.
#[derive(Debug, Clone)]
pub struct Message {
    pub method: String,
    pub target: String,
    pub headers: crate::http::Headers,
    pub framing: Framing,
    pub body: Vec<u8>,
    /// Whether fields followed its last chunk.
    pub has_trailers: bool,
    /// Whether all of it arrived.
    pub is_complete: bool,
    /// Which rule it breaks; the connection ended with it.
    pub fault: Option<String>,
}

impl Message {
    /// All values of a header, in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether it asks to continue in another protocol.
    pub fn wants_upgrade(&self) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"))
    }
}

#[derive(Default)]
struct Shared {
    messages: Mutex<Vec<Message>>,
    open: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A backend on loopback that answers every message it can read with `200` and `X-Recorder: saw`.
pub struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
}

impl Recorder {
    pub fn start() -> Recorder {
        let address = ports::address();
        let listener = Arc::new(TcpListener::bind(address).expect("the port was free a moment ago"));
        let shared = Arc::<Shared>::default();
        let acceptor = {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            std::thread::spawn(move || accept_all(&listener, &shared))
        };
        Recorder { address, shared, listener, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything so far, in order of arrival.
    pub fn messages(&self) -> Vec<Message> {
        self.since(0)
    }

    /// What came after the first `n`.
    pub fn since(&self, n: usize) -> Vec<Message> {
        lock(&self.shared.messages).iter().skip(n).cloned().collect()
    }

    /// How many so far.
    pub fn count(&self) -> usize {
        lock(&self.shared.messages).len()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads: Vec<_> = lock(&self.shared.threads).drain(..).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let Ok(kept) = stream.try_clone() else { continue };
        let _ = (stream.set_nodelay(true), stream.set_read_timeout(Some(IDLE_AT_MOST)));
        lock(&shared.open).push(kept);
        let own = Arc::clone(shared);
        let thread = std::thread::spawn(move || {
            // A connection that breaks is what some tests are about; what was read of it is recorded.
            let _ = serve(&stream, &own);
            let _ = stream.shutdown(Shutdown::Both);
        });
        let mut threads = lock(&shared.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(head) = strict::read_head(&mut reader)? {
        let mut message = strict::message(&head);
        let place = {
            let mut messages = lock(&shared.messages);
            messages.push(message.clone());
            messages.len() - 1
        };
        if message.fault.is_none() {
            let read = strict::read_body(&mut reader, &mut message);
            message.is_complete = read.is_ok() && message.fault.is_none();
            lock(&shared.messages)[place] = message.clone();
            read?;
        }
        if message.fault.is_some() {
            return writer.write_all(b"HTTP/1.1 400 Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        let body: &[u8] = if message.method == "HEAD" { b"" } else { b"ok" };
        writer.write_all(b"HTTP/1.1 200 OK\r\nX-Recorder: saw\r\nContent-Length: 2\r\n\r\n")?;
        writer.write_all(body)?;
    }
    Ok(())
}

/// Reads exactly this many bytes onto the end of `into`.
fn read_exactly(reader: &mut impl Read, bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.take(bytes).read_to_end(into)?;
    if read as u64 == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Connection;

    fn recorded(bytes: &str) -> (u16, Vec<Message>) {
        let recorder = Recorder::start();
        let mut connection = Connection::open(recorder.address());
        connection.write(bytes).unwrap();
        (connection.read_response("GET").unwrap().status, recorder.messages())
    }

    #[test]
    fn a_plain_message_is_recorded_and_answered() {
        let bytes =
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let (status, messages) = recorded(bytes);
        assert_eq!((status, messages.len()), (200, 1));
        assert!(messages[0].is_complete && messages[0].fault.is_none(), "{messages:?}");
        assert_eq!((&messages[0].body[..], messages[0].framing), (&b"hello"[..], Framing::Chunked));
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_a_fault() {
        for bytes in [
            "GET /x HTTP/1.1\nHost: a\n\r\n",
            "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /x HTTP/1.1\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        ] {
            let (status, messages) = recorded(bytes);
            assert_eq!(status, 400, "{bytes:?}");
            assert!(messages[0].fault.is_some(), "{bytes:?}: {messages:?}");
        }
    }
}
