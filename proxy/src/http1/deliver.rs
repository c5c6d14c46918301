//! Passes a backend's answer on to the client, body and all, and says what becomes of both connections.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::answer::{Answer, BodyLength};
use super::attempt::{Ended, Peer};
use super::connection::{Connection, Turn};
use super::download::{Download, Shown};
use super::io::{PIECE, poll_piece};
use super::lines::lines;
use super::relay::{Work, facts};
use super::tunnel;
use super::write::{self, Changes, Then};
use crate::compress::encoder::Encoder;
use crate::compress::{self, Plan};
use crate::exchange::Exchange;
use crate::headers::rules::Edit;
use crate::limit::pace::Floor;
use crate::respond::Refusal;
use crate::retry::Failure;
use crate::upstream::backend::Backend;

/// What an answer's head grows by on its way to a client, usually.
const ANSWER_ROOM: usize = 128;

impl Connection<'_> {
    /// Passes an answer on.
    pub(super) async fn answer(
        &mut self,
        work: &mut Work<'_>,
        exchange: &mut Exchange,
        mut peer: Peer,
        answer: &Answer,
        backend: &Backend,
    ) -> Turn {
        let mut download = Download::new(answer.body, work.request.is_http10);
        if let Some(route) = exchange.route() {
            download = download.with_trailers(&route.config.trailers);
        }
        let plan = self.plan(work, exchange, &peer, answer);
        let coder = plan.coding().filter(|_| !matches!(answer.body, BodyLength::None | BodyLength::Known(0)));
        if let Some(coder) = coder.and_then(|coding| Encoder::new(coding).ok()) {
            download.compress(coder, work.request.is_http10);
        }
        // What came of the body with the head is looked at before anything leaves: an answer that is broken
        // already can still be replaced by one of ours.
        let mut begun = Vec::new();
        let is_tunnel = answer.status == 101;
        let taken = if is_tunnel { Ok(0) } else { download.take(&peer.input[answer.len..], &mut begun) };
        let Ok(taken) = taken else {
            exchange.fail(Failure::Protocol, work.situation(true));
            return self.refuse_in_body(work, exchange, Refusal::BrokenAnswer).await;
        };
        exchange.answering(answer.status);
        let then = match download.shown {
            _ if is_tunnel => Then::Tunnel,
            Shown::UntilClose => Then::Close,
            Shown::AsIs | Shown::Chunked => self.then(work.request, work.upload.is_done()),
        };
        // Head and body leave together.
        self.out.bytes.reserve(peer.input.len() + ANSWER_ROOM);
        let edit = exchange.route().and_then(|route| {
            Edit::of(&route.config.response_headers, || {
                facts(&self.input, work.request, &work.told, exchange)
            })
        });
        let how = (download.shown, then);
        let changes = Changes { id: &exchange.head().id, plan, edit, hsts: &self.origin.door.hsts };
        write::answer(answer, &peer.input, how, &changes, &mut self.out.bytes);
        self.out.bytes.append(&mut begun);
        if is_tunnel {
            self.out.bytes.extend_from_slice(&peer.input[answer.len..]);
            peer.out.bytes.extend_from_slice(&self.input[work.at..]);
            // Boxed: what a tunnel needs is not held by every exchange.
            return Box::pin(self.tunnel(exchange, peer)).await;
        }
        let relayed = self.download(work, &mut peer, &mut download, exchange.deadline()).await;
        (exchange.bytes_in, exchange.bytes_out) = (work.upload.read, download.sent);
        match relayed {
            Ok(stray) => {
                exchange.succeed();
                let is_whole = answer.len + taken == peer.input.len() && !stray && work.upload.is_done();
                if answer.keep_alive && is_whole && peer.is_settled() {
                    backend.idle.put(peer.io, work.timeouts.keepalive, Instant::now());
                }
            }
            // Part of the answer is out: closing is the only way to say that it is not whole.
            Err(ended) => {
                match ended {
                    Ended::Backend(failure) => drop(exchange.fail(failure, work.situation(true))),
                    Ended::Client(refusal) => exchange.refuse(refusal),
                    Ended::RanOut | Ended::Replaced => {}
                }
                return Turn::Cut;
            }
        }
        match then {
            Then::Close | Then::Tunnel => self.end_of(work.upload.is_done(), work.at),
            Then::KeepAlive | Then::KeepAliveSaid => Turn::Next { used: work.at },
        }
    }

    /// Whether the answer is compressed.
    fn plan(&self, work: &Work<'_>, exchange: &Exchange, peer: &Peer, answer: &Answer) -> Plan {
        let Some(route) = exchange.route().filter(|route| !route.config.compress.encodings.is_empty()) else {
            return Plan::AsIs;
        };
        let mut facts =
            compress::Facts { status: answer.status, length: answer.announced, ..Default::default() };
        for line in lines(&peer.input[answer.fields..answer.len]) {
            facts.is_fixed |= compress::fixes(line.name, line.value);
            if line.name.eq_ignore_ascii_case(b"content-type") {
                facts.content_type = line.value;
            }
        }
        let asked = lines(&self.input[work.request.fields..work.request.len]);
        let accepts = asked.filter(|line| line.name.eq_ignore_ascii_case(b"accept-encoding"));
        Plan::of(&route.config.compress, &facts, accepts.map(|line| line.value))
    }

    /// Moves the answer's body along to its end; the request's may still be under way. Says whether the backend
    /// sent more than its answer.
    async fn download(
        &mut self,
        work: &mut Work<'_>,
        peer: &mut Peer,
        download: &mut Download,
        deadline: Instant,
    ) -> Result<bool, Ended> {
        let mut stray = false;
        // Outside the closure: a wake-up by itself is no progress and must not move the deadline.
        let mut progress = true;
        poll_fn(|cx| {
            loop {
                match self.out.poll_send(&mut self.io, cx, &mut progress) {
                    Poll::Ready(Ok(())) if download.is_done() => return Poll::Ready(Ok(stray)),
                    Poll::Ready(Ok(())) => match self.poll_body(peer, download, cx, &mut stray) {
                        Poll::Ready(Ok(())) => {
                            progress = true;
                            continue;
                        }
                        Poll::Ready(Err(ended)) => return Poll::Ready(Err(ended)),
                        // The backend pauses: what the coder holds back is of use now (server-sent events).
                        Poll::Pending => match download.flush(&mut self.out.bytes) {
                            Ok(true) => continue,
                            Ok(false) => {}
                            Err(_) => return Poll::Ready(Err(Ended::Backend(Failure::Protocol))),
                        },
                    },
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Ended::Client(Refusal::ClientLeft))),
                    Poll::Pending => {}
                }
                // What the client still sends must not move the backend's deadline; its end starts a new wait.
                let was_uploading = is_uploading(work, peer);
                let is_moving = self.poll_rest_of_upload(work, peer, cx);
                progress |= was_uploading && !is_uploading(work, peer);
                if is_moving {
                    continue;
                }
                // Only now, when there is something to wait for, does the time matter.
                if std::mem::take(&mut progress) {
                    let now = Instant::now();
                    if self.takes_too_slowly(work, now) {
                        return Poll::Ready(Err(Ended::Client(Refusal::ReaderTooSlow)));
                    }
                    self.clock.set(self.wait_for_body(work, peer, deadline, now));
                }
                ready!(self.clock.poll_ring(cx));
                let client = Ended::Client(Refusal::ClientLeft);
                let backend = Ended::Backend(Failure::ReadTimeout);
                return Poll::Ready(Err(if self.out.is_empty() { backend } else { client }));
            }
        })
        .await
    }

    /// Whether the client, where it is what is waited for, takes its answer below the floor.
    fn takes_too_slowly(&self, work: &mut Work<'_>, now: Instant) -> bool {
        if self.out.is_empty() {
            work.takes.rest();
            return false;
        }
        let client = &self.limits;
        let floor = Floor { rate: client.min_send_rate, window: client.send_timeout };
        work.takes.is_too_slow(now, self.out.total, floor)
    }

    /// Until when the next piece may be awaited.
    fn wait_for_body(&self, work: &Work<'_>, peer: &Peer, deadline: Instant, now: Instant) -> Instant {
        if !self.out.is_empty() {
            now + self.limits.send_timeout
        } else if is_uploading(work, peer) {
            // A backend that is still being told its request may be silent, within the request's time.
            (now + work.timeouts.read).max(deadline)
        } else {
            now + work.timeouts.read
        }
    }

    /// Goes on with a request's body while its answer is under way; says whether it moved.
    fn poll_rest_of_upload(&mut self, work: &mut Work<'_>, peer: &mut Peer, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if is_uploading(work, peer) {
            // A body that breaks off now no longer matters to the answer, but its connections are not used again.
            if self.poll_upload(work, peer, cx, &mut progress).is_err() {
                work.upload.abandon();
            }
        }
        progress
    }

    /// Reads one piece of the answer's body and puts it, framed for the client, on its way.
    fn poll_body(
        &mut self,
        peer: &mut Peer,
        download: &mut Download,
        cx: &mut Context<'_>,
        stray: &mut bool,
    ) -> Poll<Result<(), Ended>> {
        let out = &mut self.out.bytes;
        let read = poll_piece(&mut peer.io, cx, PIECE, |piece| {
            if piece.is_empty() {
                return download.end_of_input(out).map_err(|_| Failure::Reset);
            }
            let taken = download.take(piece, out).map_err(|_| Failure::Protocol)?;
            *stray |= taken < piece.len();
            Ok(())
        });
        match ready!(read) {
            Ok(Ok(())) => Poll::Ready(Ok(())),
            Ok(Err(failure)) => Poll::Ready(Err(Ended::Backend(failure))),
            Err(_) => Poll::Ready(Err(Ended::Backend(Failure::Reset))),
        }
    }

    /// Sends the head of a 101 and then moves bytes both ways until one side ends or both are silent too long.
    async fn tunnel(&mut self, exchange: &mut Exchange, mut peer: Peer) -> Turn {
        let idle = self.limits.tunnel_timeout;
        let ended = tunnel::run(
            tunnel::Side { io: &mut self.io, out: &mut self.out },
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

/// Whether the request's body is still on its way to the backend.
fn is_uploading(work: &Work<'_>, peer: &Peer) -> bool {
    !peer.is_deaf && (work.upload.is_under_way() || !peer.out.is_empty())
}
