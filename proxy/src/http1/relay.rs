//! One exchange over a client's connection: attempts at backends until one answers, then its answer.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Ended;
use super::connection::{Connection, Turn};
use super::head::Request;
use super::upload::Upload;
use super::write::Told;
use crate::config::policy::Timeouts;
use crate::exchange::{Exchange, Situation};
use crate::respond::Refusal;
use crate::retry::Decision;

/// What an exchange needs again and again.
pub(super) struct Work<'r> {
    pub(super) request: &'r Request,
    pub(super) told: Arc<Told>,
    pub(super) upload: Upload,
    pub(super) timeouts: Timeouts,
    /// The time that the whole request may take.
    pub(super) total: Duration,
    /// Where the input that was not used yet begins.
    pub(super) at: usize,
    pub(super) is_to_head: bool,
}

impl Connection<'_> {
    /// Has a request answered.
    pub(super) async fn exchange(&mut self, request: &Request) -> Turn {
        let told = self.told(request);
        let mut exchange = Exchange::begin(self.edge, self.facts(request, &told));
        let host = std::str::from_utf8(&self.input[request.host.clone()]).unwrap_or_default();
        let path = std::str::from_utf8(&self.input[request.path.clone()]).unwrap_or_default();
        let route = match exchange.find_route(host, path) {
            Ok(route) => route,
            Err(refusal) => return self.refuse(request, &mut exchange, refusal).await,
        };
        let (max, kept) = (route.config.max_body, route.config.retry.buffer);
        let Ok(upload) = Upload::new(request.body, max, kept) else {
            return self.refuse(request, &mut exchange, Refusal::BodyTooLarge).await;
        };
        let is_to_head = self.input[request.method.clone()] == *b"HEAD";
        let timeouts = route.upstream.config.timeouts;
        let total = route.config.timeout;
        let mut work = Work { request, told, total, upload, timeouts, at: request.len, is_to_head };
        loop {
            let backend = match exchange.next_backend() {
                Ok(chosen) => Arc::clone(chosen.lease.backend()),
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
            return self.answer(work, exchange, peer, answer, &backend).await;
        }
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
