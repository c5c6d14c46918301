//! One connection of a client: waits for a head, has it answered, and decides whether there is a next one.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use cirque_shared::request_id;
use cirque_shared::shutdown::Guard;
use cirque_shared::trace::Trace;
use tokio::io::AsyncWrite as _;
use tokio::time::Instant;

use super::PREFACE;
use super::head::{self, EndFinder, Request, Rule};
use super::io::{Clock, Outgoing, poll_append, poll_piece};
use super::lines::{Name, lines, name};
use super::refuse::refusal_of;
use super::write::{Then, Told};
use crate::access_log::combined::Said;
use crate::config::policy::Client;
use crate::door::Origin;
use crate::downstream::Downstream;
use crate::edge::Edge;
use crate::exchange::Head;
use crate::headers::{Forwarded, forwarded};
use crate::respond::Refusal;

/// After an answer to a request that was not read to its end: how long and how much is still read, so that the
/// client gets the answer before a reset.
const LINGER: Duration = Duration::from_secs(2);
const MOST_LINGERED: usize = 1024 * 1024;

/// A client's connection.
pub(crate) struct Connection<'a> {
    pub(super) edge: &'a Arc<Edge>,
    pub(super) io: Downstream,
    /// The limits of the client's side: taken when waiting for a head begins, and again when it is whole.
    pub(super) limits: Client,
    /// The current head, then what was read behind it. Empty, and without memory, while the client is idle.
    pub(super) input: Vec<u8>,
    pub(super) out: Outgoing,
    pub(super) clock: Clock,
    /// Whether the client has closed its half.
    pub(super) is_half_closed: bool,
    pub(super) origin: &'a Origin,
    /// Whether the client may begin with HTTP/2 instead.
    may_switch: bool,
    /// Held from the first byte of a request to the end of its answer.
    in_flight: Option<Guard>,
    /// What backends are told about a peer that is not a trusted proxy.
    pub(super) plainly: Arc<Told>,
    served: u32,
}

/// What a connection does after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Waits for the next request; so many bytes of the input are used up.
    Next { used: usize },
    /// Is closed; the client may still be sending, so it is read for a moment.
    Linger,
    /// Is closed at once, in order.
    Close,
    /// Is cut: an answer is not whole, and under TLS the client must see that it was cut off.
    Cut,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Over,
    /// It is HTTP/2, and for others to carry on; its input was not touched.
    Http2,
}

/// What waiting for a head came to.
enum Waited {
    Head(Request),
    /// The preface of HTTP/2.
    Http2,
    /// Nothing more comes, and nothing was begun.
    Over,
    /// What came cannot be served.
    Refused(Refusal, Option<Rule>),
}

impl<'a> Connection<'a> {
    pub(super) fn new(edge: &'a Arc<Edge>, io: Downstream, origin: &'a Origin, may_switch: bool) -> Self {
        let told = forwarded(origin.peer, &[], "", "", origin.door.is_tls());
        let limits = edge.client();
        let clock = Clock::new(limits.header_timeout);
        Self {
            edge,
            io,
            limits,
            input: Vec::new(),
            out: Outgoing::default(),
            clock,
            is_half_closed: false,
            origin,
            may_switch,
            in_flight: None,
            plainly: Arc::new(Told::new(&told)),
            served: 0,
        }
    }

    /// Serves requests until the connection ends.
    pub(super) async fn serve(&mut self) -> End {
        loop {
            let request = match self.next_head().await {
                Waited::Head(request) => request,
                Waited::Http2 => return End::Http2,
                Waited::Over => return self.say_goodbye().await,
                Waited::Refused(refusal, rule) => {
                    Box::pin(self.refuse_head(refusal, rule)).await;
                    return self.linger().await;
                }
            };
            self.served += 1;
            // A reload may have come while the request was waited for.
            self.limits = self.edge.client();
            // Boxed: what an exchange needs is not held by connections that wait.
            let turn = Box::pin(self.exchange(&request)).await;
            match turn {
                // Nothing is held while the client is idle.
                Turn::Next { used } if used == self.input.len() => {
                    (self.input, self.out) = (Vec::new(), Outgoing::default());
                    self.in_flight = None;
                }
                Turn::Next { used } => drop(self.input.drain(..used)),
                Turn::Linger => return self.linger().await,
                Turn::Close => return self.say_goodbye().await,
                Turn::Cut => return End::Over,
            }
        }
    }

