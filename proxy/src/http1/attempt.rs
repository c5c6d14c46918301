//! One attempt at a backend: a connection, the request sent, and the head of an answer awaited.

use std::future::{Future as _, poll_fn};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{self, Answer};
use super::bridge;
use super::connection::Connection;
use super::head::EndFinder;
use super::io::{Outgoing, PIECE, poll_append};
use super::lines::{Name, lines, name};
use super::relay::{Work, facts};
use super::upload::Refused;
use super::write::{self, Onward};
use crate::config::policy::{Protocol, Timeouts};
use crate::config::template::Facts;
use crate::dial::Io;
use crate::exchange::Exchange;
use crate::headers::rules::Edit;
use crate::limit::pace::Floor;
use crate::respond::Refusal;
use crate::retry::{Decision, Failure};
use crate::upstream::backend::Backend;

/// Pipelined requests are read ahead up to this, while one is answered.
const MOST_AHEAD: usize = 16 * 1024;

/// The largest head of an answer (nginx refuses above its proxy_buffer_size; this is generous).
const MOST_ANSWER_HEAD: usize = 64 * 1024;

/// Interim answers (100, 103) that one request may get.
const MOST_INTERIM: usize = 16;

/// What a head grows by on its way to a backend, usually.
const HEAD_ROOM: usize = 256;

/// A connection to a backend, in use by one attempt.
pub(super) struct Peer {
    pub(super) io: Io,
    is_reused: bool,
    pub(super) out: Outgoing,
    pub(super) input: Vec<u8>,
    /// When the attempt began.
    began: Instant,
    /// When the request was last moved along: since then the backend is waited for.
    asked: Instant,
    /// Whether the client was waited for with a part of its body.
    is_paced: bool,
    /// Whether any head was read.
    has_spoken: bool,
    /// Whether it takes no more bytes; it may still have answered.
    pub(super) is_deaf: bool,
}

/// Why an attempt or an answer ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Through the backend.
    Backend(Failure),
    /// Through the client.
    Client(Refusal),
    /// The request's own time ran out, and not through the backend.
    RanOut,
    /// The backend's status is to be replaced by another attempt's.
    Replaced,
}

