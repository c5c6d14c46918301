//! Decides how one job is done, within its time, and how what came of it is written and told.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{UNKNOWN, Worker, random};
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
    let started = Instant::now();
    let outcome = match worker.handlers.kind(&delivery.kind) {
        None => Err(Failed::now(format!("this version knows no job of the kind {:?}", delivery.kind))),
        Some(kind) => {
            let mut work = tokio::spawn(worker.handlers.run(delivery.clone()));
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
    // The worker may have stopped meanwhile; the job's lease then speaks for it.
    let _ = sender.send(Ended { delivery, outcome, took: started.elapsed() }).await;
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

impl Settled {
    fn push(&mut self, ended: &Ended, outcome: &'static str) {
        self.0.push(Told {
            fence: ended.delivery.fence.clone(),
            kind: ended.delivery.kind.clone(),
            queue: ended.delivery.queue.word(),
            outcome,
            error: ended.outcome.as_ref().err().map(|failed| failed.message.clone()),
            took: ended.took,
        });
    }

    /// Counts and logs; what went well is a matter of numbers only.
    pub(super) fn tell(self, metrics: &QueueMetrics) {
        for told in self.0 {
            metrics.ended(told.queue, &told.kind, told.outcome, told.took);
            let Fence { id, attempt, .. } = told.fence;
            let (kind, outcome, error) = (told.kind, told.outcome, told.error);
            match outcome {
                "buried" => tracing::error!(
                    job = id,
                    kind,
                    attempt,
                    error,
                    "job was buried: see it with `cirque app queue show`"
                ),
                "failed" => tracing::warn!(job = id, kind, attempt, error, "job failed and is tried again"),
                "refused" | "done_or_refused" => {
                    tracing::warn!(job = id, kind, attempt, "another worker has taken the job meanwhile");
                }
                _ => tracing::debug!(job = id, kind, attempt, outcome, "job has ended"),
            }
        }
    }
}
