//! Passes a backend's answer on to the client, body and all, and says what becomes of both connections.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::answer::Answer;
use super::attempt::{Ended, Peer};
use super::connection::{Connection, Turn};
use super::download::{Download, Shown};
use super::io::{PIECE, poll_piece};
use super::relay::Work;
use super::tunnel;
use super::write::{self, Then};
use crate::exchange::Exchange;
use crate::respond::Refusal;
use crate::retry::Failure;
use crate::upstream::backend::Backend;

/// What an answer's head grows by on its way to a client, usually.
const ANSWER_ROOM: usize = 128;

impl Connection<'_> {
    /// Passes an answer on.
    pub(super) async fn answer(
        &mut self,
        mut work: Work<'_>,
        mut exchange: Exchange,
        mut peer: Peer,
        answer: Answer,
        backend: &Backend,
    ) -> Turn {
        exchange.answering(answer.status);
        let mut download = Download::new(answer.body, work.request.is_http10);
        let then = match answer.status {
            101 => Then::Tunnel,
            _ if download.shown == Shown::UntilClose => Then::Close,
            _ => self.then(work.request, work.upload.is_done()),
        };
        // Head and body leave together.
        self.out.bytes.reserve(peer.input.len() + ANSWER_ROOM);
        write::answer(&answer, &peer.input, download.shown, then, &exchange.head().id, &mut self.out.bytes);
        let mut used = answer.len;
        if then == Then::Tunnel {
            self.out.bytes.extend_from_slice(&peer.input[used..]);
            peer.out.bytes.extend_from_slice(&self.input[work.at..]);
            return self.tunnel(exchange, peer).await;
        }
        let relayed = match download.take(&peer.input[used..], &mut self.out.bytes) {
            Ok(taken) => {
                used += taken;
                self.download(&mut work, &mut peer, &mut download).await
            }
            Err(_) => Err(Ended::Backend(Failure::Protocol)),
        };
        (exchange.bytes_in, exchange.bytes_out) = (work.upload.read, download.sent);
        match relayed {
            Ok(stray) => {
                exchange.succeed();
                let is_clean =
                    answer.keep_alive && used == peer.input.len() && !stray && work.upload.is_done();
                if is_clean && peer.out.is_empty() {
                    self.pool.put(backend.config.address, peer.io, work.timeouts.keepalive, Instant::now());
                }
            }
            Err(Ended::Backend(failure)) => {
                exchange.fail(failure, work.situation(true));
                // Part of the answer is out: closing is the only way to say that it is not whole.
                return Turn::Close;
            }
            Err(Ended::Client(refusal)) => {
                exchange.refuse(refusal);
                return Turn::Close;
            }
            Err(Ended::Replaced) => return Turn::Close,
        }
        match then {
            Then::Close | Then::Tunnel => Turn::Linger,
            Then::KeepAlive | Then::KeepAliveSaid => Turn::Next { used: work.at },
        }
    }

    /// Moves the answer's body along to its end; the request's may still be under way. Says whether the backend
    /// sent more than its answer.
    async fn download(
        &mut self,
        work: &mut Work<'_>,
        peer: &mut Peer,
        download: &mut Download,
    ) -> Result<bool, Ended> {
        let mut stray = false;
        // The usual case: all of it came with the head, and leaves in one write.
        // Outside the closure: a wake-up by itself is no progress and must not move the deadline.
        let mut progress = true;
        poll_fn(|cx| {
            loop {
                if progress {
                    let send = self.edge.config.client.send_timeout;
                    let wait = if self.out.is_empty() { work.timeouts.read } else { send };
                    self.clock.set(Instant::now() + wait);
                    progress = false;
                }
                match self.out.poll_send(&mut *self.io, cx, &mut progress) {
                    Poll::Ready(Ok(())) if download.is_done() => return Poll::Ready(Ok(stray)),
                    Poll::Ready(Ok(())) => {
                        let read = self.poll_body(peer, download, cx, &mut stray);
                        match read {
                            Poll::Ready(Ok(())) => progress = true,
                            Poll::Ready(Err(ended)) => return Poll::Ready(Err(ended)),
                            Poll::Pending => {}
                        }
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Ended::Client(Refusal::ClientLeft))),
                    Poll::Pending => {}
                }
                if !work.upload.is_done() {
                    // A body that breaks off now no longer matters to the answer.
                    let _ = self.poll_upload(work, peer, cx, &mut progress);
                }
                if !progress {
                    ready!(self.clock.poll_ring(cx));
                    let is_clients = !self.out.is_empty();
                    let client = Ended::Client(Refusal::ClientLeft);
                    return Poll::Ready(Err(if is_clients {
                        client
                    } else {
                        Ended::Backend(Failure::ReadTimeout)
                    }));
                }
            }
        })
        .await
    }

    /// Reads one piece of the answer's body and passes it on, straight through where its bytes need no framing.
    fn poll_body(
        &mut self,
        peer: &mut Peer,
        download: &mut Download,
        cx: &mut Context<'_>,
        stray: &mut bool,
    ) -> Poll<Result<(), Ended>> {
        let Self { io, out, .. } = self;
        let read = poll_piece(&mut peer.io, cx, PIECE, |piece| {
            if piece.is_empty() {
                return download.end_of_input(&mut out.bytes).map_err(|_| Failure::Reset);
            }
            let passes = usize::try_from(download.passes()).unwrap_or(usize::MAX).min(piece.len());
            if passes == 0 {
                let taken = download.take(piece, &mut out.bytes).map_err(|_| Failure::Protocol)?;
                *stray |= taken < piece.len();
                return Ok(());
            }
            *stray |= passes < piece.len();
            download.passed(passes);
            out.bytes.extend_from_slice(&piece[..passes]);
            Ok(())
        });
        let _ = io;
        match ready!(read) {
            Ok(Ok(())) => Poll::Ready(Ok(())),
            Ok(Err(failure)) => Poll::Ready(Err(Ended::Backend(failure))),
            Err(_) => Poll::Ready(Err(Ended::Backend(Failure::Reset))),
        }
    }

    /// Sends the head of a 101 and then moves bytes both ways until one side ends or both are silent too long.
    async fn tunnel(&mut self, mut exchange: Exchange, mut peer: Peer) -> Turn {
        let idle = self.edge.config.client.tunnel_timeout;
        let ended = tunnel::run(
            tunnel::Side { io: &mut *self.io, out: &mut self.out },
            tunnel::Side { io: &mut peer.io, out: &mut peer.out },
            &mut self.clock,
            idle,
        )
        .await;
        (exchange.bytes_in, exchange.bytes_out) = (ended.up, ended.down);
        exchange.succeed();
        Turn::Close
    }
}