    /// Waits for a whole head, within the time for one.
    async fn next_head(&mut self) -> Waited {
        self.limits = self.edge.client();
        let client = self.limits;
        let (mut finder, mut skipped) = (EndFinder::default(), 0);
        // The first request has a head's time from the start; later ones may first be waited for.
        let wait = if self.served == 0 { client.header_timeout } else { client.keepalive_timeout };
        let mut is_begun = !self.input.is_empty();
        if is_begun {
            self.begin();
        }
        self.clock.set(Instant::now() + if is_begun { client.header_timeout } else { wait });
        // Whether the clock is set for the head, and not for the wait before it.
        let mut is_due = is_begun || self.served == 0;
        loop {
            let skip = head::leading_empty_lines(&self.input, skipped);
            if skip > 0 {
                self.input.drain(..skip);
                (finder, skipped) = (EndFinder::default(), skipped + skip);
            }
            match finder.find(&self.input) {
                Ok(Some(end)) if end <= client.max_head_size => {
                    let parsed = head::parse(&self.input[..end]);
                    return match parsed.and_then(|head| head.within(client.max_headers, client.max_target)) {
                        Ok(_) if !self.origin.door.config.protocols.http1 => {
                            Waited::Refused(Refusal::Version, Some(Rule::Version))
                        }
                        Ok(request) => Waited::Head(request),
                        Err(Rule::Version) if self.is_http2_preface() => Waited::Http2,
                        Err(rule) => Waited::Refused(refusal_of(rule), Some(rule)),
                    };
                }
                Ok(None) if self.input.len() < client.max_head_size => {}
                Ok(_) => {
                    let line = memchr::memchr(b'\n', &self.input).unwrap_or(self.input.len());
                    let is_line = line >= client.max_head_size;
                    let rule = if is_line { Rule::TargetTooLong } else { Rule::TooLarge };
                    return Waited::Refused(refusal_of(rule), Some(rule));
                }
                Err(rule) => return Waited::Refused(refusal_of(rule), Some(rule)),
            }
            if is_begun && !is_due {
                // Most heads come whole, and need no deadline.
                self.clock.set(Instant::now() + client.header_timeout);
                is_due = true;
            }
            match self.more(client.max_head_size).await {
                Some(0) if is_begun => return Waited::Refused(Refusal::ClientLeft, None),
                Some(0) => return Waited::Over,
                Some(_) if !is_begun => {
                    (is_begun, is_due) = (true, self.served == 0);
                    self.begin();
                }
                Some(_) => {}
                None if is_begun => return Waited::Refused(Refusal::HeadTooSlow, None),
                None => return Waited::Over,
            }
        }
    }

    /// Whether the client begins the connection with HTTP/2, and may.
    fn is_http2_preface(&self) -> bool {
        self.may_switch && self.served == 0 && self.input.starts_with(PREFACE)
    }

    /// A request has begun: a stop waits for its end.
    fn begin(&mut self) {
        if self.in_flight.is_none() {
            self.in_flight = Some(self.edge.in_flight.enter());
        }
    }

    /// Reads more of the input: how much, 0 at the end or on an error, `None` when the clock rings first.
    async fn more(&mut self, most: usize) -> Option<usize> {
        let Self { io, clock, input, .. } = self;
        poll_fn(|cx| {
            if let Poll::Ready(read) = poll_append(io, cx, most, input) {
                return Poll::Ready(Some(read.unwrap_or(0)));
            }
            clock.poll_ring(cx).map(|()| None)
        })
        .await
    }

    /// What the head says, for the record.
    pub(super) fn facts(&self, request: &Request, told: &Told) -> Head {
        let text = |range: &std::ops::Range<usize>| {
            if self.edge.access_log.is_on() {
                String::from_utf8_lossy(&self.input[range.clone()]).into_owned()
            } else {
                String::new()
            }
        };
        let given = request.id.clone().map(|id| &self.input[id]).filter(|id| request_id::is_acceptable(id));
        let id = given.map_or_else(request_id::generate, |id| String::from_utf8_lossy(id).into_owned());
        let method = String::from_utf8_lossy(&self.input[request.method.clone()]).into_owned();
        let is_idempotent =
            matches!(method.as_str(), "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE");
        Head {
            id,
            client: told.client,
            door: Some(Arc::clone(&self.origin.door)),
            host: text(&request.host),
            path: text(&request.path),
            method,
            is_idempotent,
            trace: self.edge.site().config.trace_context.then(|| {
                let given = request.trace_parent.clone();
                self.edge.traces.decide(Trace::of(given.map(|range| &self.input[range])))
            }),
            said: self.edge.access_log.is_combined().then(|| {
                let line = &self.input[..request.fields - b"\r\n".len()];
                Box::new(Said::of(line, |name| self.value_of(request, name)))
            }),
        }
    }

