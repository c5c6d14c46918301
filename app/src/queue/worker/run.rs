//! Decides how one job is done, within its time, and how what came of it is written and told.

use std::time::{Duration, SystemTime};

use cirque_shared::trace::{self, Scope, Span, Trace};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{UNKNOWN, Worker, random};
use crate::cause::Cause;
use crate::db::{Error, Writer};
use crate::metrics::QueueMetrics;
use crate::moment::Moment;
use crate::queue::decide::{Happening, Standing};
use crate::queue::settle::{self, Note};
use crate::queue::{Delivery, Done, Failed, Fence, Handlers, State};

/// A job that is not being done any more.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) delivery: Delivery,
    outcome: Result<Done, Failed>,
    took: Duration,
}

/// Does one job and hands back what came of it.
pub(super) async fn one(worker: Worker, delivery: Delivery, sender: mpsc::Sender<Ended>) {
    let (began, started) = (SystemTime::now(), Instant::now());
    let recorded = delivery.cause.recorded(&worker.traces);
    let outcome = match worker.handlers.kind(&delivery.kind) {
        None => Err(Failed::now(format!("this version knows no job of the kind {:?}", delivery.kind))),
        Some(kind) => {
            let scope = recorded.and_then(|trace| Scope::of(&worker.traces, trace));
            let mut work = tokio::spawn(trace::within(scope, worker.handlers.run(delivery.clone())));
            let outcome = tokio::select! {
                outcome = &mut work => outcome.unwrap_or_else(|stopped| Err(panicked(stopped))),
                () = tokio::time::sleep(kind.time) => {
                    Err(Failed::now(format!("it took longer than {:?}", kind.time)))
                }
                () = delivery.cancelled.cancelled() => Err(Failed::now("it was taken away")),
            };
            work.abort();
            outcome
        }
    };
    let took = started.elapsed();
    if let Some(trace) = recorded {
        worker.traces.record(span(trace, &delivery, &outcome, (began, took)));
    }
    // The worker may have stopped meanwhile; the job's lease then speaks for it.
    let _ = sender.send(Ended { delivery, outcome, took }).await;
}

/// What a collector is told of a job.
fn span(
    trace: Trace,
    delivery: &Delivery,
    outcome: &Result<Done, Failed>,
    (began, took): (SystemTime, Duration),
) -> Span {
    let mut attributes: Vec<(&str, trace::Value)> = vec![
        ("messaging.destination.name", delivery.queue.word().into()),
        ("job.id", delivery.fence.id.into()),
        ("job.attempt", delivery.fence.attempt.into()),
    ];
    attributes.extend(delivery.cause.request_id().map(|id| ("request.id", id.into())));
    Span {
        trace,
        name: delivery.kind.clone().into(),
        kind: trace::Kind::Consumer,
        began,
        took,
        attributes,
        failed: outcome.as_ref().err().map(|failed| failed.message.clone().into()),
    }
}

fn panicked(stopped: tokio::task::JoinError) -> Failed {
    let Ok(panic) = stopped.try_into_panic() else { return Failed::now("it was stopped") };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Failed::now(format!("it panicked: {text}"))
}

/// What was written, to be told when the transaction is committed.
#[derive(Debug, Default)]
pub(super) struct Settled(Vec<Told>);

#[derive(Debug)]
struct Told {
    fence: Fence,
    kind: String,
    queue: &'static str,
    outcome: &'static str,
    error: Option<String>,
    took: Duration,
    cause: Cause,
}

/// Writes what came of jobs.
pub(super) async fn settle(
    writer: &mut Writer<'_>,
    ended: &[Ended],
    handlers: &dyn Handlers,
    now: Moment,
) -> Result<Settled, Error> {
    let mut settled = Settled::default();
    let finished: Vec<&Ended> = ended.iter().filter(|ended| ended.outcome == Ok(Done::Finished)).collect();
    let fences: Vec<Fence> = finished.iter().map(|ended| ended.delivery.fence.clone()).collect();
    let written = settle::done(writer, &fences, now).await?;
    let are_all_ours = written == fences.len() as u64;
    for ended in finished {
        // Which ones were refused is not worth a question for each: it is rare, and changes nothing.
        settled.push(ended, if are_all_ours { "done" } else { "done_or_refused" });
    }
    for ended in ended {
        let (happening, note) = match &ended.outcome {
            Ok(Done::Finished) => continue,
            Ok(Done::Settled) => {
                settled.push(ended, "done");
                continue;
            }
            Ok(Done::PutOff { until, payload }) => {
                (Happening::PutOff(*until), Note { error: None, payload: payload.clone() })
            }
            Err(failed) => (
                Happening::Failed { is_final: failed.is_final, wait: failed.wait },
                Note { error: Some(failed.message.clone()), payload: None },
            ),
        };
        let kind = handlers.kind(&ended.delivery.kind).unwrap_or(&UNKNOWN);
        let after =
            settle::happen(writer, &ended.delivery.fence, kind, (happening, &note), (now, random())).await?;
        settled.push(ended, outcome(after.as_ref(), happening));
    }
    Ok(settled)
}

/// What is counted.
fn outcome(after: Option<&Standing>, happening: Happening) -> &'static str {
    match after.map(|after| after.state) {
        None => "refused",
        Some(State::Buried) => "buried",
        Some(State::Waiting | State::Done) if matches!(happening, Happening::PutOff(_)) => "put_off",
        Some(_) => "failed",
    }
}

/// One event with all that is known of a job that ended, at a level that the macro must know beforehand.
macro_rules! told {
    ($level:ident, $told:expr, $message:literal) => {
        tracing::$level!(
            job.id = $told.fence.id,
            job.name = $told.kind,
            job.attempt = $told.fence.attempt,
            request.id = $told.cause.request_id(),
            trace.id = $told.cause.trace_id(),
            reason = $told.outcome,
            duration_ms = $told.took.as_secs_f64() * 1000.0,
            error.chain = $told.error,
            $message
        )
    };
}

impl Settled {
    fn push(&mut self, ended: &Ended, outcome: &'static str) {
        self.0.push(Told {
            fence: ended.delivery.fence.clone(),
            kind: ended.delivery.kind.clone(),
            queue: ended.delivery.queue.word(),
            outcome,
            error: ended.outcome.as_ref().err().map(|failed| failed.message.clone()),
            took: ended.took,
            cause: ended.delivery.cause.clone(),
        });
    }

    /// Counts and logs; what went well is a matter of numbers only.
    pub(super) fn tell(self, metrics: &QueueMetrics) {
        for told in self.0 {
            metrics.ended(told.queue, &told.kind, told.outcome, told.took);
            match told.outcome {
                "buried" => told!(error, told, "job was buried: see it with `cirque app queue show`"),
                "failed" => told!(warn, told, "job failed and is tried again"),
                "refused" | "done_or_refused" => {
                    told!(warn, told, "another worker has taken the job meanwhile");
                }
                _ => told!(debug, told, "job has ended"),
            }
        }
    }
}
