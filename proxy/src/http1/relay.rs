//! One exchange over a client's connection: attempts at backends until one answers, then its answer.

use std::future::{Future as _, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::attempt::Ended;
use super::connection::{Connection, Turn};
use super::head::Request;
use super::lines::lines;
use super::upload::Upload;
use super::write::Told;
use crate::balance::key::key;
use crate::config::policy::{Action, Timeouts};
use crate::config::template::Facts;
use crate::exchange::{Exchange, Situation};
use crate::limit::pace::Pace;
use crate::respond::{self, Refusal};
use crate::retry::Decision;
use crate::route::{Asked, rewrite};
use crate::upstream::backend::Backend;

/// What an exchange needs again and again.
pub(super) struct Work<'r> {
    pub(super) request: &'r Request,
    pub(super) told: Arc<Told>,
    /// The target that backends are asked for, where the route changes it.
    pub(super) target: Option<Vec<u8>>,
    pub(super) upload: Upload,
    pub(super) timeouts: Timeouts,
    /// The time that one attempt may take, up to the head of its answer.
    pub(super) attempt_timeout: Option<Duration>,
    /// The time that the whole request may take.
    pub(super) total: Duration,
    /// Where the input that was not used yet begins.
    pub(super) at: usize,
    pub(super) is_to_head: bool,
    /// How fast the client sends its body, and takes its answer.
    pub(super) sends: Pace,
    pub(super) takes: Pace,
}

