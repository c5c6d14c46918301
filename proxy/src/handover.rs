//! How a new process takes the edge's place: it gets the listening sockets, and the old one leaves once it is ready.
//!
//! The old process starts the new one with one end of a socket pair as its standard input, sends copies of its
//! listening sockets over it, and waits for one line: `ready`, or what went wrong. A new process that fails, in
//! whatever way, leaves the old one as it was. Nothing is ever unbound, so no connection is refused.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cirque_shared::notify;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use tokio::sync::watch;

use crate::sockets::{Named, Sockets};

/// Set in the environment of an edge that `cirque up` watches over: it would start another one in its place.
pub const SUPERVISED: &str = "CIRQUE_UP_CHILD";

/// How long a new process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sockets in one message: the kernel takes 253 at most.
const MOST_SOCKETS: usize = 128;

/// Bytes of names in one message.
const MOST_NAMES: usize = 16 * 1024;

/// The first line of a message.
const READY: &str = "ready";

/// Why no new process took over. The old one serves on.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It could not be started, or not be given the sockets.
    Start(io::Error),
    /// It said why.
    Said(String),
    /// It ended without a word.
    Ended,
    /// It was not ready in time.
    TooSlow,
    /// A successor serves already.
    Left,
    /// `cirque up` watches over this process, and would start another one in its place.
    Supervised,
}

/// The new process, until it has told the old one how it went.
#[derive(Clone, Debug)]
pub struct Heir {
    line: Arc<Mutex<Option<UnixStream>>>,
}

/// What is handed over, and whether it was.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) sockets: Arc<Sockets>,
    arguments: Vec<PathBuf>,
    left: watch::Sender<bool>,
    /// Held while a successor gets ready.
    turn: tokio::sync::Mutex<()>,
}

impl Handover {
    /// For an edge that was started with this configuration file.
    pub(crate) fn new(sockets: Arc<Sockets>, config: &Path) -> Self {
        let arguments =
            ["proxy".into(), "run".into(), "--take-over".into(), "--config".into(), config.to_owned()];
        Self {
            sockets,
            arguments: arguments.into(),
            left: watch::Sender::new(false),
            turn: Default::default(),
        }
    }

    /// Lets a new process take over; its pid is the answer, and this one leaves.
    pub(crate) async fn run(&self, by: &str) -> Result<u32, Failed> {
        let _turn = self.turn.lock().await;
        if *self.left.borrow() {
            return Err(Failed::Left);
        }
        if std::env::var_os(SUPERVISED).is_some() {
            return Err(Failed::Supervised);
        }
        tracing::info!(by, "edge starts its successor");
        let copies = self.sockets.copies().map_err(Failed::Start)?;
        let arguments = self.arguments.clone();
        let handed = tokio::task::spawn_blocking(move || hand_over(&copies, &arguments)).await;
        let handed = handed.unwrap_or_else(|error| Err(Failed::Start(io::Error::other(error))));
        match &handed {
            Ok(pid) => {
                tracing::info!(pid, "successor is ready");
                self.left.send_replace(true);
            }
            Err(failed) => tracing::error!(%failed, "successor failed, this edge serves on"),
        }
        handed
    }

    /// Whether a successor serves.
    pub(crate) fn left(&self) -> watch::Receiver<bool> {
        self.left.subscribe()
    }
}

/// Starts a process of this command line and hands the sockets over. Blocks until it is ready or has failed; its
/// pid is the answer.
fn hand_over(sockets: &[Named], arguments: &[PathBuf]) -> Result<u32, Failed> {
    let (ours, theirs) = UnixStream::pair().map_err(Failed::Start)?;
    ours.set_read_timeout(Some(PATIENCE)).map_err(Failed::Start)?;
    ours.set_write_timeout(Some(PATIENCE)).map_err(Failed::Start)?;
    let program = program().map_err(Failed::Start)?;
    let mut command = Command::new(program);
    // The service manager's watchdog waits for us so far; then for whoever takes our place.
    command.args(arguments).env_remove(notify::WATCHDOG_PID).stdin(Stdio::from(OwnedFd::from(theirs)));
    let started = command.spawn();
    let mut child = started.map_err(Failed::Start)?;
    match send(&ours, sockets).map_err(Failed::Start).and_then(|()| verdict(&ours)) {
        Ok(()) => {
            let pid = child.id();
            // It outlives us; while it does not, somebody has to hear of its end.
            std::thread::spawn(move || child.wait());
            Ok(pid)
        }
        Err(failed) => {
            end(&mut child);
            Err(failed)
        }
    }
}

