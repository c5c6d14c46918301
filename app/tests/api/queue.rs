//! Jobs as their workers see them: real workers over a real database, with jobs of the test's own.

mod model;
mod pace;
mod states;
mod steering;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cirque_app::cause::Cause;
use cirque_app::config::QueueLimits;
use cirque_app::moment::Moment;
use cirque_app::queue::enqueue::{New, enqueue};
use cirque_app::queue::steer::{self, Filter, Shown};
use cirque_app::queue::worker::{Duties, Worker};
use cirque_app::queue::{Delivery, Done, Failed, Handlers, Kind, Queue, State, Work};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::site::Site;

pub(crate) const fn kind(name: &'static str, queue: Queue) -> Kind {
    Kind {
        name,
        queue,
        tries: 3,
        time: Duration::from_secs(20),
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(40),
    }
}

pub(crate) const QUICK: &Kind = &kind("quick", Queue::Default);
pub(crate) const FAILING: &Kind = &kind("failing", Queue::Default);
pub(crate) const PANICKING: &Kind = &kind("panicking", Queue::Default);
pub(crate) const SLOW: &Kind = &Kind { time: Duration::from_millis(50), ..kind("slow", Queue::Default) };
pub(crate) const STUCK: &Kind = &kind("stuck", Queue::Mail);
pub(crate) const COUNTING: &Kind = &kind("counting", Queue::Webhooks);
pub(crate) const LATER: &Kind = &kind("later", Queue::Default);
pub(crate) const KINDS: [&Kind; 7] = [QUICK, FAILING, PANICKING, SLOW, STUCK, COUNTING, LATER];

/// Does jobs and notes what it did.
#[derive(Clone, Default)]
pub(crate) struct Bench {
    pub(crate) seen: Arc<Mutex<HashMap<i64, u32>>>,
    pub(crate) begun: Arc<Mutex<Vec<(String, tokio::time::Instant)>>>,
    /// Now, and at most so far.
    pub(crate) at_once: Arc<Mutex<(u32, u32)>>,
}

impl Handlers for Bench {
    fn kind(&self, name: &str) -> Option<&'static Kind> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    fn run(&self, delivery: Delivery) -> Work {
        *self.seen.lock().unwrap().entry(delivery.fence.id).or_default() += 1;
        self.begun.lock().unwrap().push((delivery.kind.clone(), tokio::time::Instant::now()));
        let this = self.clone();
        Box::pin(async move {
            match delivery.kind.as_str() {
                "failing" => Err(Failed::now("no luck")),
                "panicking" => panic!("out of luck"),
                "slow" | "stuck" => std::future::pending().await,
                "later" if delivery.fence.attempt == 1 => Ok(Done::PutOff {
                    until: Moment::now().after(Duration::from_millis(20)),
                    payload: Some("{\"second\":true}".to_owned()),
                }),
                "counting" => {
                    {
                        let mut at_once = this.at_once.lock().unwrap();
                        at_once.0 += 1;
                        at_once.1 = at_once.1.max(at_once.0);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    this.at_once.lock().unwrap().0 -= 1;
                    Ok(Done::Finished)
                }
                _ => Ok(Done::Finished),
            }
        })
    }
}

/// A worker in this process.
pub(crate) struct Working {
    pub(crate) stop: CancellationToken,
    handle: JoinHandle<()>,
}

impl Working {
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.handle.await.unwrap();
    }
}

pub(crate) fn worker(site: &Site, bench: &Bench) -> Worker {
    let mut config = site.state.queue.clone();
    config.poll = Duration::from_millis(50);
    config.lease = Duration::from_secs(2);
    Worker {
        db: site.state.db.clone(),
        handlers: Arc::new(bench.clone()),
        duties: Duties(&[]),
        config,
        queues: Queue::ALL.to_vec(),
        metrics: site.state.queue_metrics.clone(),
        traces: site.state.traces.clone(),
        bell: site.state.bell.clone(),
        clock: site.state.clock.clone(),
        grace: Duration::from_millis(500),
    }
}

pub(crate) fn start(worker: Worker) -> Working {
    let stop = CancellationToken::new();
    Working { handle: tokio::spawn(worker.run(stop.clone())), stop }
}

pub(crate) fn new(kind: &'static Kind) -> New {
    New { kind, event: None, key: None, payload: "{}".to_owned(), run_at: Moment(0), cause: Cause::none() }
}

