//! Decides how a collector of traces runs for a test: one that reads what it gets with types that OpenTelemetry generated.
//!
//! The types are `opentelemetry-proto` from PyPI, which `scripts/test` installs beside the build, in `target/python`.

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

/// Notes every span as one JSON object per line, and answers as the file `mood` says: `take`, `hang`, a status, or
/// `reject N`.
const COLLECTOR: &str = r#"
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

port, folder = int(sys.argv[1]), sys.argv[2]

def facts(attributes):
    return {fact.key: fact.value.string_value or fact.value.int_value for fact in attributes}

class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        mood = open(folder + "/mood").read().strip()
        with open(folder + "/calls", "a") as file:
            file.write(json.dumps({"at": time.time(), "mood": mood, "path": self.path, "type": self.headers["content-type"],
                                   "authorization": self.headers["authorization"]}) + "\n")
        if mood == "hang":
            time.sleep(3600)
        answer, status = ExportTraceServiceResponse(), 200
        if mood.isdigit():
            status = int(mood)
        else:
            message = ExportTraceServiceRequest()
            message.ParseFromString(body)
            with open(folder + "/spans", "a") as file:
                for resource in message.resource_spans:
                    whose = facts(resource.resource.attributes)
                    for scope in resource.scope_spans:
                        for span in scope.spans:
                            file.write(json.dumps({
                                "service": whose["service.name"], "resource": whose, "name": span.name, "kind": span.kind,
                                "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                                "began": span.start_time_unix_nano, "ended": span.end_time_unix_nano,
                                "error": span.status.message if span.status.code == 2 else None,
                                "facts": facts(span.attributes)}) + "\n")
            if mood.startswith("reject"):
                answer.partial_success.rejected_spans = int(mood.split()[1])
        text = answer.SerializeToString()
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", port), Collector).serve_forever()
"#;

/// A collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    folder: TempDir,
    pub process: Process,
}

impl Collector {
    /// Starts one that takes everything.
    #[track_caller]
    pub fn start() -> Collector {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let address = ports::address();
        fs::write(folder.path().join("mood"), "take").expect("the temporary directory is writable");
        let mut command = python::program("python");
        command.args(["-c", COLLECTOR, &address.port().to_string()]).arg(folder.path());
        let process = Process::spawn("collector of traces", &mut command);
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        eventually("the collector accepts connections", START, connect, |is_up| *is_up);
        Collector { address, folder, process }
    }

    /// From now on it does this: `take`, `hang`, a status like `503`, or `reject N`.
    #[track_caller]
    pub fn mood(&self, mood: &str) {
        fs::write(self.folder.path().join("mood"), mood).expect("the temporary directory is writable");
    }

    /// What `trace.endpoint` says.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span that it took.
    pub fn spans(&self) -> Vec<Value> {
        self.lines("spans")
    }

    /// How it was called: `at`, `mood`, `path`, `type`, `authorization`.
    pub fn calls(&self) -> Vec<Value> {
        self.lines("calls")
    }

    fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
