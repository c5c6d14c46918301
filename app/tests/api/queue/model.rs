//! Whatever happens to jobs in whatever order, the database says what a model in memory says.

use std::sync::Arc;
use std::time::Duration;

use cirque_app::moment::Moment;
use cirque_app::queue::decide::Happening;
use cirque_app::queue::enqueue::New;
use cirque_app::queue::settle::{self, Note};
use cirque_app::queue::steer::{self, Granted, Wish};
use cirque_app::queue::take::{Taker, Wanted, prolong, take};
use cirque_app::queue::{Delivery, Handlers as _, Queue, sweep};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Bench, FAILING, QUICK, jobs};
use crate::site::{Site, Store};

const LEASE: Duration = Duration::from_secs(30);
const WORKERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Add { kind: bool, key: Option<u8>, delay: i64 },
    Take { worker: usize, most: u32 },
    Done { worker: usize, nth: usize },
    Fail { worker: usize, nth: usize, is_final: bool },
    PutOff { worker: usize, nth: usize, delay: i64 },
    Beat { worker: usize },
    Pass { millis: i64 },
    Rescue,
    Retry { nth: usize },
    Discard { nth: usize },
    Pause { is_paused: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let (worker, nth) = (0..WORKERS, 0_usize..6);
    prop_oneof![
        4 => (any::<bool>(), prop::option::of(0_u8..2), prop_oneof![Just(0), 1_i64..20_000])
            .prop_map(|(kind, key, delay)| Op::Add { kind, key, delay }),
        5 => (worker.clone(), 1_u32..4).prop_map(|(worker, most)| Op::Take { worker, most }),
        3 => (worker.clone(), nth.clone()).prop_map(|(worker, nth)| Op::Done { worker, nth }),
        4 => (worker.clone(), nth.clone(), prop::bool::weighted(0.2))
            .prop_map(|(worker, nth, is_final)| Op::Fail { worker, nth, is_final }),
        1 => (worker.clone(), nth.clone(), 0_i64..5_000)
            .prop_map(|(worker, nth, delay)| Op::PutOff { worker, nth, delay }),
        2 => worker.prop_map(|worker| Op::Beat { worker }),
        5 => prop_oneof![1_i64..100, 1_000_i64..20_000, Just(31_000_i64)].prop_map(|millis| Op::Pass { millis }),
        2 => Just(Op::Rescue),
        2 => nth.clone().prop_map(|nth| Op::Retry { nth }),
        1 => nth.prop_map(|nth| Op::Discard { nth }),
        1 => prop::bool::weighted(0.4).prop_map(|is_paused| Op::Pause { is_paused }),
    ]
}

/// A job as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: i64,
    kind: &'static str,
    key: Option<String>,
    state: &'static str,
    run_at: i64,
    attempt: i64,
    failures: i64,
    losses: i64,
    owner: Option<usize>,
    lease_until: i64,
}

#[derive(Default)]
struct Model {
    jobs: Vec<Known>,
    is_paused: bool,
}

impl Model {
    fn has_twin(&self, id: i64) -> bool {
        let Some(job) = self.jobs.iter().find(|job| job.id == id) else { return false };
        job.key.is_some()
            && self.jobs.iter().any(|other| {
                other.id != id && other.state == "waiting" && other.kind == job.kind && other.key == job.key
            })
    }

    /// The job, if this worker still has it in this attempt.
    fn of(&mut self, worker: usize, delivery: &Delivery) -> Option<&mut Known> {
        self.jobs.iter_mut().find(|job| {
            job.id == delivery.fence.id
                && job.state == "running"
                && job.owner == Some(worker)
                && job.attempt == delivery.fence.attempt
        })
    }

    fn wait(&mut self, id: i64, run_at: i64) {
        let has_twin = self.has_twin(id);
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            job.state = if has_twin { "done" } else { "waiting" };
            job.run_at = run_at;
        }
    }
}

struct Run<'s> {
    site: &'s Site,
    bench: Bench,
    model: Model,
    now: i64,
    takers: Vec<Taker>,
    hands: Vec<Vec<Delivery>>,
}