pub(crate) async fn write(site: &Site, jobs: &[New]) {
    let mut writer = site.state.db.write().await.unwrap();
    enqueue(&mut writer, jobs, site.state.clock.now()).await.unwrap();
    writer.commit().await.unwrap();
    site.state.bell.ring();
}

pub(crate) async fn jobs(site: &Site) -> Vec<Shown> {
    let mut jobs = steer::list(&site.state.db, &Filter::default(), 1000).await.unwrap();
    jobs.reverse();
    jobs
}

pub(crate) async fn count(site: &Site, state: State) -> usize {
    jobs(site).await.iter().filter(|job| job.state == state.word()).count()
}

/// Waits until every job is over, and hands them out, the oldest first.
pub(crate) async fn all_over(site: &Site) -> Vec<Shown> {
    until(site, "every job is over", |jobs| {
        jobs.iter().all(|job| !["waiting", "running"].contains(&job.state.as_str()))
    })
    .await
}

pub(crate) async fn until(site: &Site, what: &str, is_so: impl Fn(&[Shown]) -> bool) -> Vec<Shown> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let jobs = jobs(site).await;
        if is_so(&jobs) {
            return jobs;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}; {jobs:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_once_and_an_undone_transaction_leaves_none() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let mut writer = site.state.db.write().await.unwrap();
    enqueue(&mut writer, &[new(QUICK)], Moment(0)).await.unwrap();
    drop(writer);
    let workers = [start(worker(&site, &bench)), start(worker(&site, &bench)), start(worker(&site, &bench))];
    write(&site, &vec![new(QUICK); 300]).await;
    let jobs = all_over(&site).await;
    assert_eq!((jobs.len(), jobs.iter().filter(|job| job.state == "done").count()), (300, 300));
    assert!(bench.seen.lock().unwrap().values().all(|times| *times == 1), "each once");
    for worker in workers {
        worker.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_panics_and_overruns_are_buried_with_their_error_and_delay_nobody() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let working = start(worker(&site, &bench));
    write(&site, &[new(FAILING), new(PANICKING), new(SLOW), new(QUICK)]).await;
    until(&site, "the quick one is done", |jobs| jobs[3].state == "done").await;
    let jobs = all_over(&site).await;
    for (job, error) in jobs.iter().zip(["no luck", "it panicked: out of luck", "it took longer than 50ms"]) {
        assert_eq!((job.state.as_str(), job.reason.as_deref()), ("buried", Some("tries_used_up")), "{job:?}");
        assert_eq!((job.failures, job.attempt, job.last_error()), (3, 3, Some(error)));
        assert_eq!(job.errors.as_array().unwrap().len(), 3);
    }
    let text = site.state.metrics.text();
    for line in [
        "queue_jobs_total{kind=\"failing\",outcome=\"failed\",queue=\"default\"} 2",
        "queue_jobs_total{kind=\"failing\",outcome=\"buried\",queue=\"default\"} 1",
        "queue_jobs_total{kind=\"quick\",outcome=\"done\",queue=\"default\"} 1",
        "queue_job_duration_seconds_count{kind=\"slow\",queue=\"default\"} 3",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_put_itself_off_and_that_is_no_failure() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let working = start(worker(&site, &bench));
    write(&site, &[new(LATER)]).await;
    let job = all_over(&site).await.remove(0);
    assert_eq!((job.state.as_str(), job.attempt, job.failures), ("done", 2, 0));
    assert_eq!(job.payload["second"], true);
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_job_waits_for_its_moment() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let working = start(worker(&site, &bench));
    let hour = Duration::from_secs(3600);
    let later = New { run_at: site.state.clock.now().after(hour), ..new(QUICK) };
    write(&site, &[later, new(QUICK)]).await;
    until(&site, "the other one is done", |jobs| jobs[1].state == "done").await;
    assert_eq!(jobs(&site).await[0].state, "waiting");
    site.state.clock.put_forward(hour);
    all_over(&site).await;
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_gives_back_what_it_does_not_finish() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let working = start(worker(&site, &bench));
    write(&site, &[new(STUCK)]).await;
    until(&site, "it runs", |jobs| jobs[0].state == "running").await;
    working.end().await;
    let job = jobs(&site).await.remove(0);
    assert_eq!((job.state.as_str(), job.reason.as_deref()), ("waiting", Some("released")));
    assert_eq!((job.failures, job.losses, job.errors.as_array().unwrap().len()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_keeps_its_lease_for_as_long_as_its_worker_lives() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let mut quick = worker(&site, &bench);
    quick.config.lease = Duration::from_millis(600);
    let (first, second) = (start(quick.clone()), start(quick));
    write(&site, &[new(STUCK)]).await;
    // Twice the lease, by the clock of the database's rows.
    let begun = until(&site, "it runs", |jobs| jobs[0].state == "running").await.remove(0);
    write(&site, &[New { run_at: site.state.clock.now().after(Duration::from_millis(1300)), ..new(QUICK) }])
        .await;
    let jobs = until(&site, "time has passed", |jobs| jobs[1].state == "done").await;
    assert_eq!((&jobs[0].state, jobs[0].attempt, &jobs[0].owner), (&begun.state, 1, &begun.owner));
    first.end().await;
    second.end().await;
}

// key: queue.workers
#[tokio::test(flavor = "multi_thread")]
async fn a_process_does_as_many_jobs_at_once_as_it_has_workers() {
    for workers in [1, 3] {
        let (site, bench) = (Site::seeded(0).await, Bench::default());
        let mut few = worker(&site, &bench);
        few.config.workers = workers;
        few.config.webhooks.at_once = 0;
        let working = start(few);
        write(&site, &vec![new(COUNTING); 20]).await;
        all_over(&site).await;
        assert_eq!(bench.at_once.lock().unwrap().1, u32::try_from(workers).unwrap());
        working.end().await;
    }
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let mut none = worker(&site, &bench);
    none.config.workers = 0;
    none.run(CancellationToken::new()).await;
}

// key: queue.default.at_once, queue.mail.at_once, queue.webhooks.at_once, queue.default.in_fleet, queue.mail.in_fleet, queue.webhooks.in_fleet
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_limits_for_one_process_and_for_all_together() {
    for (at_once, in_fleet, most) in [(2, 0, 4), (0, 3, 3), (1, 9, 2)] {
        let (site, bench) = (Site::seeded(0).await, Bench::default());
        let mut limited = worker(&site, &bench);
        limited.config.webhooks = QueueLimits { at_once, in_fleet, rate: None };
        let (first, second) = (start(limited.clone()), start(limited));
        write(&site, &vec![new(COUNTING); 40]).await;
        all_over(&site).await;
        let seen = bench.at_once.lock().unwrap().1;
        assert!(seen <= most && seen > 0, "{seen} at once, at most {most}");
        first.end().await;
        second.end().await;
    }
    for name in ["default", "mail", "webhooks"] {
        let text = format!("[queue.{name}]\nat_once = 7\nin_fleet = 9\nrate = '5/1s'\n");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.toml");
        std::fs::write(&file, text).unwrap();
        let limits = cirque_app::config::Config::load(Some(&file)).unwrap().queue.limits(name);
        assert_eq!((limits.at_once, limits.in_fleet, limits.rate.unwrap().count), (7, 9, 5));
    }
}

// key: queue.default.rate, queue.mail.rate, queue.webhooks.rate
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_a_rate_for_all_processes_together() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let mut limited = worker(&site, &bench);
    let rate = Some(cirque_app::config::Rate { count: 10, period: Duration::from_secs(1) });
    limited.config.default = QueueLimits { at_once: 0, in_fleet: 0, rate };
    let (first, second) = (start(limited.clone()), start(limited));
    write(&site, &vec![new(QUICK); 16]).await;
    all_over(&site).await;
    let begun = bench.begun.lock().unwrap().clone();
    let took = begun[15].1 - begun[0].1;
    // Ten at once, the six others a tenth of a second apart.
    assert!(took >= Duration::from_millis(450), "{took:?}");
    first.end().await;
    second.end().await;
}

// key: queue.poll
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_told_of_is_found_by_asking() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let beside = site.beside().await;
    let mut slow = worker(&beside, &bench);
    slow.config.poll = Duration::from_millis(300);
    let working = start(slow);
    // As another process would in SQLite: without a notice.
    site.data
        .change(
            "INSERT INTO jobs (queue, kind, payload, state, run_at, created_at) \
             VALUES ('default', 'quick', '{}', 'waiting', 0, 0)",
        )
        .await;
    all_over(&site).await;
    working.end().await;
}