impl Connection<'_> {
    /// One attempt: connects, sends, and waits for the final head of an answer that may be passed on.
    pub(super) async fn attempt(
        &mut self,
        work: &mut Work<'_>,
        exchange: &mut Exchange,
        backend: &Backend,
    ) -> Result<(Peer, Answer), Ended> {
        let mut peer = self.connect(backend, work, exchange.deadline(), exchange.began()).await?;
        exchange.connected(peer.is_reused);
        let trace = exchange.trace_onward();
        let out = &mut peer.out.bytes;
        let id = &exchange.head().id;
        out.reserve(work.request.len + HEAD_ROOM);
        let host = backend.dial.host(&backend.name);
        let edit = exchange.route().and_then(|route| {
            Edit::of(&route.config.request_headers, || {
                let facts = facts(&self.input, work.request, &work.told, exchange);
                if facts.host.is_empty() { Facts { host: host.as_bytes(), ..facts } } else { facts }
            })
        });
        let trace = trace.as_ref();
        let onward = Onward { told: &work.told, id, host, trace, target: work.target.as_deref(), edit };
        write::request(work.request, &self.input, &onward, out);
        work.upload.replay(out);
        // What came with the head leaves with the head.
        work.at += work.upload.take(&self.input[work.at..], out).map_err(of_refused)?;
        let answer = self.converse(work, &mut peer, exchange.deadline()).await?;
        if exchange.is_retryable(answer.status) {
            let situation = work.situation(false);
            if exchange.fail(Failure::Status(answer.status), situation) == Decision::Retry {
                return Err(Ended::Replaced);
            }
        }
        Ok((peer, answer))
    }

    /// A connection from the pool, or a new one.
    async fn connect(
        &mut self,
        backend: &Backend,
        work: &Work<'_>,
        deadline: Instant,
        now: Instant,
    ) -> Result<Peer, Ended> {
        if let Some(io) = backend.idle.take(now) {
            return Ok(Peer::new(io, true, now));
        }
        let most = work.attempt_timeout.unwrap_or(Duration::MAX).min(work.timeouts.connect);
        let is_cut_short = deadline < now + most;
        self.clock.set((now + most).min(deadline));
        // Boxed: most attempts find a connection in the pool.
        let mut connecting = Box::pin(dialled(backend, &work.timeouts));
        let clock = &mut self.clock;
        let connected = poll_fn(|cx| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(connected.map_err(|_| Failure::Connect));
            }
            clock.poll_ring(cx).map(|()| Err(Failure::ConnectTimeout))
        });
        let (io, is_reused) = connected.await.map_err(|failure| match failure {
            Failure::ConnectTimeout if is_cut_short => Ended::RanOut,
            failure => Ended::Backend(failure),
        })?;
        Ok(Peer::new(io, is_reused, now))
    }

    /// Sends the request and reads heads until a final one; interim ones are passed on.
    async fn converse(
        &mut self,
        work: &mut Work<'_>,
        peer: &mut Peer,
        deadline: Instant,
    ) -> Result<Answer, Ended> {
        let mut finder = EndFinder::default();
        for _ in 0..=MOST_INTERIM {
            let answer = self.head_of_answer(work, peer, &mut finder, deadline).await?;
            peer.has_spoken = true;
            if answer.status == 101 && !self.is_asked_for(work, peer, &answer) {
                return Err(Ended::Backend(Failure::Protocol));
            }
            if !answer.is_interim() {
                return Ok(answer);
            }
            // A 1.0 client does not know interim answers (RFC 9110 §15.2).
            if !work.request.is_http10 {
                write::interim(&answer, &peer.input, &mut self.out.bytes);
                self.flush().await.map_err(|()| Ended::Client(Refusal::ClientLeft))?;
            }
            peer.input.drain(..answer.len);
            finder = EndFinder::default();
        }
        Err(Ended::Backend(Failure::Protocol))
    }

    /// Whether a switch of protocols is to the one that the client named.
    fn is_asked_for(&self, work: &Work<'_>, peer: &Peer, answer: &Answer) -> bool {
        let switched =
            lines(&peer.input[answer.fields..answer.len]).find(|line| name(line.name) == Name::Upgrade);
        let asked = work.request.upgrade.clone().map(|range| &self.input[range]);
        matches!((switched, asked), (Some(line), Some(asked)) if line.value.eq_ignore_ascii_case(asked))
    }

    async fn head_of_answer(
        &mut self,
        work: &mut Work<'_>,
        peer: &mut Peer,
        finder: &mut EndFinder,
        deadline: Instant,
    ) -> Result<Answer, Ended> {
        let half_close = self.limits.half_close;
        // Outside the closure: a wake-up by itself is no progress and must not move the deadline.
        let (mut asked, mut heard) = (true, true);
        poll_fn(|cx| {
            loop {
                self.poll_upload(work, peer, cx, &mut asked)?;
                if work.upload.is_done() {
                    self.poll_watch(work, cx, half_close)?;
                }
                match answer::parse(&peer.input, finder, work.is_to_head) {
                    Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                    Ok(None) if peer.input.len() < MOST_ANSWER_HEAD => {}
                    Ok(None) | Err(answer::Broken) => {
                        return Poll::Ready(Err(Ended::Backend(Failure::Protocol)));
                    }
                }
                match poll_append(&mut peer.io, cx, PIECE, &mut peer.input) {
                    Poll::Ready(Ok(read)) if read > 0 => heard = true,
                    Poll::Ready(_) => return Poll::Ready(Err(Ended::Backend(peer.broke()))),
                    Poll::Pending => {
                        // Only now, when there is something to wait for, does the time matter.
                        if asked || heard {
                            let now = Instant::now();
                            if self.sends_too_slowly(work, peer, now) {
                                return Poll::Ready(Err(Ended::Client(Refusal::BodyTooSlow)));
                            }
                            if std::mem::take(&mut asked) {
                                peer.asked = now;
                            }
                            peer.is_paced |= work.upload.is_under_way();
                            let until = (now + self.wait_for_answer(work, peer)).min(deadline);
                            self.clock.set(peer.ends(work).map_or(until, |ends| ends.min(until)));
                            heard = false;
                        }
                        ready!(self.clock.poll_ring(cx));
                        return Poll::Ready(Err(overdue(work, peer, Instant::now(), deadline)));
                    }
                }
            }
        })
        .await
    }

    /// How long the thing that is waited for may take.
    fn wait_for_answer(&self, work: &Work<'_>, peer: &Peer) -> Duration {
        if !peer.out.is_empty() {
            work.timeouts.send
        } else if work.upload.is_under_way() && !peer.is_deaf {
            // The client is to send, or the backend to answer early: whichever may take longer.
            self.limits.body_timeout
        } else {
            work.timeouts.read
        }
    }

    /// Whether the client, where it is its body that is waited for, sends it below the floor.
    fn sends_too_slowly(&self, work: &mut Work<'_>, peer: &Peer, now: Instant) -> bool {
        if !work.upload.is_under_way() {
            return false;
        }
        if !peer.out.is_empty() || peer.is_deaf {
            work.sends.rest();
            return false;
        }
        let client = &self.limits;
        let floor = Floor { rate: client.min_body_rate, window: client.body_timeout };
        work.sends.is_too_slow(now, work.upload.read, floor)
    }

    /// Moves the request's body along as far as both sides allow.
    pub(super) fn poll_upload(
        &mut self,
        work: &mut Work<'_>,
        peer: &mut Peer,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Result<(), Ended> {
        while !peer.is_deaf {
            match peer.out.poll_send(&mut peer.io, cx, progress) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Ok(()),
                // It takes no more; it may have answered before, so the caller reads on.
                Poll::Ready(Err(_)) => {
                    (peer.out, peer.is_deaf) = (Outgoing::default(), true);
                    return Ok(());
                }
            }
            if !work.upload.is_under_way() {
                return Ok(());
            }
            if work.at == self.input.len() {
                self.input.truncate(work.request.len);
                work.at = work.request.len;
                match poll_append(&mut self.io, cx, PIECE, &mut self.input) {
                    Poll::Ready(Ok(read)) if read > 0 => *progress = true,
                    Poll::Ready(_) => return Err(Ended::Client(Refusal::ClientLeft)),
                    Poll::Pending => return Ok(()),
                }
            }
            work.at += work.upload.take(&self.input[work.at..], &mut peer.out.bytes).map_err(of_refused)?;
        }
        Ok(())
    }

    /// Notices a client that leaves while its answer is awaited; what it sends ahead is kept.
    pub(super) fn poll_watch(
        &mut self,
        work: &Work<'_>,
        cx: &mut Context<'_>,
        half_close: bool,
    ) -> Result<(), Ended> {
        while !self.is_half_closed && self.input.len() - work.at < MOST_AHEAD {
            match poll_append(&mut self.io, cx, MOST_AHEAD, &mut self.input) {
                Poll::Ready(Ok(0)) if half_close => self.is_half_closed = true,
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ended::Client(Refusal::ClientLeft)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

/// A connection that speaks HTTP/1.1 on our side, and whether the one below it was there before.
async fn dialled(backend: &Backend, timeouts: &Timeouts) -> std::io::Result<(Io, bool)> {
    let dial = &backend.dial;
    match dial.reach.protocol {
        Protocol::Http1 => Ok((dial.open().await?, false)),
        Protocol::Http2 => {
            let share = dial.http2.share(dial, timeouts.keepalive).await?;
            let is_reused = share.is_reused;
            let scheme = if dial.trust.is_some() { "https" } else { "http" };
            Ok((Io::Bridge(bridge::build(share, scheme)), is_reused))
        }
    }
}

impl Peer {
    fn new(io: Io, is_reused: bool, now: Instant) -> Self {
        let (out, input) = (Outgoing::default(), Vec::new());
        Self {
            io,
            is_reused,
            out,
            input,
            began: now,
            asked: now,
            is_paced: false,
            has_spoken: false,
            is_deaf: false,
        }
    }

    /// When this attempt has taken too long. A client that is slow with its body stops that clock.
    fn ends(&self, work: &Work<'_>) -> Option<Instant> {
        let timeout = work.attempt_timeout.filter(|_| !work.upload.is_under_way() || self.is_deaf)?;
        Some(if self.is_paced { self.asked } else { self.began } + timeout)
    }

    /// Whether the whole request went out, and the connection is as good as before.
    pub(super) fn is_settled(&self) -> bool {
        self.out.is_empty() && !self.is_deaf
    }

    /// What it means that the connection broke before a final head.
    fn broke(&self) -> Failure {
        // Only a connection that says nothing at all was closed while it was idle.
        match (&self.input[..], self.is_reused && !self.has_spoken) {
            ([], true) => Failure::StaleConnection,
            ([], false) => Failure::Reset,
            (input, _) if b"HTTP/1.".starts_with(&input[..input.len().min(7)]) => Failure::Reset,
            _ => Failure::Protocol,
        }
    }
}

/// Whose fault it is that the clock rang.
///
/// When it was the request's deadline, the backend is blamed only if it was waited for during half of that time:
/// a client that takes its time with a body must not make a backend look slow.
fn overdue(work: &Work<'_>, peer: &Peer, now: Instant, deadline: Instant) -> Ended {
    let awaited = now.saturating_duration_since(peer.asked);
    if now >= deadline && awaited * 2 < work.total {
        Ended::RanOut
    } else if now < deadline && peer.ends(work).is_some_and(|ends| now >= ends) {
        Ended::Backend(Failure::AttemptTimeout)
    } else if !peer.out.is_empty() {
        Ended::Backend(Failure::WriteTimeout)
    } else if work.upload.is_under_way() && !peer.is_deaf {
        Ended::Client(Refusal::BodyTooSlow)
    } else {
        Ended::Backend(Failure::ReadTimeout)
    }
}

fn of_refused(refused: Refused) -> Ended {
    Ended::Client(match refused {
        Refused::TooLarge => Refusal::BodyTooLarge,
        Refused::Malformed => Refusal::Malformed,
    })
}