impl Run<'_> {
    fn held(&self, worker: usize, nth: usize) -> Option<Delivery> {
        let hand = &self.hands[worker];
        (!hand.is_empty()).then(|| hand[nth % hand.len()].clone())
    }

    async fn apply(&mut self, op: &Op) {
        match *op {
            Op::Add { kind, key, delay } => self.add(kind, key, delay).await,
            Op::Take { worker, most } => self.take(worker, most).await,
            Op::Done { worker, nth } => {
                let Some(delivery) = self.held(worker, nth) else { return };
                let mut writer = self.site.state.db.write().await.unwrap();
                let fences = [delivery.fence.clone()];
                let written = settle::done(&mut writer, &fences, Moment(self.now)).await.unwrap();
                writer.commit().await.unwrap();
                let known = self.model.of(worker, &delivery);
                assert_eq!(written, u64::from(known.is_some()), "{op:?}");
                if let Some(known) = known {
                    known.state = "done";
                }
            }
            Op::Fail { worker, nth, is_final } => {
                self.happen(worker, nth, Happening::Failed { is_final, wait: None }).await;
            }
            Op::PutOff { worker, nth, delay } => {
                self.happen(worker, nth, Happening::PutOff(Moment(self.now + delay))).await;
            }
            Op::Beat { worker } => self.beat(worker).await,
            Op::Pass { millis } => self.now += millis,
            Op::Rescue => self.rescue().await,
            Op::Retry { nth } => self.wish(nth, Wish::Retry).await,
            Op::Discard { nth } => self.wish(nth, Wish::Discard).await,
            Op::Pause { is_paused } => {
                let db = &self.site.state.db;
                steer::set_paused(db, Queue::Default, is_paused, Moment(self.now)).await.unwrap();
                self.model.is_paused = is_paused;
            }
        }
    }

    async fn add(&mut self, kind: bool, key: Option<u8>, delay: i64) {
        let kind = if kind { QUICK } else { FAILING };
        let run_at = self.now + delay;
        let key = key.map(|key| key.to_string());
        let job = New { key: key.clone(), run_at: Moment(run_at), ..super::new(kind) };
        super::write(self.site, &[job]).await;
        let twin =
            self.model.jobs.iter_mut().find(|job| {
                key.is_some() && job.state == "waiting" && job.kind == kind.name && job.key == key
            });
        if let Some(twin) = twin {
            twin.run_at = twin.run_at.min(run_at);
            return;
        }
        let id = jobs(self.site).await.last().unwrap().id;
        self.model.jobs.push(Known {
            id,
            kind: kind.name,
            key,
            state: "waiting",
            run_at,
            attempt: 0,
            failures: 0,
            losses: 0,
            owner: None,
            lease_until: 0,
        });
    }

    async fn take(&mut self, worker: usize, most: u32) {
        let wanted = Wanted { queue: Queue::Default, most, in_fleet: 0, rate: None };
        let mut writer = self.site.state.db.write().await.unwrap();
        let taken = take(&mut writer, wanted, &self.takers[worker], Moment(self.now)).await.unwrap();
        writer.commit().await.unwrap();
        let now = self.now;
        let mut due: Vec<&mut Known> =
            self.model.jobs.iter_mut().filter(|job| job.state == "waiting" && job.run_at <= now).collect();
        due.sort_by_key(|job| (job.run_at, job.id));
        due.truncate(if self.model.is_paused { 0 } else { most as usize });
        let ids: Vec<i64> = taken.deliveries.iter().map(|delivery| delivery.fence.id).collect();
        assert_eq!(ids, due.iter().map(|job| job.id).collect::<Vec<_>>());
        for job in due {
            job.state = "running";
            job.attempt += 1;
            job.owner = Some(worker);
            job.lease_until = now + 30_000;
        }
        self.hands[worker].extend(taken.deliveries);
    }

    async fn happen(&mut self, worker: usize, nth: usize, happening: Happening) {
        let Some(delivery) = self.held(worker, nth) else { return };
        let kind = self.bench.kind(&delivery.kind).unwrap();
        let mut writer = self.site.state.db.write().await.unwrap();
        let what = (happening, &Note::default());
        let after = settle::happen(&mut writer, &delivery.fence, kind, what, (Moment(self.now), u64::MAX))
            .await
            .unwrap();
        writer.commit().await.unwrap();
        let now = self.now;
        let known = self.model.of(worker, &delivery);
        assert_eq!(after.is_some(), known.is_some(), "{happening:?}");
        let Some(known) = known else { return };
        match happening {
            Happening::PutOff(until) => self.model.wait(delivery.fence.id, until.0),
            Happening::Failed { is_final, .. } => {
                known.failures += 1;
                if is_final || known.failures >= 3 {
                    known.state = "buried";
                } else {
                    let wait = if known.failures == 1 { 10 } else { 20 };
                    self.model.wait(delivery.fence.id, now + wait);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    async fn beat(&mut self, worker: usize) {
        let ids: Vec<i64> = self.hands[worker].iter().map(|delivery| delivery.fence.id).collect();
        if ids.is_empty() {
            return;
        }
        let mut writer = self.site.state.db.write().await.unwrap();
        let mut held = prolong(&mut writer, &ids, &self.takers[worker], Moment(self.now)).await.unwrap();
        writer.commit().await.unwrap();
        held.sort_unstable();
        let mut known = Vec::new();
        for job in &mut self.model.jobs {
            if job.state == "running" && job.owner == Some(worker) {
                job.lease_until = self.now + 30_000;
                known.push((job.id, job.attempt));
            }
        }
        known.sort_unstable();
        assert_eq!(held, known);
    }

    async fn rescue(&mut self) {
        sweep::rescue(&self.site.state.db, &self.bench, Moment(self.now)).await.unwrap();
        let now = self.now;
        let mut lost: Vec<(i64, i64)> = self
            .model
            .jobs
            .iter()
            .filter(|job| job.state == "running" && job.lease_until < now)
            .map(|job| (job.lease_until, job.id))
            .collect();
        lost.sort_unstable();
        for (_, id) in lost {
            let job = self.model.jobs.iter_mut().find(|job| job.id == id).unwrap();
            job.losses += 1;
            if job.losses >= 3 {
                job.state = "buried";
                job.run_at = now;
            } else {
                self.model.wait(id, now);
            }
        }
    }

    async fn wish(&mut self, nth: usize, wish: Wish) {
        if self.model.jobs.is_empty() {
            return;
        }
        let job = nth % self.model.jobs.len();
        let id = self.model.jobs[job].id;
        let now = Moment(self.now);
        let granted = steer::wish(&self.site.state.db, &self.bench, (id, wish), now).await.unwrap();
        let state = self.model.jobs[job].state;
        let is_possible = match (wish, state) {
            (Wish::Retry, "running") | (Wish::Discard, "done" | "discarded") => false,
            (Wish::Retry, "waiting") => {
                self.model.jobs[job].run_at = self.model.jobs[job].run_at.min(now.0);
                true
            }
            (Wish::Retry, _) => {
                let known = &mut self.model.jobs[job];
                (known.failures, known.losses) = (0, 0);
                self.model.wait(id, now.0);
                true
            }
            (Wish::Discard, _) => {
                self.model.jobs[job].state = "discarded";
                true
            }
        };
        assert_eq!(matches!(granted, Granted::Is(_)), is_possible, "{wish:?} {state}: {granted:?}");
    }

    async fn compare(&self) {
        let found: Vec<_> = jobs(self.site)
            .await
            .into_iter()
            .map(|job| (job.id, job.state, job.run_at.0, job.attempt, job.failures, job.losses))
            .collect();
        let expected: Vec<_> = self
            .model
            .jobs
            .iter()
            .map(|job| (job.id, job.state.to_owned(), job.run_at, job.attempt, job.failures, job.losses))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn whatever_happens_to_jobs_the_database_says_what_the_model_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = runtime.block_on(Site::seeded(0));
    let cases = if Store::under_test() == Store::Sqlite { 60 } else { 40 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let ops = prop::collection::vec(op(), 5..50);
    let outcome = runner.run(&ops, |ops| {
        runtime.block_on(async {
            site.data.change("DELETE FROM jobs; UPDATE queues SET paused_at = NULL").await;
            let taker = |worker: usize| Taker { owner: Arc::from(format!("worker-{worker}")), lease: LEASE };
            let mut run = Run {
                site: &site,
                bench: Bench::default(),
                model: Model::default(),
                now: 1_000_000,
                takers: (0..WORKERS).map(taker).collect(),
                hands: vec![Vec::new(); WORKERS],
            };
            for op in &ops {
                run.apply(op).await;
                run.compare().await;
            }
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