/// Our own binary, as it is on the disk now.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    // That is what the kernel says of a file that was replaced; the new one has the old name.
    let name = path.to_string_lossy();
    Ok(name.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(path))
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn verdict(mut line: &UnixStream) -> Result<(), Failed> {
    let mut answer = String::new();
    // The other end is closed by its exit too.
    match line.read_to_string(&mut answer) {
        Ok(_) if answer.trim() == READY => Ok(()),
        Ok(_) if answer.trim().is_empty() => Err(Failed::Ended),
        Ok(_) => Err(Failed::Said(answer.trim().to_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(Failed::TooSlow)
        }
        Err(error) => Err(Failed::Start(error)),
    }
}

fn send(line: &UnixStream, sockets: &[Named]) -> io::Result<()> {
    let names: Vec<&str> = sockets.iter().map(|socket| socket.name.as_str()).collect();
    let names = serde_json::to_vec(&names)?;
    if sockets.len() > MOST_SOCKETS || names.len() > MOST_NAMES {
        return Err(io::Error::other("too many listeners to hand over"));
    }
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(line, &[IoSlice::new(&names)], &mut ancillary, SendFlags::empty())?;
    if sent == names.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

impl Heir {
    /// Takes the sockets over from the process that started this one.
    ///
    /// # Errors
    ///
    /// When standard input is not that process's line.
    pub fn take_over() -> io::Result<(Self, Inheritance)> {
        let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        line.set_read_timeout(Some(PATIENCE))?;
        let mut names = vec![0; MOST_NAMES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut names)];
        let received = recvmsg(&line, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut sockets = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
        let names: Vec<String> = serde_json::from_slice(&names[..received.bytes])?;
        if names.len() != sockets.len() {
            return Err(io::Error::other("as many names as sockets were expected"));
        }
        let named = names.into_iter().zip(sockets);
        let sockets = named.map(|(name, socket)| Named { name, socket }).collect();
        Ok((Self { line: Arc::new(Mutex::new(Some(line))) }, Inheritance(sockets)))
    }

    /// Tells the old process that it can leave.
    pub fn ready(&self) {
        self.tell(READY);
    }

    /// Tells the old process why this one cannot take over.
    pub fn failed(&self, why: &str) {
        self.tell(why);
    }

    /// Says it once, and hangs up.
    fn tell(&self, word: &str) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut line) = line {
            let _ = writeln!(line, "{word}");
            // Standard input is another copy of the line: the old process must not wait for it.
            let _ = line.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Sockets that were handed over.
#[derive(Debug, Default)]
pub struct Inheritance(pub(crate) Vec<Named>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "the new process could not be started: {error}"),
            Self::Said(why) => write!(f, "the new process could not take over: {why}"),
            Self::Ended => {
                write!(f, "the new process ended before it was ready; its last lines are in the log")
            }
            Self::Left => write!(f, "a successor serves already"),
            Self::Supervised => {
                write!(f, "`cirque up` watches over this edge: stop and start the site to change its binary")
            }
            Self::TooSlow => write!(f, "the new process was not ready after {} s", PATIENCE.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_arrive_with_their_names() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        send(&ours, &[Named { name: "one".to_owned(), socket: listener.into() }]).unwrap();
        let mut bytes = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&theirs, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_eq!(&bytes[..received.bytes], b"[\"one\"]");
        let rights = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        assert_eq!(TcpListener::from(rights.unwrap()).local_addr().unwrap(), address);
    }

    #[test]
    fn only_a_process_that_says_ready_is_ready() {
        for (said, expected) in [
            ("ready\n", None),
            ("", Some("ended before it was ready")),
            ("listener `http`: could not listen\n", Some("could not take over: listener `http`")),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(said.as_bytes()).unwrap();
            drop(theirs);
            match (verdict(&ours), expected) {
                (Ok(()), None) => {}
                (Err(failed), Some(expected)) => assert!(failed.to_string().contains(expected), "{failed}"),
                (outcome, expected) => panic!("{said:?}: {outcome:?}, not {expected:?}"),
            }
        }
    }
}
