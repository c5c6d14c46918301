//! Decides what a worker process does: take what is due, do it beside each other, say what came of it, until told to stop.
//!
//! One task owns the conversation with the database: it takes jobs and writes outcomes, many in one transaction.
//! Each job is a task of its own, with a deadline; a panic is a failure like any other. Beside them a heartbeat
//! prolongs leases and ends jobs that were taken away, and the process that leads runs schedules and sweeper.

mod beat;
mod lead;
mod run;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::beat::Held;
use self::run::Ended;
use super::decide::Happening;
use super::settle::{self, Note};
use super::take::{Taken, Taker, Wanted, take};
use super::{Bell, Handlers, Kind, Queue, look, rate};
use crate::config;
use crate::db::{Db, Error};
use crate::metrics::QueueMetrics;
use crate::moment::{Clock, Moment};
use cirque_shared::report::chain;
use cirque_shared::trace::Recorder;

pub use self::lead::Duties;

/// What stands for a kind that this version does not know: a newer one may, so it is tried for days.
pub const UNKNOWN: Kind = Kind {
    name: "unknown",
    queue: Queue::Default,
    tries: 20,
    time: Duration::from_secs(1),
    first_wait: Duration::from_secs(60),
    longest_wait: Duration::from_secs(6 * 3600),
};

/// How long a worker with nothing in hand takes leave of a database that does not answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// After a failure of the database, how long before the next question.
const TROUBLE: Duration = Duration::from_secs(1);

/// What a worker is made of. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    /// Where the jobs are.
    pub db: Db,
    /// What can be done.
    pub handlers: Arc<dyn Handlers>,
    /// What is done again and again.
    pub duties: Duties,
    /// `[queue]`.
    pub config: config::Queue,
    /// Only these queues.
    pub queues: Vec<Queue>,
    /// What is counted.
    pub metrics: QueueMetrics,
    /// Takes what is recorded of traces.
    pub traces: Recorder,
    /// Rung when there may be something to do.
    pub bell: Bell,
    /// What the time is.
    pub clock: Clock,
    /// How long jobs may take to finish after a stop.
    pub grace: Duration,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({:?})", self.queues)
    }
}

/// The work at hand.
struct Hands {
    held: Held,
    busy: Vec<(Queue, u32)>,
    /// Outcomes that are not written yet.
    ended: Vec<Ended>,
}

