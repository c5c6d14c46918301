//! Decides where connections come from: a socket of this process alone, or one that the processes of a node share.
//!
//! An event loop is not fair to others: a new connection wakes all of them, and the quickest takes it, which is mostly the
//! same one. Who waits in accept(2) is woken in turn. So a shared socket is accepted from by a thread that waits there.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc as waiting};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::lifecycle::Ending;

/// How long accepting rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(50);

/// Connections that are still taken from the kernel's queue when accepting ends.
const LAST: usize = 1024;

/// How long the thread waits for a connection before it looks whether it should go on.
const LOOK: Duration = Duration::from_millis(100);

/// How long it takes what is in the queue, once the node stops.
const LONGEST_FINISH: Duration = Duration::from_secs(1);

/// How often it looks for a place while there is none.
const FULL: Duration = Duration::from_millis(5);

const ACCEPT: u8 = 0;
/// Until nothing waits.
const FINISH: u8 = 1;
/// Others take what waits.
const LEAVE: u8 = 2;

/// A connection, with its place among those that are open.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
}

/// What connections come from.
#[derive(Debug)]
pub(super) struct Source {
    address: SocketAddr,
    places: Arc<Semaphore>,
    from: From,
}

#[derive(Debug)]
enum From {
    Own(TcpListener),
    Shared(Thread),
    /// Nothing new; what waited when accepting ended.
    Over(std::vec::IntoIter<(TcpStream, SocketAddr)>),
}

/// The thread that accepts, and the ways to and from it.
#[derive(Debug)]
struct Thread {
    begin: waiting::SyncSender<()>,
    told: Arc<AtomicU8>,
    arrivals: mpsc::Receiver<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)>,
}

impl Source {
    /// A socket of this process alone, with room for so many connections at once.
    pub(super) fn own(listener: TcpListener, places: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { address, places: Arc::new(Semaphore::new(places)), from: From::Own(listener) })
    }

    /// A socket that others accept from too. Nothing is accepted before [`Source::begin`].
    pub(super) fn shared(listener: std::net::TcpListener, places: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(false)?;
        set_socket_timeout(&listener, Timeout::Recv, Some(LOOK))?;
        let places = Arc::new(Semaphore::new(places));
        let (begin, begun) = waiting::sync_channel(1);
        let (sender, arrivals) = mpsc::channel(1);
        let told = Arc::new(AtomicU8::new(ACCEPT));
        let (its_places, its_told) = (Arc::clone(&places), Arc::clone(&told));
        let work = move || {
            if begun.recv().is_ok() {
                take(&listener, &its_places, &its_told, &sender);
            }
        };
        std::thread::Builder::new().name("accept".to_owned()).spawn(work)?;
        Ok(Self { address, places, from: From::Shared(Thread { begin, told, arrivals }) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections come.
    pub(super) fn begin(&self) {
        if let From::Shared(thread) = &self.from {
            // A second word changes nothing.
            let _ = thread.begin.try_send(());
        }
    }

    /// The next connection. At the limit new ones wait in the kernel's queue. `None` when none comes any more.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        match &mut self.from {
            From::Own(listener) => {
                let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
                let (stream, peer) = accepted(listener).await;
                Some(Arrived { stream, peer, place })
            }
            From::Shared(thread) => loop {
                let (stream, peer, place) = thread.arrivals.recv().await?;
                if let Some(stream) = ours(stream) {
                    return Some(Arrived { stream, peer, place });
                }
            },
            From::Over(rest) => {
                let (stream, peer) = rest.next()?;
                let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
                Some(Arrived { stream, peer, place })
            }
        }
    }

    /// Accepting ends. What waits in the queue of a node that stops would be reset: it is what still comes from here.
    pub(super) fn end(&mut self, ending: &Ending) {
        let is_stop = matches!(ending, Ending::Stop);
        if let From::Shared(thread) = &self.from {
            thread.told.store(if is_stop { FINISH } else { LEAVE }, Ordering::Release);
            return;
        }
        let before = std::mem::replace(&mut self.from, From::Over(Vec::new().into_iter()));
        if let From::Own(listener) = before
            && is_stop
        {
            self.from = From::Over(waiting(listener).into_iter());
        }
    }
}

