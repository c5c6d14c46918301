//! Decides what a client sends, byte by byte if need be, and how its answer is read.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::eventually::eventually;
use crate::http::{self, Head, Headers};

/// No test waits longer than this for one answer unless it says so.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Headers,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Request {
        Request { method: method.to_owned(), target: target.to_owned(), headers: Headers::new(), body: None }
    }

    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::new("POST", target).body(body)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    /// The bytes on the wire. A Host of `localhost` and the framing are added unless given.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if http::header(&self.headers, "host").is_none() {
            text.push_str("Host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let framed = ["content-length", "transfer-encoding"];
        if let Some(body) = &self.body
            && framed.iter().all(|name| http::header(&self.headers, name).is_none())
        {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// One answer, and how long it took from the first byte sent to the last byte read.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    pub elapsed: Duration,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Response {
        assert_eq!(self.status, status, "unexpected status: {self:?}");
        self
    }

    fn closes(&self) -> bool {
        self.head.header_has("connection", "close") || self.head.first_line.starts_with("HTTP/1.0")
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let shown: String = text.chars().take(600).collect();
        writeln!(f, "answered after {:?}:", self.elapsed)?;
        write!(f, "{}{shown}", String::from_utf8_lossy(&self.head.raw))?;
        if shown.len() < text.len() {
            write!(f, "… ({} bytes)", self.body.len())?;
        }
        Ok(())
    }
}

/// One TCP connection, with full control of the bytes.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    #[track_caller]
    pub fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address)
            .unwrap_or_else(|error| panic!("could not connect to {address}: {error}"))
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        let connection = Connection { stream: BufReader::new(stream) };
        connection.set_timeout(TIMEOUT);
        Ok(connection)
    }

    /// Bounds each read and each write.
    pub fn set_timeout(&self, timeout: Duration) {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(timeout)).expect("a timeout above zero is accepted");
        stream.set_write_timeout(Some(timeout)).expect("a timeout above zero is accepted");
    }

    /// The client's own address, as the other side sees it.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("a connected socket has an address")
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub fn finish_writing(&self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Reads one answer to a request of this method.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        self.read_response_since(method, Instant::now())
    }

    fn read_response_since(&mut self, method: &str, sent: Instant) -> io::Result<Response> {
        loop {
            let Some(head) = http::read_head(&mut self.stream)? else {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer"));
            };
            let status = head.first_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let body = self.read_body(method, status, &head)?;
            return Ok(Response { status, head, body, elapsed: sent.elapsed() });
        }
    }

    fn read_body(&mut self, method: &str, status: u16, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Ok(body);
        }
        if head.header_has("transfer-encoding", "chunked") {
            http::read_chunked(&mut self.stream, &mut body)?;
        } else if let Some(length) = head.header("content-length").and_then(|value| value.parse().ok()) {
            http::read_counted(&mut self.stream, length, &mut body)?;
        } else {
            http::read_to_end(&mut self.stream, &mut body)?;
        }
        Ok(body)
    }

    /// Reads only the head of an answer and leaves its body on the wire.
    pub fn read_head(&mut self) -> io::Result<Option<Head>> {
        http::read_head(&mut self.stream)
    }

    /// Reads at most `limit` bytes, as one read gives them.
    pub fn read_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; limit];
        let read = self.stream.read(&mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Reads until the other side closes, at most for `bound`; `None` when it did not close. A reset counts as closing.
    pub fn read_until_close(&mut self, bound: Duration) -> Option<Vec<u8>> {
        let until = Instant::now() + bound;
        let mut all = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.set_timeout(left);
            match self.read_some(64 * 1024) {
                Ok(bytes) if bytes.is_empty() => return Some(all),
                Ok(bytes) => all.extend(bytes),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(_) => return Some(all),
            }
        }
    }

    /// Whether anything comes (an answer, or the end) within `bound`; nothing is taken from the wire.
    pub fn has_input_within(&mut self, bound: Duration) -> bool {
        self.set_timeout(bound);
        let seen = self.stream.fill_buf().map(<[u8]>::len);
        self.set_timeout(TIMEOUT);
        !matches!(seen, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        let sent = Instant::now();
        self.write(request.to_bytes())?;
        self.read_response_since(&request.method, sent)
    }
}

/// A client that keeps its connection, as a browser or a service does.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<Connection>,
}

impl Client {
    pub fn to(address: SocketAddr) -> Client {
        Client { address, timeout: TIMEOUT, connection: None }
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    #[track_caller]
    pub fn send(&mut self, request: &Request) -> Response {
        let sent = self.try_send(request);
        sent.unwrap_or_else(|error| panic!("no answer to {} {}: {error}", request.method, request.target))
    }

    /// Sends on the kept connection, or on a new one; keeps it when the answer allows.
    pub fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::try_open(self.address)?,
        };
        connection.set_timeout(self.timeout);
        let response = connection.exchange(request)?;
        let asked_to_close =
            http::header(&request.headers, "connection").is_some_and(|value| value == "close");
        if !response.closes() && !asked_to_close {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    /// Drops the kept connection.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }
}

/// Waits until `GET /readyz` at this address answers 200.
#[track_caller]
pub fn wait_until_ready(who: &str, address: SocketAddr, bound: Duration) {
    let ask = || match Client::to(address).try_send(&Request::get("/readyz")) {
        Ok(response) => response.status.to_string(),
        Err(error) => error.to_string(),
    };
    eventually(&format!("{who} is ready"), bound, ask, |answer| answer == "200");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Reply};

    #[test]
    fn a_request_gets_a_host_and_its_framing() {
        let bytes = Request::post("/a", "xyz").header("A", "b").to_bytes();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "POST /a HTTP/1.1\r\nHost: localhost\r\nA: b\r\nContent-Length: 3\r\n\r\nxyz");
        let given = Request::get("/").header("host", "b.example").to_bytes();
        assert!(!String::from_utf8(given).unwrap().contains("localhost"));
    }

    #[test]
    fn the_connection_is_kept_between_requests_until_told_to_close() {
        let backend = Backend::start();
        let mut client = Client::to(backend.address());
        client.get("/1");
        client.get("/2");
        client.send(&Request::get("/3").header("Connection", "close"));
        client.get("/4");
        let connections: Vec<u64> = backend.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [1, 1, 1, 2]);
    }

    #[test]
    fn an_answer_without_length_is_read_until_the_stream_ends() {
        let backend = Backend::answering(Reply::ok("to the end").until_close());
        assert_eq!(Client::to(backend.address()).get("/").text(), "to the end");
    }

    #[test]
    fn a_request_can_be_sent_in_pieces() {
        let backend = Backend::start();
        let mut connection = Connection::open(backend.address());
        for piece in ["POST / HT", "TP/1.1\r\nHost: a\r\nContent-", "Length: 4\r\n\r\nab", "cd"] {
            connection.write(piece).unwrap();
        }
        connection.read_response("POST").unwrap().expect_status(200);
        assert_eq!(backend.requests()[0].body, b"abcd");
    }

    #[test]
    #[should_panic(expected = "unexpected status: answered after")]
    fn an_unexpected_status_shows_the_whole_answer() {
        let backend = Backend::answering(Reply::status(503));
        Client::to(backend.address()).get("/").expect_status(200);
    }
}
