//! One GET to an address of this machine: enough to ask whether a part is ready.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The largest answer that is read, in bytes.
const MOST: u64 = 16 * 1024 * 1024;

/// The body of a 200 answer.
///
/// # Errors
///
/// When nobody answers in time, or not with 200.
pub(crate) fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let mut found = address.to_socket_addrs().context("not an address")?;
    let target = found.next().context("no address found")?;
    let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("the answer is not text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => bail!("{path} answered {status}"),
        None => bail!("the answer is not HTTP"),
    }
}

/// Whether a part says that it is ready.
pub(super) fn is_ready(address: SocketAddr) -> bool {
    get(&address.to_string(), "/readyz").is_ok()
}

/// Whether the edge finds this many backends available and has probed each.
pub(super) fn all_available(admin: SocketAddr, wanted: usize) -> bool {
    let state = get(&admin.to_string(), "/v1/upstreams").ok();
    let state =
        state.and_then(|state| serde_json::from_str::<serde_json::Value>(&state).ok()).unwrap_or_default();
    let backends = state["upstreams"][0]["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
    backends.iter().filter(|backend| backend["probe"] == "up" && backend["available"] == true).count()
        == wanted
}