impl Worker {
    /// Works until `stop`, then waits for what is in hand, and gives back what does not finish in time.
    pub async fn run(self, stop: CancellationToken) {
        if self.config.workers == 0 {
            return;
        }
        let owner: Arc<str> = cirque_shared::request_id::generate().into();
        let taker = Taker { owner: Arc::clone(&owner), lease: self.config.lease };
        tracing::info!(owner = &*owner, jobs = self.config.workers, "worker has started");
        let held = Held::default();
        let beside = CancellationToken::new();
        let heart = tokio::spawn(beat::run(self.clone(), taker.clone(), held.clone(), beside.clone()));
        let leading = tokio::spawn(lead::run(self.clone(), Arc::clone(&owner), beside.clone()));
        let listening = tokio::spawn(listen(self.db.clone(), self.bell.clone(), beside.clone()));
        let (sender, mut receiver) = mpsc::channel(self.config.workers);
        let mut hands = Hands { held, busy: Vec::new(), ended: Vec::new() };
        while !stop.is_cancelled() {
            let rest = match self.turn(&mut hands, &taker, &sender, &stop).await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::warn!(
                        error.chain = chain(&error),
                        "could not work at the queue; trying again soon"
                    );
                    TROUBLE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = receiver.recv() => hands.take_back(ended, &mut receiver),
                () = self.bell.heard() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        self.finish(&mut hands, &taker, receiver).await;
        beside.cancel();
        let _ = tokio::join!(heart, leading, listening);
        tracing::info!(owner = &*owner, "worker has stopped");
    }

    /// Writes what ended and takes what is due, in one transaction; how long to rest after it.
    async fn turn(
        &self,
        hands: &mut Hands,
        taker: &Taker,
        sender: &mpsc::Sender<Ended>,
        stop: &CancellationToken,
    ) -> Result<Duration, Error> {
        let now = self.clock.now();
        let rest = self.config.poll.mul_f64(0.75 + 0.5 * random_share());
        let room = self.room(hands);
        let mut wanted = Vec::new();
        let mut next = None;
        if room > 0 {
            let Some(looked) = stop.run_until_cancelled(look::due(&self.db)).await.transpose()? else {
                return Ok(Duration::ZERO);
            };
            let ours = looked.iter().filter(|due| !due.is_paused && self.queues.contains(&due.queue));
            let ours: Vec<(Queue, Moment)> = ours.filter_map(|due| Some((due.queue, due.next?))).collect();
            next = ours.iter().map(|(_, at)| *at).filter(|at| *at > now).min();
            wanted = self.wanted(hands, room, &rate::order(&ours, now));
        }
        if hands.ended.is_empty() && wanted.is_empty() {
            return Ok(until(next, now, rest));
        }
        // A database that is away does not hold up a stop.
        let Some(mut writer) = stop.run_until_cancelled(self.db.write()).await.transpose()? else {
            return Ok(Duration::ZERO);
        };
        let settled = run::settle(&mut writer, &hands.ended, self.handlers.as_ref(), now).await?;
        let mut taken = Taken::default();
        let mut left = room;
        for wanted in wanted {
            let more =
                take(&mut writer, Wanted { most: wanted.most.min(left), ..wanted }, taker, now).await?;
            left -= u32::try_from(more.deliveries.len()).unwrap_or(left).min(left);
            taken.held_until = [taken.held_until, more.held_until].into_iter().flatten().min();
            taken.deliveries.extend(more.deliveries);
            if left == 0 {
                break;
            }
        }
        writer.commit().await?;
        hands.ended.clear();
        settled.tell(&self.metrics);
        let is_full = !taken.deliveries.is_empty();
        for delivery in taken.deliveries {
            hands.begin(&delivery);
            let lease_until = now.after(taker.lease);
            hands.held.add(&delivery, lease_until);
            tokio::spawn(run::one(self.clone(), delivery, sender.clone()));
        }
        // There may be more where these came from.
        let rest = if is_full && self.room(hands) > 0 { Duration::ZERO } else { rest };
        let next = [next, taken.held_until].into_iter().flatten().min();
        Ok(until(next, now, rest))
    }

    /// How many more jobs this process may have.
    fn room(&self, hands: &Hands) -> u32 {
        let busy: u32 = hands.busy.iter().map(|(_, count)| count).sum();
        u32::try_from(self.config.workers).unwrap_or(u32::MAX).saturating_sub(busy)
    }

    /// What may be taken of each queue, in this order.
    fn wanted(&self, hands: &Hands, room: u32, order: &[Queue]) -> Vec<Wanted> {
        let wanted = order.iter().map(|queue| {
            let limits = self.config.limits(queue.word());
            let busy = hands.busy(*queue);
            let most = if limits.at_once == 0 { room } else { limits.at_once.saturating_sub(busy).min(room) };
            Wanted { queue: *queue, most, in_fleet: limits.in_fleet, rate: limits.rate }
        });
        wanted.filter(|wanted| wanted.most > 0).collect()
    }

    /// Waits for what is in hand, writes it, and gives back the rest.
    async fn finish(&self, hands: &mut Hands, taker: &Taker, mut receiver: mpsc::Receiver<Ended>) {
        let deadline = tokio::time::Instant::now() + self.grace;
        while !hands.held.is_empty() {
            match tokio::time::timeout_at(deadline, receiver.recv()).await {
                Ok(Some(ended)) => hands.take_back(ended, &mut receiver),
                Ok(None) | Err(_) => break,
            }
        }
        let now = self.clock.now();
        let released = hands.held.take_all();
        for delivery in &released {
            delivery.cancelled.cancel();
        }
        let write = async {
            let mut writer = self.db.write().await?;
            let settled = run::settle(&mut writer, &hands.ended, self.handlers.as_ref(), now).await?;
            for delivery in &released {
                let kind = self.handlers.kind(&delivery.kind).unwrap_or(&UNKNOWN);
                let happening = (Happening::Released, &Note::default());
                settle::happen(&mut writer, &delivery.fence, kind, happening, (now, 0)).await?;
            }
            super::leader::resign(&mut writer, &taker.owner).await?;
            writer.commit().await?;
            Ok::<_, Error>(settled)
        };
        // Who has nothing in hand only says that another may lead, which is found out without it.
        let patience = if hands.ended.is_empty() && released.is_empty() { FAREWELL } else { Duration::MAX };
        let written = tokio::time::timeout(patience, write).await;
        match written.unwrap_or_else(|_| Err(Error::Saturated)) {
            Ok(settled) => settled.tell(&self.metrics),
            Err(error) => tracing::warn!(
                error.chain = chain(&error),
                "could not give jobs back; others take them when their lease ends"
            ),
        }
        if !released.is_empty() {
            tracing::warn!(
                jobs = released.len(),
                "worker has stopped and gave back jobs that did not finish in time"
            );
        }
    }
}

impl Hands {
    fn busy(&self, queue: Queue) -> u32 {
        self.busy.iter().find(|(of, _)| *of == queue).map_or(0, |(_, count)| *count)
    }

    fn begin(&mut self, delivery: &super::Delivery) {
        match self.busy.iter_mut().find(|(of, _)| *of == delivery.queue) {
            Some((_, count)) => *count += 1,
            None => self.busy.push((delivery.queue, 1)),
        }
    }

    /// One that ended, and all that ended beside it.
    fn take_back(&mut self, ended: Ended, receiver: &mut mpsc::Receiver<Ended>) {
        let mut next = Some(ended);
        while let Some(ended) = next {
            self.held.remove(&ended.delivery.fence);
            if let Some((_, count)) = self.busy.iter_mut().find(|(of, _)| *of == ended.delivery.queue) {
                *count = count.saturating_sub(1);
            }
            self.ended.push(ended);
            next = receiver.try_recv().ok();
        }
    }
}

/// How long to rest when the next job is due then.
fn until(next: Option<Moment>, now: Moment, rest: Duration) -> Duration {
    next.map_or(rest, |next| next.since(now).min(rest))
}

/// Between 0 and 1.
fn random_share() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Spreads what would otherwise happen at the same time.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness everything still happens, only at once.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Rings the bell when another process tells of new jobs, where the database can carry that.
async fn listen(db: Db, bell: Bell, stop: CancellationToken) {
    loop {
        let heard = async {
            let Some(mut wakeups) = db.wakeups(super::CHANNEL).await? else {
                std::future::pending::<()>().await;
                return Ok::<(), Error>(());
            };
            loop {
                wakeups.next().await?;
                bell.echo();
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            outcome = heard => {
                if let Err(error) = outcome {
                    tracing::debug!(error.chain = chain(&error), "no notices of new jobs; asking instead");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TROUBLE) => {}
        }
    }
}