fn ours(stream: std::net::TcpStream) -> Option<TcpStream> {
    stream.set_nonblocking(true).ok()?;
    TcpStream::from_std(stream).ok()
}

/// What the kernel has taken and nobody has accepted yet; the socket is closed.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let accept = || {
        let (stream, peer) = listener.accept().ok()?;
        Some((ours(stream)?, peer))
    };
    std::iter::from_fn(accept).take(LAST).collect()
}

/// Accepts, on a thread of its own, until told otherwise.
#[expect(clippy::disallowed_methods, reason = "the thread is there to wait, and nothing else runs on it")]
fn take(
    listener: &std::net::TcpListener,
    places: &Arc<Semaphore>,
    told: &AtomicU8,
    arrivals: &mpsc::Sender<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)>,
) {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    let (mut is_short, mut until) = (false, None);
    loop {
        let now = told.load(Ordering::Acquire);
        let is_late =
            now == FINISH && Instant::now() > *until.get_or_insert_with(|| Instant::now() + LONGEST_FINISH);
        if now == LEAVE || is_late {
            return;
        }
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            std::thread::sleep(FULL);
            continue;
        };
        match listener.accept() {
            Ok((stream, peer)) => {
                is_short = false;
                if arrivals.blocking_send((stream, peer, place)).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {
                if told.load(Ordering::Acquire) == FINISH {
                    return;
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                complain(&error, &mut is_short);
                std::thread::sleep(REST);
            }
        }
    }
}

/// The next connection. Connections that ended while they waited are passed over.
async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut is_short = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                complain(&error, &mut is_short);
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Says once that something is short.
fn complain(error: &io::Error, is_short: &mut bool) {
    if !std::mem::replace(is_short, true) {
        tracing::error!(error.chain = %error, "could not accept a connection");
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn three(places: usize) -> (SocketAddr, Vec<Source>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let copy = || Source::shared(listener.try_clone().unwrap(), places).unwrap();
        (listener.local_addr().unwrap(), vec![copy(), copy(), copy()])
    }

    #[tokio::test]
    async fn who_shares_a_socket_gets_a_share_of_the_connections() {
        let (address, mut sources) = three(100);
        sources.iter().for_each(Source::begin);
        let mut arrival = async || {
            let client = TcpStream::connect(address).unwrap();
            let [one, two, three] = sources.get_disjoint_mut([0, 1, 2]).unwrap();
            let (by, arrived) = tokio::select! {
                arrived = one.next() => (0, arrived),
                arrived = two.next() => (1, arrived),
                arrived = three.next() => (2, arrived),
            };
            (client, by, arrived.unwrap())
        };
        // Until each of them is there.
        let mut begun = [false; 3];
        while begun != [true; 3] {
            begun[arrival().await.1] = true;
        }
        let mut open = Vec::new();
        let mut shares = [0; 3];
        for _ in 0..60 {
            let (client, by, arrived) = arrival().await;
            shares[by] += 1;
            // Its place is held, as that of a connection that stays.
            open.push((client, arrived));
        }
        assert!(shares.iter().all(|share| *share >= 10), "{shares:?}");
    }

    #[tokio::test]
    async fn nothing_is_accepted_before_the_word_nor_above_the_limit() {
        let (address, mut sources) = three(1);
        let mut source = sources.remove(0);
        let _first = TcpStream::connect(address).unwrap();
        let early = tokio::time::timeout(LOOK * 3, source.next()).await;
        assert!(early.is_err(), "{early:?}");
        source.begin();
        let held = source.next().await.unwrap();
        let _second = TcpStream::connect(address).unwrap();
        let above = tokio::time::timeout(LOOK * 3, source.next()).await;
        assert!(above.is_err(), "{above:?}");
        drop(held);
        assert!(source.next().await.is_some());
    }

    #[tokio::test]
    async fn who_stops_takes_what_waits_and_who_leaves_leaves_it_to_others() {
        for (ending, expected) in [(Ending::Stop, 3), (Ending::Leave(CancellationToken::new()), 0)] {
            let (address, mut sources) = three(100);
            let mut source = sources.remove(0);
            let _open: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
            source.end(&ending);
            source.begin();
            let mut count = 0;
            while source.next().await.is_some() {
                count += 1;
            }
            assert_eq!(count, expected, "{ending:?}");
        }
    }
}
