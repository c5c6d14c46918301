//! Decides how a receiver of webhooks runs for a test: one that checks what it gets with a library that others wrote.
//!
//! The library is `standardwebhooks` from PyPI, which `scripts/test` installs beside the build, in `target/python`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;
use crate::python;

const START: Duration = Duration::from_secs(30);

/// Answers 204 to what is signed right, 400 to everything else, and notes both, one JSON object per line.
const RECEIVER: &str = r#"
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from standardwebhooks import Webhook, WebhookVerificationError

secret, port, notes = os.environ["SECRET"], int(sys.argv[1]), sys.argv[2]

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            payload, error = Webhook(secret).verify(body, headers), None
        except WebhookVerificationError as wrong:
            payload, error = None, str(wrong)
        with open(notes, "a") as file:
            file.write(json.dumps({"id": headers.get("webhook-id"), "payload": payload, "error": error}) + "\n")
        self.send_response(204 if error is None else 400)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
"#;

/// A receiver that knows one secret. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    folder: TempDir,
    _process: Process,
}

impl Receiver {
    /// Starts it with a secret as `cirque app webhook add` prints it, at an address of [`ports::address`].
    #[track_caller]
    pub fn start(address: SocketAddr, secret: &str) -> Receiver {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let mut command = python::program("python");
        command.args(["-c", RECEIVER, &address.port().to_string()]).arg(folder.path().join("notes"));
        command.env("SECRET", secret);
        let process = Process::spawn("receiver of webhooks", &mut command);
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        eventually("the receiver accepts connections", START, connect, |is_up| *is_up);
        Receiver { address, folder, _process: process }
    }

    /// A free address for one that is started later.
    pub fn free_address() -> SocketAddr {
        ports::address()
    }

    /// Where it is called.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Everything it got: `id`, `payload`, and `error` where the signature was not right.
    pub fn received(&self) -> Vec<Value> {
        let notes = fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        notes.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
