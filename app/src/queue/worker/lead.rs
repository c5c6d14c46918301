//! Decides what the one process does that leads: schedules whose tick has come, lost jobs, rows that are over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::cause::Cause;
use crate::db::Error;
use crate::queue::enqueue::{New, enqueue};
use crate::queue::leader::{self, Schedule};
use crate::queue::sweep::{self, Keep};
use cirque_shared::report::chain;

/// How often rows that are over are looked for, when the last time found none.
const TRIMMING: Duration = Duration::from_secs(60);
/// Steps of trimming in one go.
const STEPS: usize = 20;

/// What is done again and again, by whichever process leads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Duties(pub &'static [Schedule]);

/// Leads, or waits to, until `stop`.
pub(super) async fn run(worker: Worker, owner: Arc<str>, stop: CancellationToken) {
    let mut trimmed = Instant::now();
    let mut is_leading = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(leader::EVERY.min(worker.config.lease / 3)) => {}
        }
        // Cut off in the middle it is undone, or found out by the next who leads.
        let Some(led) = stop.run_until_cancelled(lead(&worker, &owner)).await else { return };
        match led {
            Ok(true) if !is_leading => {
                is_leading = true;
                tracing::info!(owner = &*owner, "this worker runs the schedules now");
            }
            Ok(leads) => is_leading = leads,
            Err(error) => {
                is_leading = false;
                tracing::warn!(error.chain = chain(&error), "could not look after the queue");
            }
        }
        if is_leading && trimmed.elapsed() >= TRIMMING {
            let Some(trimming) = stop.run_until_cancelled(trim(&worker)).await else { return };
            match trimming {
                // There is more: on with it in the next round.
                Ok(true) => {}
                Ok(false) => trimmed = Instant::now(),
                Err(error) => {
                    trimmed = Instant::now();
                    tracing::warn!(error.chain = chain(&error), "could not remove jobs that are over");
                }
            }
        }
    }
}

/// One round; whether this process leads.
async fn lead(worker: &Worker, owner: &str) -> Result<bool, Error> {
    let now = worker.clock.now();
    // Nobody takes the write lock only to hear no.
    if leader::is_led_by_another(worker.db.watch(), owner, now).await? {
        return Ok(false);
    }
    let mut writer = worker.db.write().await?;
    if !leader::lead(&mut writer, owner, now).await? {
        return Ok(false);
    }
    let mut written = 0;
    for schedule in worker.duties.0 {
        if leader::tick(&mut writer, schedule, now).await? {
            let job = New {
                kind: schedule.kind,
                event: None,
                // One that still waits is enough.
                key: Some(schedule.name.to_owned()),
                payload: "{}".to_owned(),
                run_at: now,
                cause: Cause::none(),
            };
            written += enqueue(&mut writer, &[job], now).await?;
        }
    }
    writer.commit().await?;
    let rescued = sweep::rescue(&worker.db, worker.handlers.as_ref(), now).await?;
    for (job, kind, after) in &rescued {
        let (reason, queue) = (after.reason.map(|reason| reason.word()), worker.queue_of(kind));
        worker.metrics.ended(queue, kind, "lost", Duration::ZERO);
        tracing::warn!(
            job.id = job,
            job.name = kind,
            losses = after.losses,
            reason,
            "a job's process was gone"
        );
    }
    if written > 0 || !rescued.is_empty() {
        worker.bell.ring();
    }
    Ok(true)
}

/// Removes rows that are over; whether there may be more.
async fn trim(worker: &Worker) -> Result<bool, Error> {
    let keep = Keep { done: worker.config.keep_done, buried: worker.config.keep_buried };
    for _ in 0..STEPS {
        if !sweep::trim(&worker.db, keep, worker.clock.now()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Worker {
    fn queue_of(&self, kind: &str) -> &'static str {
        self.handlers.kind(kind).map_or(super::UNKNOWN.queue, |kind| kind.queue).word()
    }
}
