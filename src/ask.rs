//! One request to an admin interface, over TCP or a unix socket: enough to ask a running part, and to change it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

/// For connecting.
const CONNECT: Duration = Duration::from_secs(2);

/// For what a node is asked to do: a message to a channel may take a while.
const NODE: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;

/// A request.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Without line breaks.
    pub(crate) headers: &'a [(&'a str, String)],
    pub(crate) body: &'a str,
    /// For each read and write.
    pub(crate) patience: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl<'a> Asked<'a> {
    /// A question that is answered at once.
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: &[], body: "", patience: Duration::from_secs(2) }
    }

    /// Asks `address`: `host:port` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// When nobody answers in time, or not in HTTP.
    pub(crate) fn send(&self, address: &str) -> anyhow::Result<Answer> {
        if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_write_timeout(Some(self.patience))?;
            return self.over(stream, "localhost");
        }
        let mut found = address.to_socket_addrs().context("not an address")?;
        let target = found.next().context("no address found")?;
        let stream = TcpStream::connect_timeout(&target, CONNECT)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        // The address itself: a name could be anybody's.
        self.over(stream, &target.to_string())
    }

    fn over(&self, mut stream: impl Read + Write, host: &str) -> anyhow::Result<Answer> {
        let Self { method, path, headers, body, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in *headers {
            head += &format!("{name}: {}\r\n", value.replace(['\r', '\n'], " "));
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        // The system's own words for it are "Resource temporarily unavailable".
        let late = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                anyhow!("no answer within {} seconds", self.patience.as_secs())
            }
            _ => error.into(),
        };
        stream.write_all((head + body).as_bytes()).map_err(late)?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).map_err(late)?;
        let answer = String::from_utf8(answer).context("the answer is not text")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Answer { status: status.context("the answer is not HTTP")?, body: body.to_owned() })
    }
}

/// The body of a 200 answer to a question.
///
/// # Errors
///
/// When nobody answers in time, or not with 200.
pub(crate) fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let answer = Asked::get(path).send(address)?;
    if answer.status != 200 {
        bail!("{path} answered {}", answer.status);
    }
    Ok(answer.body)
}

/// Asks a node of the app for JSON, or to change something, with somebody's token.
///
/// # Errors
///
/// When nobody answers in time, and what the node says when it does not do it.
pub(crate) fn node(
    address: &str,
    token: Option<&str>,
    method: &str,
    path: &str,
    body: &Value,
) -> anyhow::Result<Value> {
    let mut headers = vec![("Content-Type", "application/json".to_owned())];
    headers.extend(token.map(|token| ("Authorization", format!("Bearer {token}"))));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let asked = Asked { method, path, headers: &headers, body: &body, patience: NODE };
    let answer = asked.send(address).with_context(|| format!("could not ask the node at {address}"))?;
    let value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if (200..300).contains(&answer.status) {
        return Ok(value);
    }
    let said = value["message"].as_str().unwrap_or("no reason was given");
    let hint =
        if answer.status == 401 { " Make one with `cirque app token create`, for an admin." } else { "" };
    bail!("the node answered {}: {said}{hint}", answer.status)
}

/// Whether a part says that it is ready.
pub(crate) fn is_ready(address: SocketAddr) -> bool {
    get(&address.to_string(), "/readyz").is_ok()
}

/// Whether the edge finds this many backends available and has probed each.
pub(crate) fn all_available(admin: SocketAddr, wanted: usize) -> bool {
    let state = get(&admin.to_string(), "/v1/upstreams").ok();
    let state = state.and_then(|state| serde_json::from_str::<Value>(&state).ok()).unwrap_or_default();
    let backends = state["upstreams"][0]["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
    backends.iter().filter(|backend| backend["probe"] == "up" && backend["available"] == true).count()
        == wanted
}
