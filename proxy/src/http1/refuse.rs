//! Answers of the edge's own over a client's connection: refusals, and what a route itself answers.

use std::sync::Arc;

use cirque_shared::request_id;

use super::connection::{Connection, Turn};
use super::head::{self, Request, Rule};
use super::lines::lines;
use super::relay::facts;
use super::write::{self, Then};
use crate::exchange::{Exchange, Head};
use crate::headers::rules::Edit;
use crate::respond::{self, Refusal};

/// What may be asked of any place, as far as the edge is concerned.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl Connection<'_> {
    /// Sends an answer of our own to a request that was understood.
    pub(super) async fn refuse(
        &mut self,
        request: &Request,
        exchange: &mut Exchange,
        refusal: Refusal,
    ) -> Turn {
        exchange.refuse(refusal);
        if refusal == Refusal::ClientLeft {
            return Turn::Cut;
        }
        let fields = lines(&self.input[request.fields..request.len]);
        let accept = fields.filter(|line| line.name.eq_ignore_ascii_case(b"accept")).map(|line| line.value);
        let accept = String::from_utf8_lossy(accept.last().unwrap_or_default()).into_owned();
        let answer = exchange.answer_to(refusal, &accept);
        self.reply(request, exchange, &answer).await
    }

    /// Sends an answer of our own.
    pub(super) async fn reply(
        &mut self,
        request: &Request,
        exchange: &mut Exchange,
        answer: &respond::Answer,
    ) -> Turn {
        // A body that was not read leaves the connection in an unknown place.
        let is_read = request.body == head::BodyLength::None;
        let then = self.then(request, is_read);
        let is_to_head = self.input[request.method.clone()] == *b"HEAD";
        let told = self.told(request);
        let edit = exchange.route().and_then(|route| {
            Edit::of(&route.config.response_headers, || facts(&self.input, request, &told, exchange))
        });
        let (id, hsts) = (&exchange.head().id, &self.origin.door.hsts);
        write::own(answer, id, is_to_head, then, edit.as_ref(), hsts, &mut self.out.bytes);
        exchange.bytes_out = if is_to_head { 0 } else { answer.body.len() as u64 };
        match (self.flush().await, then) {
            (Err(()), _) => Turn::Cut,
            (Ok(()), Then::Close) => self.end_of(is_read, request.len),
            (Ok(()), _) => Turn::Next { used: request.len },
        }
    }

    /// Answers and records a head that was not understood.
    pub(super) async fn refuse_head(&mut self, refusal: Refusal, rule: Option<Rule>) {
        let line_end = memchr::memchr(b'\r', &self.input).unwrap_or(self.input.len());
        let mut words = self.input[..line_end].split(|byte| *byte == b' ');
        let mut word = |most: usize| {
            let word = words.next().unwrap_or_default();
            String::from_utf8_lossy(&word[..word.len().min(most)]).into_owned()
        };
        let head = Head {
            id: request_id::generate(),
            client: self.plainly.client,
            door: Some(Arc::clone(&self.origin.door)),
            method: word(32),
            host: String::new(),
            path: word(1024).split('?').next().unwrap_or_default().to_owned(),
            is_idempotent: false,
            trace: None,
            said: None,
        };
        let mut exchange = Exchange::begin(self.edge, head);
        exchange.broke(rule.map(Rule::reason));
        exchange.refuse(refusal);
        if refusal == Refusal::ClientLeft {
            return;
        }
        if refusal == Refusal::MethodNotAllowed {
            exchange.allow(ALLOWED);
        }
        let answer = exchange.answer_to(refusal, "");
        let (id, hsts) = (&exchange.head().id, &self.origin.door.hsts);
        write::own(&answer, id, false, Then::Close, None, hsts, &mut self.out.bytes);
        exchange.bytes_out = answer.body.len() as u64;
        // The client may be gone: then there is nobody to tell.
        let _ = self.flush().await;
    }
}

/// The refusal that a broken rule leads to.
pub(super) fn refusal_of(rule: Rule) -> Refusal {
    match rule {
        Rule::TooLarge | Rule::TooManyFields => Refusal::HeadTooLarge,
        Rule::TargetTooLong => Refusal::TargetTooLong,
        Rule::Version => Refusal::Version,
        Rule::Expectation => Refusal::Expectation,
        Rule::Method => Refusal::MethodNotAllowed,
        Rule::BareLineEnd
        | Rule::RequestLine
        | Rule::Target
        | Rule::Field
        | Rule::Host
        | Rule::HostConflict
        | Rule::ContentLength
        | Rule::LengthAndCoding
        | Rule::TransferEncoding
        | Rule::Connection => Refusal::Malformed,
    }
}
