//! Runs curl: a client that others wrote, for what the harness's own does not speak (TLS, HTTP/2).

use std::net::SocketAddr;
use std::process::Command;

use crate::http::Headers;

/// One answer, or what went wrong.
#[derive(Debug, Clone)]
pub struct Got {
    /// curl's exit status; 0 is an answer.
    pub exit: i32,
    /// 0 when there was none.
    pub status: u16,
    /// `1.0`, `1.1` or `2`.
    pub version: String,
    pub headers: Headers,
    pub body: String,
    /// New connections that were made.
    pub connects: u32,
    /// What curl said on standard error (`-v` shows the handshake).
    pub said: String,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::http::header(&self.headers, name)
    }

    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Got {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
}

/// Asks for `url` with further arguments. The site's names lead to `address`, whatever they are.
pub fn curl(address: SocketAddr, url: &str, arguments: &[&str]) -> Got {
    let marker = "\n--curl--%{http_code} %{http_version} %{num_connects}\n";
    let connect = format!("::{}:{}", address.ip(), address.port());
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--dump-header", "-"])
        .args(["--connect-to", &connect, "--write-out", marker])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl is installed: scripts/test sees to it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, facts) = text.rsplit_once("\n--curl--").unwrap_or((&text, ""));
    let mut facts = facts.split_whitespace();
    let status = facts.next().and_then(|code| code.parse().ok()).unwrap_or(0);
    let version = facts.next().unwrap_or_default().to_owned();
    let connects = facts.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    // The heads of interim answers come first.
    let mut rest = answer;
    let mut head = "";
    while rest.starts_with("HTTP/") {
        let (first, after) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        (head, rest) = (first, after);
    }
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    Got {
        exit: output.status.code().unwrap_or(-1),
        status,
        version,
        headers: lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        body: rest.to_owned(),
        connects,
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
