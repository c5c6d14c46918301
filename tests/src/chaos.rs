//! Decides what happens to bytes between two parts: passed on, delayed, frozen, or cut.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ports;
use crate::process::{Signal, signal_pid};
use crate::sync::{Gate, lock};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Connections stay open, no byte moves; new connections are accepted and say nothing.
    Frozen,
    /// Every connection is closed, and so is every new one.
    Cut,
}

struct Shared {
    target: SocketAddr,
    mode: Mutex<Mode>,
    changed: Condvar,
    delay: Mutex<Duration>,
    pairs: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    stopped: Gate,
}

/// A TCP proxy that stands between two parts of the system and breaks the connection between them.
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Link {
    /// Starts passing bytes between whoever connects and `target`.
    pub fn to(target: SocketAddr) -> Link {
        let address = ports::address();
        let listener = TcpListener::bind(address).expect("the port was free a moment ago");
        let shared = Arc::new(Shared {
            target,
            mode: Mutex::new(Mode::Pass),
            changed: Condvar::new(),
            delay: Mutex::default(),
            pairs: Mutex::default(),
            stopped: Gate::default(),
        });
        let threads = Arc::default();
        let acceptor = {
            let (shared, threads) = (Arc::clone(&shared), Arc::clone(&threads));
            std::thread::spawn(move || accept_all(&listener, &shared, &threads))
        };
        Link { address, shared, threads, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, and every new one as soon as it is accepted.
    pub fn cut(&self) {
        self.set(Mode::Cut);
        close_all(&self.shared);
    }

    /// Stops every byte; nothing is closed.
    pub fn freeze(&self) {
        self.set(Mode::Frozen);
    }

    /// Passes bytes again, at once and without delay.
    pub fn restore(&self) {
        *lock(&self.shared.delay) = Duration::ZERO;
        self.set(Mode::Pass);
    }

    /// Holds each piece of data back for so long, in both directions.
    pub fn delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    pub fn open_connections(&self) -> usize {
        lock(&self.shared.pairs).len()
    }

    fn set(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stopped.raise();
        self.cut();
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(5));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link from {} to {}", self.address, self.shared.target)
    }
}

/// An address at which connecting neither succeeds nor fails: its queue is full and nobody takes from it.
pub struct Abyss {
    address: SocketAddr,
    _queue: Vec<TcpStream>,
    _listener: tokio::net::TcpListener,
    _runtime: tokio::runtime::Runtime,
}

impl Abyss {
    pub fn open() -> Abyss {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.expect("a runtime of one thread can be had");
        let address = ports::address();
        let listener = {
            let _inside = runtime.enter();
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket can be had");
            // Connections of whoever had the port before may still be in TIME_WAIT.
            socket.set_reuseaddr(true).expect("an unbound socket can be set up");
            socket.bind(address).expect("the port was free a moment ago");
            socket.listen(1).expect("a bound socket can listen")
        };
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let queue: Vec<TcpStream> = (0..16).map_while(connect).collect();
        assert!(queue.len() < 16, "the queue of {address} does not fill up");
        Abyss { address, _queue: queue, _listener: listener, _runtime: runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A process that sleeps most of the time: everybody who asks it waits, and nobody is refused. Dropping it ends that.
#[derive(Debug)]
pub struct Drowsy {
    ended: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl Drowsy {
    /// The process sleeps for `nap` again and again, with five milliseconds between.
    pub fn make(pid: u32, nap: Duration) -> Drowsy {
        let ended = Arc::new(Gate::default());
        let gate = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !gate.is_raised() {
                signal_pid(pid, Signal::STOP);
                gate.wait(nap);
                signal_pid(pid, Signal::CONT);
                gate.wait(Duration::from_millis(5));
            }
        });
        Drowsy { ended, thread: Some(thread) }
    }
}

impl Drop for Drowsy {
    fn drop(&mut self) {
        self.ended.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn close_all(shared: &Shared) {
    for stream in lock(&shared.pairs).values().flatten() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, threads: &Mutex<Vec<JoinHandle<()>>>) {
    for id in 0_u64.. {
        let accepted = listener.accept();
        if shared.stopped.is_raised() {
            return;
        }
        let Ok((stream, _)) = accepted else { continue };
        let shared = Arc::clone(shared);
        let mut threads = lock(threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(std::thread::spawn(move || join_up(stream, id, &shared)));
    }
}

/// Connects to the target as soon as bytes may move, then passes them both ways until one side is gone.
fn join_up(near: TcpStream, id: u64, shared: &Arc<Shared>) {
    if wait_until_moving(shared) == Mode::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect_timeout(&shared.target, Duration::from_secs(5)) else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (Ok(near_kept), Ok(far_kept)) = (near.try_clone(), far.try_clone()) else { return };
    let (Ok(near_back), Ok(far_back)) = (near.try_clone(), far.try_clone()) else { return };
    lock(&shared.pairs).insert(id, [near_kept, far_kept]);
    let back = {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || pump(far_back, near_back, &shared))
    };
    pump(near, far, shared);
    let _ = back.join();
    lock(&shared.pairs).remove(&id);
}

fn wait_until_moving(shared: &Shared) -> Mode {
    let mut mode = lock(&shared.mode);
    while *mode == Mode::Frozen {
        mode = shared.changed.wait(mode).unwrap_or_else(PoisonError::into_inner);
    }
    *mode
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut piece = [0; 16 * 1024];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let delay = *lock(&shared.delay);
        if shared.stopped.wait(delay) || wait_until_moving(shared) == Mode::Cut {
            break;
        }
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::client::{Client, Connection, Request};

    #[test]
    fn bytes_pass_until_the_link_is_cut_and_again_after_it_is_restored() {
        let backend = Backend::start();
        let link = Link::to(backend.address());
        let mut client = Client::to(link.address());
        client.get("/").expect_status(200);
        link.cut();
        assert!(client.try_send(&Request::get("/")).is_err());
        assert!(client.try_send(&Request::get("/")).is_err());
        link.restore();
        Client::to(link.address()).get("/").expect_status(200);
    }

    #[test]
    fn a_frozen_link_says_nothing_and_loses_nothing() {
        let backend = Backend::start();
        let link = Link::to(backend.address());
        let mut connection = Connection::open(link.address());
        connection.exchange(&Request::get("/1")).unwrap();
        link.freeze();
        connection.write(Request::get("/2").to_bytes()).unwrap();
        assert_eq!(connection.read_until_close(Duration::from_millis(50)), None);
        assert!(backend.requests_to("/2").is_empty());
        link.restore();
        connection.set_timeout(Duration::from_secs(10));
        connection.read_response("GET").unwrap().expect_status(200);
    }

    #[test]
    fn connecting_to_an_abyss_takes_for_ever() {
        let abyss = Abyss::open();
        let connected = TcpStream::connect_timeout(&abyss.address(), Duration::from_millis(100));
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_drowsy_process_answers_late_until_it_is_left_alone() {
        let server = crate::redis::Server::start(&[]);
        let ping = || {
            let began = tokio::time::Instant::now();
            server.ask(&["PING"]);
            began.elapsed()
        };
        let drowsy = Drowsy::make(server.process.pid(), Duration::from_millis(300));
        let slowest = (0..4).map(|_| ping()).max();
        assert!(slowest >= Some(Duration::from_millis(100)), "{slowest:?}");
        drop(drowsy);
        assert_eq!(server.ask(&["PING"]), "PONG");
    }

    #[test]
    fn a_delayed_link_is_slow() {
        let backend = Backend::start();
        let link = Link::to(backend.address());
        link.delay(Duration::from_millis(30));
        assert!(Client::to(link.address()).get("/").elapsed >= Duration::from_millis(60));
    }
}
