//! Decides how a backend answers, misbehaves or refuses, by script; records every request that reaches it.

mod reply;
mod serve;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::eventually::eventually;
use crate::http::Headers;
use crate::ports;
use crate::sync::{Gate, lock};

pub use reply::Reply;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Which connection it came on, counted from 1.
    pub connection: u64,
    /// When its head was complete.
    pub at: Instant,
    pub method: String,
    pub target: String,
    pub headers: Headers,
    /// The head as it was on the wire.
    pub raw_head: Vec<u8>,
    /// What arrived of the body.
    pub body: Vec<u8>,
    /// False while the body is still on its way, and for ever when it was cut.
    pub is_complete: bool,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::http::header(&self.headers, name)
    }

    /// All values of a header, in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// What the threads of one backend share.
struct Shared {
    name: String,
    script: Mutex<Script>,
    by_path: Mutex<BTreeMap<String, Reply>>,
    requests: Mutex<Vec<Received>>,
    open: Mutex<BTreeMap<u64, TcpStream>>,
    connections: Mutex<u64>,
    stopped: Gate,
}

/// An HTTP/1.1 server on loopback that does what the test says. It answers `200` with its own name until told otherwise.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<Acceptor>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

struct Acceptor {
    listener: Arc<TcpListener>,
    thread: JoinHandle<()>,
}

impl Backend {
    pub fn start() -> Backend {
        Backend::named("backend")
    }

    /// A backend whose answers carry its name as body and as `X-Served-By`.
    pub fn named(name: &str) -> Backend {
        let body = name.to_owned();
        let script: Script = Arc::new(move |_| Reply::ok(body.clone()));
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            script: Mutex::new(script),
            by_path: Mutex::default(),
            requests: Mutex::default(),
            open: Mutex::default(),
            connections: Mutex::default(),
            stopped: Gate::default(),
        });
        let address = ports::address();
        let backend = Backend { address, shared, acceptor: Mutex::new(None), threads: Arc::default() };
        backend.accept();
        backend
    }

    pub fn answering(reply: Reply) -> Backend {
        let backend = Backend::start();
        backend.answer(reply);
        backend
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// From now on every request is answered so.
    pub fn answer(&self, reply: Reply) {
        self.script(move |_| reply.clone());
    }

    /// From now on requests for this path are answered so, whatever the script says.
    pub fn answer_on(&self, path: &str, reply: Reply) {
        lock(&self.shared.by_path).insert(path.to_owned(), reply);
    }

    /// From now on the closure decides, request by request, as soon as the head is there: it sees no body.
    pub fn script(&self, script: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// Closes the listening socket and every connection: connecting is refused from now on.
    pub fn refuse(&self) {
        if let Some(acceptor) = lock(&self.acceptor).take() {
            // Closing would not do: a process that another thread is just starting holds a copy for a moment.
            let _ = rustix::net::shutdown(&acceptor.listener, rustix::net::Shutdown::Both);
            acceptor.thread.join().expect("the accepting thread does not panic");
        }
        self.cut_connections();
    }

    /// Listens again, on the same port.
    pub fn accept(&self) {
        let mut acceptor = lock(&self.acceptor);
        if acceptor.is_some() {
            return;
        }
        let listener = eventually(
            "the backend's port can be bound again",
            Duration::from_secs(10),
            || TcpListener::bind(self.address),
            Result::is_ok,
        )
        .expect("accepted only when bound");
        let listener = Arc::new(listener);
        let thread = {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&self.shared));
            let threads = Arc::clone(&self.threads);
            std::thread::spawn(move || accept_all(&listener, &shared, &threads))
        };
        *acceptor = Some(Acceptor { listener, thread });
    }

    /// Closes every open connection and keeps listening.
    pub fn cut_connections(&self) {
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn open_connections(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> u64 {
        *lock(&self.shared.connections)
    }

    /// Everything received so far, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).clone()
    }

    /// What was received for one path, without its query.
    pub fn requests_to(&self, path: &str) -> Vec<Received> {
        lock(&self.shared.requests).iter().filter(|request| request.path() == path).cloned().collect()
    }

    /// Waits until at least `n` requests for `path` have arrived.
    #[track_caller]
    pub fn wait_for_requests(&self, path: &str, n: usize) -> Vec<Received> {
        let what = format!("{n} requests for {path} at {}", self.name());
        eventually(&what, Duration::from_secs(10), || self.requests_to(path), |seen| seen.len() >= n)
    }

    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stopped.raise();
        self.refuse();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {} at {}", self.name(), self.address)
    }
}

/// Accepts until the listener is shut down.
fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, threads: &Mutex<Vec<JoinHandle<()>>>) {
    while let Ok((stream, _)) = listener.accept() {
        if let Ok(thread) = start_connection(stream, shared) {
            let mut threads = lock(threads);
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
    }
}

fn start_connection(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    stream.set_nodelay(true)?;
    let id = {
        let mut connections = lock(&shared.connections);
        *connections += 1;
        *connections
    };
    lock(&shared.open).insert(id, stream.try_clone()?);
    let shared = Arc::clone(shared);
    Ok(std::thread::spawn(move || {
        // What goes wrong on the wire is what the test arranged; the client's side of it is asserted on.
        let _ = serve::connection(&stream, id, &shared);
        let _ = stream.shutdown(Shutdown::Both);
        lock(&shared.open).remove(&id);
    }))
}

#[cfg(test)]
mod tests;