impl Connection<'_> {
    /// Has a request answered.
    pub(super) async fn exchange(&mut self, request: &Request) -> Turn {
        let told = self.told(request);
        let mut exchange = Exchange::begin(self.edge, self.facts(request, &told));
        if let Some(refusal) = self.objection(request, &mut exchange) {
            return self.refuse(request, &mut exchange, refusal).await;
        }
        let found = exchange.find_route(&self.asked(request, &|name| self.value_of(request, name)));
        let route = match found {
            Ok(route) => route,
            Err(refusal) => return self.refuse(request, &mut exchange, refusal).await,
        };
        let Some(upstream) = &route.upstream else {
            return self.answer_itself(request, &mut exchange, &told, &route.config.action).await;
        };
        exchange.recognise(|by| {
            let fields = &self.input[request.fields..request.len];
            let values = |name: &str| {
                let named = lines(fields).filter(|line| line.name.eq_ignore_ascii_case(name.as_bytes()));
                named.map(|line| line.value).collect()
            };
            key(by, told.client, &self.input[request.path.clone()], values)
        });
        let (max, kept) = (route.config.max_body, route.config.retry.buffer);
        let Ok(upload) = Upload::new(request.body, max, kept) else {
            return self.refuse(request, &mut exchange, Refusal::BodyTooLarge).await;
        };
        let upload = upload.with_trailers(&route.config.trailers);
        let is_to_head = self.input[request.method.clone()] == *b"HEAD";
        let timeouts = upstream.config.timeouts;
        let target = rewrite::target(&route.config.rewrite, &self.input[request.target.clone()]);
        let total = route.config.timeout;
        let attempt_timeout = route.config.retry.attempt_timeout;
        let mut work = Work {
            request,
            told,
            target,
            total,
            upload,
            timeouts,
            attempt_timeout,
            at: request.len,
            is_to_head,
            sends: Pace::default(),
            takes: Pace::default(),
        };
        loop {
            let backend = match self.next_backend(&mut work, &mut exchange).await {
                Ok(backend) => backend,
                Err(refusal) => return self.refuse(request, &mut exchange, refusal).await,
            };
            let (peer, answer) = match self.attempt(&mut work, &mut exchange, &backend).await {
                Ok(answered) => answered,
                Err(Ended::Replaced) => continue,
                Err(Ended::RanOut) => {
                    exchange.run_out();
                    return self.refuse_in_body(&work, &mut exchange, Refusal::DeadlineReached).await;
                }
                Err(Ended::Client(refusal)) => {
                    return self.refuse_in_body(&work, &mut exchange, refusal).await;
                }
                Err(Ended::Backend(failure)) => match exchange.fail(failure, work.situation(false)) {
                    Decision::Retry => continue,
                    Decision::GiveUp(_) => {
                        return self.refuse_in_body(&work, &mut exchange, Refusal::of(failure)).await;
                    }
                },
            };
            return self.answer(&mut work, &mut exchange, peer, &answer, &backend).await;
        }
    }

    /// Why a request is not served over this connection, whatever its route.
    fn objection(&self, request: &Request, exchange: &mut Exchange) -> Option<Refusal> {
        let text = |range: &Range<usize>| std::str::from_utf8(&self.input[range.clone()]).unwrap_or_default();
        let refusal = self.origin.objection(text(&request.host))?;
        if refusal == Refusal::HttpsOnly {
            exchange.send_to(self.origin.door.https_location(text(&request.host), text(&request.target)));
        }
        Some(refusal)
    }

    /// What the route of a request depends on.
    fn asked<'s>(&'s self, request: &Request, header: &'s dyn Fn(&str) -> Option<&'s [u8]>) -> Asked<'s> {
        let text = |range: &Range<usize>| std::str::from_utf8(&self.input[range.clone()]).unwrap_or_default();
        Asked {
            method: text(&request.method),
            host: text(&request.host),
            path: &self.input[request.path.clone()],
            header,
        }
    }

    /// The value of the first field of this name.
    pub(super) fn value_of(&self, request: &Request, name: &str) -> Option<&[u8]> {
        let mut fields = lines(&self.input[request.fields..request.len]);
        fields.find(|line| line.name.eq_ignore_ascii_case(name.as_bytes())).map(|line| line.value)
    }

    /// Gives the answer that the route itself names.
    async fn answer_itself(
        &mut self,
        request: &Request,
        exchange: &mut Exchange,
        told: &Told,
        action: &Action,
    ) -> Turn {
        let answer = match action {
            Action::Upstream(_) => return self.refuse(request, exchange, Refusal::NoBackend).await,
            Action::Respond(answer) => respond::fixed(answer),
            Action::Redirect(redirect) => {
                let rest = exchange.rest_of(&self.input[request.path.clone()]);
                let facts = facts(&self.input, request, told, exchange);
                respond::redirect(redirect, &Facts { rest: &rest, ..facts })
            }
        };
        exchange.answering(answer.status);
        self.reply(request, exchange, &answer).await
    }

    /// The backend of the next attempt. A client that leaves while it is waited for is noticed.
    async fn next_backend(
        &mut self,
        work: &mut Work<'_>,
        exchange: &mut Exchange,
    ) -> Result<Arc<Backend>, Refusal> {
        let half_close = self.limits.half_close;
        let mut next = pin!(exchange.next_backend());
        poll_fn(|cx| {
            if let Poll::Ready(chosen) = next.as_mut().poll(cx) {
                return Poll::Ready(chosen.map(|chosen| Arc::clone(chosen.lease.backend())));
            }
            // What it sends of a body meanwhile waits in its socket.
            if work.upload.is_done()
                && let Err(Ended::Client(refusal)) = self.poll_watch(work, cx, half_close)
            {
                return Poll::Ready(Err(refusal));
            }
            Poll::Pending
        })
        .await
    }

    /// Refuses a request whose body may be under way.
    pub(super) async fn refuse_in_body(
        &mut self,
        work: &Work<'_>,
        exchange: &mut Exchange,
        refusal: Refusal,
    ) -> Turn {
        exchange.bytes_in = work.upload.read;
        if refusal == Refusal::Malformed {
            exchange.broke(Some("chunked"));
        }
        let turn = self.refuse(work.request, exchange, refusal).await;
        match turn {
            Turn::Next { .. } => Turn::Next { used: work.at },
            turn => turn,
        }
    }
}

impl Work<'_> {
    /// What the retry decision needs to know of the body and the answer.
    pub(super) fn situation(&self, answer_started: bool) -> Situation {
        Situation { is_replayable: self.upload.is_replayable(), answer_started }
    }
}

/// What placeholders of the route may ask of this request.
pub(super) fn facts<'b>(
    input: &'b [u8],
    request: &Request,
    told: &'b Told,
    exchange: &'b Exchange,
) -> Facts<'b> {
    Facts {
        scheme: told.proto,
        host: &input[request.host.clone()],
        path: &input[request.path.clone()],
        query: &input[request.path.end..request.target.end],
        rest: b"",
        method: &input[request.method.clone()],
        client: told.client,
        forwarded_for: told.chain(),
        request_id: &exchange.head().id,
        route: exchange.route().map_or("", |route| &route.config.name),
    }
}
