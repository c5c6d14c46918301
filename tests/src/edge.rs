//! Decides how an edge is configured for a test, started, and asked what it did.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use crate::backend::Backend;
use crate::client::{Client, Request, Response, wait_until_ready};
use crate::document;
use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;
use crate::scrape::Scrape;

const START: Duration = Duration::from_secs(20);

/// Which path carries HTTP/1.1 from clients (`server.http1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Own,
    Pingora,
}

impl Path {
    /// The one that is tested: the test binary `e2e_pingora` runs the same tests over the other path.
    pub fn under_test() -> Path {
        let own = std::env::current_exe().expect("a running test knows its own path");
        let name = own.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("e2e_pingora") { Path::Pingora } else { Path::Own }
    }
}

/// Writes a `proxy.toml` of one listener, one route `all` and one upstream `app`, unless the test says otherwise.
#[derive(Debug, Clone)]
pub struct Builder {
    address: SocketAddr,
    admin: SocketAddr,
    document: Table,
    /// Instead of a folder of its own.
    state: Option<PathBuf>,
}

impl Builder {
    fn new() -> Builder {
        let (address, admin) = (ports::address(), ports::address());
        let text = format!(
            "server = {{ threads = 2, admin = '{admin}', grace_period = '10s' }}\n\
             access_log.output = 'stdout'\n\
             listeners = [{{ name = 'http', address = '{address}' }}]\n\
             routes = [{{ name = 'all', paths = ['/*'], upstream = 'app' }}]\n\
             upstreams.app.backends = []\n"
        );
        let builder = Builder { address, admin, document: document::parse(&text), state: None };
        match Path::under_test() {
            Path::Own => builder,
            Path::Pingora => builder.toml("server.http1 = 'pingora'"),
        }
    }

    /// Adds a backend to the upstream `app`.
    #[must_use]
    pub fn backend(self, backend: &Backend) -> Builder {
        self.backend_at(backend.name(), backend.address(), "")
    }

    /// Adds a backend with further keys, such as `weight = 2`.
    #[must_use]
    pub fn backend_with(self, backend: &Backend, keys: &str) -> Builder {
        self.backend_at(backend.name(), backend.address(), keys)
    }

    #[must_use]
    pub fn backend_at(mut self, id: &str, address: SocketAddr, keys: &str) -> Builder {
        let row = document::parse(&format!("id = '{id}'\naddress = '{address}'\n{keys}"));
        let rows = self.document["upstreams"]["app"]["backends"].as_array_mut();
        rows.expect("a test that replaces the backends adds none").push(row.into());
        self
    }

    /// Lays a fragment over the configuration: tables are merged, everything else is replaced.
    #[must_use]
    pub fn toml(mut self, fragment: &str) -> Builder {
        document::merge(&mut self.document, document::parse(fragment));
        self
    }

    /// Keeps the edge's state in this folder, beyond its end.
    #[must_use]
    pub fn state_dir(self, folder: &std::path::Path) -> Builder {
        Builder { state: Some(folder.to_owned()), ..self }
    }

    /// Takes a backend out of upstream `app`.
    #[must_use]
    pub fn without(mut self, id: &str) -> Builder {
        let rows = self.document["upstreams"]["app"]["backends"].as_array_mut();
        rows.expect("there are backends").retain(|row| row["id"].as_str() != Some(id));
        self
    }

    /// No backend is ever ejected for its failed attempts.
    #[must_use]
    pub fn without_ejection(self) -> Builder {
        self.toml(
            "defaults.backend.max_fails = 0
            defaults.upstream.outlier = { consecutive_faults = 0, consecutive_errors = 0, failure_ratio = '0%' }",
        )
    }

    /// Makes upstream `app` forget the default: no backend is probed.
    #[must_use]
    pub fn without_probe(self) -> Builder {
        self.toml("upstreams.app.probe = { kind = 'off' }")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn render(&self) -> String {
        document::render(&self.document)
    }

    /// Writes the file and runs `cirque proxy run` until it is ready.
    #[track_caller]
    pub fn start(self) -> Edge {
        let edge = self.launch();
        edge.wait_until_ready();
        edge.wait_until_listening();
        edge
    }

    /// Writes the file and runs `cirque proxy run`, which may fail.
    pub fn launch(self) -> Edge {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let file = folder.path().join("proxy.toml");
        let state = self.state.clone().unwrap_or_else(|| folder.path().join("state"));
        let this = self.toml(&format!("server.state_dir = '{}'", state.display()));
        fs::write(&file, this.render()).expect("the temporary directory is writable");
        let arguments = ["proxy".as_ref(), "run".as_ref(), "-c".as_ref(), file.as_os_str()];
        let process = Process::cirque("edge", &arguments);
        Edge { process, builder: this, folder, file }
    }
}

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    pub process: Process,
    /// What the file says.
    builder: Builder,
    folder: TempDir,
    file: PathBuf,
}

impl Edge {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// An edge with everything by default in front of these backends.
    #[track_caller]
    pub fn before(backends: &[&Backend]) -> Edge {
        backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend)).start()
    }

    pub fn address(&self) -> SocketAddr {
        self.builder.address
    }

    pub fn admin(&self) -> SocketAddr {
        self.builder.admin
    }

    /// Changes the file; the edge is not told.
    pub fn rewrite(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.builder = change(self.builder.clone());
        fs::write(&self.file, self.builder.render()).expect("the temporary directory is writable");
    }

    pub fn file(&self) -> &PathBuf {
        &self.file
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A client of the edge with a connection of its own.
    pub fn client(&self) -> Client {
        Client::to(self.address())
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.client().get(target)
    }

    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        self.client().send(request)
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_until_ready("the edge", self.admin(), START);
    }

    /// Waits until the listener accepts connections.
    #[track_caller]
    pub fn wait_until_listening(&self) {
        let connect = || TcpStream::connect_timeout(&self.address(), Duration::from_secs(1)).map(drop);
        eventually("the edge accepts connections", START, connect, Result::is_ok)
            .expect("accepted only when it does");
    }

    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        Scrape::fetch(self.admin(), "/metrics")
    }

    /// Waits until a metric has this value; says what it was when it has not. A request is counted when its answer
    /// is out: its client may be quicker to ask for metrics.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} is {value}");
        let observe = || {
            let metrics = self.metrics();
            (metrics.value(name, labels), metrics.lines(name))
        };
        eventually(&what, Duration::from_secs(15), observe, |(seen, _)| (*seen - value).abs() < f64::EPSILON);
    }

    /// What the edge says of its upstreams.
    #[track_caller]
    pub fn upstreams(&self) -> Value {
        Client::to(self.admin()).get("/v1/upstreams").expect_status(200).json()
    }

    /// The access-log lines so far.
    pub fn access_log(&self) -> Vec<Value> {
        let lines = self.process.json_lines();
        lines.into_iter().filter(|line| line.get("http.request.method").is_some()).collect()
    }

    /// Waits for the access-log line of the request for this path and returns it.
    #[track_caller]
    pub fn logged(&self, path: &str) -> Value {
        let find = || self.access_log().into_iter().find(|line| line["url.path"] == path);
        let found = eventually(&format!("{path} is logged"), Duration::from_secs(10), find, Option::is_some);
        found.expect("accepted only when found")
    }
}
