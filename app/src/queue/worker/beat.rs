//! Decides how a worker keeps its jobs: it says in time that it is still there, and drops what was taken from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::moment::Moment;
use crate::queue::take::{Taker, prolong};
use crate::queue::{Delivery, Fence};
use cirque_shared::report::chain;

/// Prolonged so often during one lease: two of these may fail.
const PER_LEASE: u32 = 3;

/// By number and attempt, each with the end of its lease.
type Jobs = HashMap<(i64, i64), (Delivery, Moment)>;

/// The jobs of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Jobs>>);

impl Held {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, delivery: &Delivery, lease_until: Moment) {
        let Fence { id, attempt, .. } = delivery.fence;
        self.jobs().insert((id, attempt), (delivery.clone(), lease_until));
    }

    pub(super) fn remove(&self, fence: &Fence) {
        self.jobs().remove(&(fence.id, fence.attempt));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs().is_empty()
    }

    pub(super) fn take_all(&self) -> Vec<Delivery> {
        self.jobs().drain().map(|(_, (delivery, _))| delivery).collect()
    }

    fn ids(&self) -> Vec<i64> {
        self.jobs().keys().map(|(id, _)| *id).collect()
    }

    /// Notes which jobs are still ours until when; ends those that are not.
    fn confirm(&self, asked: &[i64], confirmed: &[(i64, i64)], until: Moment) -> usize {
        let mut ended = 0;
        for (key, (delivery, lease_until)) in self.jobs().iter_mut() {
            if confirmed.contains(key) {
                *lease_until = until;
            } else if asked.contains(&key.0) && !delivery.cancelled.is_cancelled() {
                delivery.cancelled.cancel();
                ended += 1;
            }
        }
        ended
    }

    /// Ends jobs whose lease is over, as far as this process knows: another may have them already.
    fn expire(&self, now: Moment) -> usize {
        let mut ended = 0;
        for (delivery, lease_until) in self.jobs().values() {
            if *lease_until < now && !delivery.cancelled.is_cancelled() {
                delivery.cancelled.cancel();
                ended += 1;
            }
        }
        ended
    }
}

/// Beats until `stop`.
pub(super) async fn run(worker: Worker, taker: Taker, held: Held, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(taker.lease / PER_LEASE) => {}
        }
        let (ids, now) = (held.ids(), worker.clock.now());
        if ids.is_empty() {
            continue;
        }
        let beat = async {
            let mut writer = worker.db.write().await?;
            let confirmed = prolong(&mut writer, &ids, &taker, now).await?;
            writer.commit().await?;
            Ok::<_, crate::db::Error>(confirmed)
        };
        let ended = match tokio::time::timeout(taker.lease / PER_LEASE, beat).await {
            Ok(Ok(confirmed)) => held.confirm(&ids, &confirmed, now.after(taker.lease)),
            Ok(Err(error)) => {
                tracing::warn!(error.chain = chain(&error), "could not prolong the leases of jobs");
                held.expire(worker.clock.now())
            }
            Err(_) => held.expire(worker.clock.now()),
        };
        if ended > 0 {
            tracing::warn!(jobs = ended, "jobs were taken away from this worker and are ended here");
        }
    }
}
