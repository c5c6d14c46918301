//! One process of a node as its supervisor sees it: started, heard, told and, when it must be, killed.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};

use super::crew::Id;
use crate::line::{self, Assignment, Order, Sign, hand_over};

/// Orders that wait to be written. A process that takes none is killed for its silence.
const MOST_ORDERS: usize = 64;

/// What a process is known to `cirque up` by: its own children end with it, and ours are not its children.
const OTHERS_MARK: &str = "CIRQUE_UP_CHILD";

/// What happened to a process.
#[derive(Debug)]
pub(super) enum Event {
    /// It said something.
    Said(Sign),
    /// It is no more; what is known of that.
    Ended(String),
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    orders: mpsc::Sender<Order>,
    killed: Arc<Notify>,
}

impl Process {
    /// Starts `program` with this assignment and a copy of the socket; what it says goes to `events`.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(super) fn start(
        id: Id,
        program: &File,
        listener: &TcpListener,
        assignment: Assignment,
        events: mpsc::Sender<(Id, Event)>,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        hand_over(&ours, listener)?;
        ours.set_nonblocking(true)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(ours)?.into_split();
        // The file that was opened when this configuration was read, whatever lies at its path by now.
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0("cirque")
            .args(["app", "serve", "--supervised"])
            .env_remove(OTHERS_MARK)
            .env_remove(cirque_shared::notify::SOCKET)
            .env_remove(cirque_shared::notify::WATCHDOG)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // Of its own group: Ctrl-C is for the supervisor, which tells the others.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let killed = Arc::new(Notify::new());
        let (orders, waiting) = mpsc::channel(MOST_ORDERS);
        tokio::spawn(tell(writer, assignment, waiting));
        tokio::spawn(follow(id, child, reader, Arc::clone(&killed), events));
        Ok(Self { pid, orders, killed })
    }

    /// Says it, unless the process takes nothing any more.
    pub(super) fn tell(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }

    pub(super) fn kill(&self) {
        self.killed.notify_one();
    }
}

async fn tell(mut line: OwnedWriteHalf, assignment: Assignment, mut orders: mpsc::Receiver<Order>) {
    if line::write(&mut line, &assignment).await.is_err() {
        return;
    }
    while let Some(order) = orders.recv().await {
        if line::write(&mut line, &order).await.is_err() {
            return;
        }
    }
}

/// Passes on what a process says, until it is no more.
async fn follow(
    id: Id,
    mut child: Child,
    mut line: OwnedReadHalf,
    killed: Arc<Notify>,
    events: mpsc::Sender<(Id, Event)>,
) {
    let hear = async {
        let mut why = None;
        // The end of the line is that of the process; a frame that makes no sense ends both.
        while let Ok(Some(sign)) = line::read(&mut line).await {
            if let Sign::Failed { why: said } = &sign {
                why = Some(said.clone());
            }
            if events.send((id, Event::Said(sign))).await.is_err() {
                break;
            }
        }
        why
    };
    let why = tokio::select! {
        why = hear => why,
        () = killed.notified() => {
            let _ = child.start_kill();
            None
        }
    };
    let status = tokio::select! {
        status = child.wait() => status,
        () = killed.notified() => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let how = why.unwrap_or_else(|| status.map_or_else(|error| error.to_string(), described));
    // Nobody hears it when the supervisor itself ends.
    let _ = events.send((id, Event::Ended(how))).await;
}

fn described(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended".to_owned(),
    }
}
