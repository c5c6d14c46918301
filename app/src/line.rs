//! Decides what a supervisor and the processes it starts say to each other, and how the listening socket goes along.
//!
//! The line is a pair of connected sockets; a process has its end as standard input. The listening socket comes first,
//! then frames of JSON: their length in four bytes, and the text. When one side dies, the other reads the end.

mod upward;

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::config::{Overrides, Written};

pub use upward::Upward;

/// The largest frame: a configuration, or the metrics of one process.
const LARGEST: usize = 16 << 20;

/// How long a process waits for what it is to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process is to do: the first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The configuration, as the supervisor has read and checked it.
    pub file: Written,
    /// What its command line says over that.
    pub said: Overrides,
    /// Which of the processes this is, counted from 1.
    pub slot: u16,
    /// Requests after which it is to be replaced; 0 for never.
    pub quota: u64,
    /// How often it shows a sign of life.
    pub beat: Duration,
}

/// What a supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Accept connections from now on.
    Go,
    /// Another process has taken over: finish what is held, and end.
    Leave,
    /// The node stops.
    Stop,
    /// Say what was counted.
    Report {
        /// Which question this is.
        round: u64,
    },
    /// What all processes have counted, in answer to [`Sign::Ask`].
    Total {
        /// In the text format of Prometheus.
        text: String,
    },
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// Everything is open; [`Order::Go`] is what is missing.
    Ready,
    /// It cannot start, and ends.
    Failed {
        /// For the operator.
        why: String,
    },
    /// A sign of life.
    Beat {
        /// Requests so far.
        requests: u64,
        /// What was counted so far.
        metrics: String,
    },
    /// What was counted, in answer to [`Order::Report`].
    Report {
        /// Which question this answers.
        round: u64,
        /// In the text format of Prometheus.
        metrics: String,
    },
    /// What have all processes counted?
    Ask,
}

/// A process's end of the line, with what came first.
#[derive(Debug)]
pub struct Hired {
    /// The line itself.
    pub line: UnixStream,
    /// The socket to accept from.
    pub listener: TcpListener,
    /// What to do.
    pub assignment: Assignment,
}

impl Hired {
    /// Takes what the supervisor handed over. Blocks; to be called before anything else runs.
    ///
    /// # Errors
    ///
    /// When standard input is not a supervisor's line, or nothing comes in time.
    pub fn take() -> io::Result<Self> {
        let mut line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        line.set_read_timeout(Some(PATIENCE))?;
        let listener = receive(&line)?;
        let mut length = [0; 4];
        line.read_exact(&mut length)?;
        let mut text = vec![0; bounded(length)?];
        line.read_exact(&mut text)?;
        let assignment = serde_json::from_slice(&text)?;
        line.set_read_timeout(None)?;
        Ok(Self { line, listener, assignment })
    }

    /// Says why this process cannot start. The supervisor may be gone; then nobody wants to know.
    pub fn refuse(mut self, why: String) {
        use std::io::Write as _;
        if let Ok(frame) = frame(&Sign::Failed { why }) {
            let _ = self.line.write_all(&frame);
        }
    }
}

/// Hands a listening socket over, before any frame.
///
/// # Errors
///
/// Those of the system.
pub fn hand_over(line: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    let sockets = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
    // A socket travels with at least one byte.
    sendmsg(line, &[IoSlice::new(b"L")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn receive(line: &UnixStream) -> io::Result<TcpListener> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(line, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let socket: Option<OwnedFd> = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    socket.map(TcpListener::from).ok_or_else(|| io::Error::other("no listening socket came over the line"))
}

/// Reads one frame; `None` at the end of the line.
///
/// # Errors
///
/// Those of the system; a frame that is too large, cut off or not what was expected.
pub async fn read<T: DeserializeOwned>(line: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    if line.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    line.read_exact(&mut length[1..]).await?;
    let mut text = vec![0; bounded(length)?];
    line.read_exact(&mut text).await?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Writes one frame.
///
/// # Errors
///
/// Those of the system; a frame that is too large.
pub async fn write(line: &mut (impl AsyncWrite + Unpin), said: &impl Serialize) -> io::Result<()> {
    line.write_all(&frame(said)?).await
}

fn frame(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, said)?;
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
    bounded(length)?;
    frame[..4].copy_from_slice(&length);
    Ok(frame)
}

fn bounded(length: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(io::Error::other(format!("a frame of {length} bytes, at most {LARGEST} are taken")));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_arrives_in_order_and_then_the_end() {
        let (mut ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let said = [Order::Go, Order::Report { round: 7 }, Order::Total { text: "a_total 1\n".to_owned() }];
        for order in &said {
            write(&mut ours, order).await.unwrap();
        }
        drop(ours);
        for order in said {
            assert_eq!(read::<Order>(&mut theirs).await.unwrap(), Some(order));
        }
        assert_eq!(read::<Order>(&mut theirs).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_large_or_cut_off_or_of_another_kind_is_an_error() {
        let mut too_large: &[u8] = &[0xff, 0xff, 0xff, 0xff];
        assert!(read::<Order>(&mut too_large).await.unwrap_err().to_string().contains("at most"));
        let mut cut: &[u8] = &[0, 0, 0, 9, b'"'];
        assert_eq!(read::<Order>(&mut cut).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut other: &[u8] = &frame(&Sign::Ask).unwrap();
        assert!(read::<Order>(&mut other).await.is_err());
    }

    #[test]
    fn the_socket_arrives_and_listens_where_it_did() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        hand_over(&ours, &listener).unwrap();
        let received = receive(&theirs).unwrap();
        assert_eq!(received.local_addr().unwrap(), listener.local_addr().unwrap());
    }
}