    /// What backends are told about this request's client.
    pub(super) fn told(&self, request: &Request) -> Arc<Told> {
        let site = self.edge.site();
        let trusted = &site.config.trusted_proxies;
        if trusted.is_empty() {
            return Arc::clone(&self.plainly);
        }
        let fields = &self.input[request.fields..request.len];
        let joined = |wanted: Name| {
            let values = lines(fields).filter(|line| name(line.name) == wanted);
            values.map(|line| String::from_utf8_lossy(line.value)).collect::<Vec<_>>().join(",")
        };
        let chain = joined(Name::ForwardedFor);
        let told = self.forwarded(trusted, &chain, &joined(Name::ForwardedProto));
        Arc::new(Told::new(&told))
    }

    fn forwarded(&self, trusted: &[ipnet::IpNet], chain: &str, proto: &str) -> Forwarded {
        forwarded(self.origin.peer, trusted, chain, proto, self.origin.door.is_tls())
    }

    /// Whether the connection may be used for another request after this one.
    pub(super) fn may_go_on(&self, request: &Request) -> bool {
        let client = &self.limits;
        request.keep_alive
            && self.served < client.keepalive_requests
            && !client.keepalive_timeout.is_zero()
            && !self.is_half_closed
            && !self.edge.is_draining()
            && !self.origin.door.is_closed()
    }

    /// How the connection goes on after an answer, and how that is said.
    pub(super) fn then(&self, request: &Request, is_read: bool) -> Then {
        match (self.may_go_on(request) && is_read, request.is_http10) {
            (false, _) => Then::Close,
            (true, false) => Then::KeepAlive,
            (true, true) => Then::KeepAliveSaid,
        }
    }

    /// How a connection ends after its last answer: at once where the client has nothing more under way.
    pub(super) fn end_of(&self, is_read: bool, used: usize) -> Turn {
        if is_read && used == self.input.len() { Turn::Close } else { Turn::Linger }
    }

    /// Sends what is on its way out, within the time for one write.
    pub(super) async fn flush(&mut self) -> Result<(), ()> {
        let send_timeout = self.limits.send_timeout;
        let Self { io, clock, out, .. } = self;
        let mut progress = true;
        poll_fn(|cx| {
            if let Poll::Ready(sent) = out.poll_send(io, cx, &mut progress) {
                return Poll::Ready(sent.map_err(|_| ()));
            }
            if std::mem::take(&mut progress) {
                clock.set(Instant::now() + send_timeout);
            }
            clock.poll_ring(cx).map(|()| Err(()))
        })
        .await
    }

    /// Ends the connection so that the client can read the last answer: our half is closed, and what still comes
    /// is read for a moment. Closing at once would make the kernel send a reset that may overtake the answer.
    async fn linger(&mut self) -> End {
        self.clock.set(Instant::now() + LINGER);
        let Self { io, clock, .. } = self;
        let mut left = MOST_LINGERED;
        let mut is_shut = false;
        poll_fn(|cx| {
            loop {
                if !is_shut {
                    is_shut = Pin::new(&mut *io).poll_shutdown(cx).is_ready();
                }
                match poll_piece(io, cx, left, |piece| piece.len()) {
                    Poll::Ready(Ok(read)) if read > 0 && read < left => left -= read,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return clock.poll_ring(cx),
                }
            }
        })
        .await;
        End::Over
    }

    /// Ends the connection in order: under TLS the client is told that nothing was cut off (RFC 8446 §6.1).
    async fn say_goodbye(&mut self) -> End {
        if self.origin.door.is_tls() && !self.is_half_closed {
            self.clock.set(Instant::now() + LINGER);
            let Self { io, clock, .. } = self;
            poll_fn(|cx| {
                if Pin::new(&mut *io).poll_shutdown(cx).is_ready() {
                    return Poll::Ready(());
                }
                clock.poll_ring(cx)
            })
            .await;
        }
        End::Over
    }
}
