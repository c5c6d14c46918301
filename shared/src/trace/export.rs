//! Decides how spans reach a collector: in batches, one at a time, tried a few times, and never waited for.
//!
//! OTLP over HTTP with protobuf (opentelemetry.io/docs/specs/otlp). While a collector is slow or gone spans wait in a queue
//! that drops what is too much; what was tried in vain is dropped as well. Both are counted.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::Collector;
use super::metrics::{Dropped, TraceMetrics};
use super::span::attribute;
use super::{Span, Value};
use crate::backoff::Backoff;
use crate::report::chain;
use crate::request_id::random;

/// Spans in one message.
const BATCH: usize = 512;
/// How long spans wait for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);
/// How often one batch is tried.
const TRIES: u32 = 3;
/// About how long to wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait before the next try, whoever asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last spans.
const LAST: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read.
const MOST_ANSWER: usize = 64 * 1024;

/// Sends the spans of one process until it ends.
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
    resource: Resource,
    metrics: TraceMetrics,
    /// Whether the last batch arrived: changes are told, not each failure.
    is_troubled: bool,
}

/// What came of one try.
#[derive(Debug)]
enum Tried {
    /// The collector took all but so many.
    Taken { rejected: usize },
    /// Not now; perhaps after this wait.
    Later { after: Option<Duration>, why: String },
    /// Never.
    Refused(String),
}

impl Exporter {
    pub(super) fn new(
        collector: Collector,
        spans: mpsc::Receiver<Span>,
        service: &str,
        instance: &str,
        metrics: TraceMetrics,
    ) -> Self {
        let text = |key: &str, value: &str| attribute(key, Value::from(value));
        let mut attributes = vec![
            text("service.name", collector.service.as_deref().unwrap_or(service)),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", instance),
        ];
        attributes.extend(collector.attributes.iter().map(|(key, value)| text(key, value)));
        let resource = Resource { attributes, ..Resource::default() };
        Self { collector, spans, resource, metrics, is_troubled: false }
    }

    /// Sends what comes until `stop`, then what is left, for a moment.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        // Whoever was first has set the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(self.collector.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .user_agent(concat!("cirque/", env!("CARGO_PKG_VERSION")));
        let client = match client.build() {
            Ok(client) => client,
            Err(error) => return tracing::error!(error.chain = chain(&error), "traces cannot be sent"),
        };
        tracing::info!(url = self.collector.url, "traces are recorded");
        let mut stop = pin!(stop);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.gather(&mut batch) => {}
            }
            let sending = self.send(&client, &mut batch);
            tokio::select! {
                () = &mut stop => break,
                () = sending => {}
            }
        }
        self.spans.close();
        let until = Instant::now() + LAST;
        loop {
            if !batch.is_empty()
                && tokio::time::timeout_at(until, self.send(&client, &mut batch)).await.is_err()
            {
                break;
            }
            if self.spans.try_recv().map(|span| batch.push(span)).is_err() {
                return;
            }
            while batch.len() < BATCH && self.spans.try_recv().map(|span| batch.push(span)).is_ok() {}
        }
        self.metrics.dropped(Dropped::Stopping, batch.len() + self.spans.len());
    }

    /// Waits for a span, and a moment for more. What was gathered is kept when this is given up.
    async fn gather(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() && self.spans.recv_many(batch, BATCH).await == 0 {
            // Nobody records any more.
            return std::future::pending().await;
        }
        let until = Instant::now() + GATHER;
        while batch.len() < BATCH {
            let more = self.spans.recv_many(batch, BATCH - batch.len());
            if !matches!(tokio::time::timeout_at(until, more).await, Ok(1..)) {
                return;
            }
        }
    }

    /// Sends a batch; it is empty afterwards, whatever came of it.
    async fn send(&mut self, client: &reqwest::Client, batch: &mut Vec<Span>) {
        let count = batch.len();
        let body = self.message(batch.iter().cloned());
        let mut failures = 0;
        let (reason, why) = loop {
            match self.attempt(client, body.clone()).await {
                Tried::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    self.metrics.exported.inc_by(u64::try_from(count - rejected).unwrap_or(u64::MAX));
                    self.metrics.dropped(Dropped::Refused, rejected);
                    if std::mem::take(&mut self.is_troubled) {
                        tracing::info!("traces arrive again");
                    }
                    return batch.clear();
                }
                Tried::Refused(why) => break (Dropped::Refused, why),
                Tried::Later { after, why } => {
                    failures += 1;
                    if failures == TRIES {
                        break (Dropped::Unreachable, why);
                    }
                    tokio::time::sleep(pause(failures, after, random())).await;
                }
            }
        };
        self.metrics.dropped(reason, count);
        batch.clear();
        if !std::mem::replace(&mut self.is_troubled, true) {
            tracing::warn!(reason = reason.word(), error = why, "traces do not arrive and are dropped");
        }
    }

    fn message(&self, spans: impl Iterator<Item = Span>) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: "cirque".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = ScopeSpans {
            scope: Some(scope),
            spans: spans.map(Span::told).collect(),
            ..ScopeSpans::default()
        };
        let spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![spans],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec()
    }

    async fn attempt(&self, client: &reqwest::Client, body: Vec<u8>) -> Tried {
        let mut request =
            client.post(&self.collector.url).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        for (name, secret) in &self.collector.headers {
            let Ok(mut value) = HeaderValue::from_str(secret.expose()) else {
                return Tried::Refused(format!("the value of the header {name} cannot be sent"));
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(answer) => judge(answer).await,
            // An address may hold a secret.
            Err(error) => Tried::Later { after: None, why: chain(&error.without_url()) },
        }
    }
}

/// What an answer means; which statuses may be tried again is the specification's list.
async fn judge(mut answer: reqwest::Response) -> Tried {
    let status = answer.status();
    if !status.is_success() {
        let why = format!("the collector answered {status}");
        let may_repeat = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        if !may_repeat {
            return Tried::Refused(why);
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Tried::Later { after: after.map(Duration::from_secs), why };
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MOST_ANSWER {
            break;
        }
    }
    // An answer that says nothing of rejected spans took all.
    let partial = ExportTraceServiceResponse::decode(&*body).ok().and_then(|answer| answer.partial_success);
    let rejected = partial.map_or(0, |partial| partial.rejected_spans);
    Tried::Taken { rejected: usize::try_from(rejected).unwrap_or(0) }
}

/// How long to wait after so many failures: as the collector asks, else longer each time, within a limit.
fn pause(failures: u32, asked: Option<Duration>, random: u64) -> Duration {
    let own =
        Backoff::try_new(FIRST_WAIT, LONGEST_WAIT).map_or(LONGEST_WAIT, |own| own.after(failures, random));
    asked.unwrap_or(own).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_and_is_bounded_whoever_asks() {
        for (failures, asked, expected) in [
            (1, None, 500),
            (2, None, 1000),
            (9, None, 5000),
            (1, Some(Duration::from_secs(3)), 3000),
            (1, Some(Duration::from_secs(3600)), 5000),
        ] {
            let longest = pause(failures, asked, u64::MAX);
            assert!(longest.as_millis().abs_diff(expected) <= 1, "{failures}: {longest:?}");
            assert!(pause(failures, asked, 0) >= longest / 2);
        }
    }
}
