//! Leases that end, workers that come back from the dead, schedules, trimming: each by its statements.

use std::sync::Arc;
use std::time::Duration;

use cirque_app::config::QueueLimits;
use cirque_app::moment::Moment;
use cirque_app::queue::leader::{self, Schedule};
use cirque_app::queue::sweep::{self, Keep};
use cirque_app::queue::take::{Taker, Wanted, take};
use cirque_app::queue::worker::Duties;
use cirque_app::queue::{Delivery, Queue, State};

use super::{Bench, KINDS, QUICK, STUCK, all_over, jobs, new, start, until, worker, write};
use crate::site::{Site, Store};

fn taker(name: &str) -> Taker {
    Taker { owner: Arc::from(name), lease: Duration::from_secs(30) }
}

async fn taken(site: &Site, name: &str, most: u32, now: Moment) -> Vec<Delivery> {
    let wanted = Wanted { queue: Queue::Default, most, in_fleet: 0, rate: None };
    let mut writer = site.state.db.write().await.unwrap();
    let taken = take(&mut writer, wanted, &taker(name), now).await.unwrap();
    writer.commit().await.unwrap();
    taken.deliveries
}

#[tokio::test]
async fn the_word_of_a_worker_that_slept_beyond_its_lease_is_not_believed() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let now = site.state.clock.now();
    write(&site, &[new(QUICK)]).await;
    let zombie = taken(&site, "zombie", 1, now).await.remove(0);
    let later = now.after(Duration::from_secs(31));
    sweep::rescue(&site.state.db, &bench, later).await.unwrap();
    let other = taken(&site, "other", 1, later).await.remove(0);
    assert_eq!((zombie.fence.id, other.fence.attempt), (other.fence.id, 2));
    // Neither a result, nor an effect in its own transaction.
    let refused = zombie.complete(&site.state.db, later).await.map(drop).unwrap_err();
    assert!(refused.message.contains("another worker"), "{refused:?}");
    let mut effect = other.complete(&site.state.db, later).await.unwrap();
    let done = sea_query::Query::update()
        .table("settings")
        .value("name", "effect")
        .and_where(sea_query::ExprTrait::eq(sea_query::Expr::col("name"), "nothing"))
        .take();
    effect.execute(&done).await.unwrap();
    effect.commit().await.unwrap();
    let job = jobs(&site).await.remove(0);
    assert_eq!((job.state.as_str(), job.losses), ("done", 1));
}

#[tokio::test]
async fn workers_that_take_at_once_never_take_the_same() {
    let site = Site::seeded(0).await;
    write(&site, &vec![new(QUICK); 200]).await;
    let now = site.state.clock.now();
    let site = Arc::new(site);
    let mut tasks = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let site = Arc::clone(&site);
        tasks.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            loop {
                let more = taken(&site, name, 7, now).await;
                if more.is_empty() {
                    return ids;
                }
                ids.extend(more.into_iter().map(|delivery| delivery.fence.id));
            }
        }));
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await.unwrap());
    }
    let found = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((found, ids.len()), (200, 200));
}

// key: queue.lease
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_worker_that_fell_silent_is_taken_by_another_and_buried_when_it_kills_each() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    write(&site, &[new(STUCK)]).await;
    for losses in 1..=3 {
        let mut silent = worker(&site, &bench);
        silent.config.lease = Duration::from_secs(600);
        silent.grace = Duration::ZERO;
        let working = start(silent);
        until(&site, "it runs", |jobs| jobs[0].state == "running").await;
        working.stop.cancel();
        working.end().await;
        // As if it had been killed instead.
        site.data.change(&format!("UPDATE jobs SET state = 'running', lease_until = {}", i64::MAX / 2)).await;
        sweep::rescue(&site.state.db, &bench, Moment::now()).await.unwrap();
        assert_eq!(jobs(&site).await[0].state, "running", "its lease has not ended");
        site.data.change("UPDATE jobs SET lease_until = 1").await;
        sweep::rescue(&site.state.db, &bench, Moment::now()).await.unwrap();
        assert_eq!(jobs(&site).await[0].losses, losses);
    }
    let job = jobs(&site).await.remove(0);
    assert_eq!((job.state.as_str(), job.reason.as_deref()), ("buried", Some("poison")));
}

const TICK: &[Schedule] =
    &[Schedule { name: "tick", kind: QUICK, every: Duration::from_secs(3600), offset: Duration::ZERO }];

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_carried_out_once_by_however_many_workers() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let mut scheduling = worker(&site, &bench);
    scheduling.duties = Duties(TICK);
    scheduling.config.lease = Duration::from_secs(1);
    let workers = [start(scheduling.clone()), start(scheduling.clone()), start(scheduling)];
    let noted = || async { site.data.ids("SELECT next_at FROM schedules").await };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while noted().await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "no schedule was noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for hours in 1..=3 {
        // Past the lease too: whoever led may lose it, and another takes over.
        site.state.clock.put_forward(Duration::from_secs(3600));
        until(&site, "the tick was carried out", |jobs| jobs.len() >= hours).await;
    }
    assert_eq!(all_over(&site).await.len(), 3, "once for each hour");
    for worker in workers {
        worker.end().await;
    }
}

#[tokio::test]
async fn one_leads_and_another_takes_over_when_its_lease_ends_or_it_resigns() {
    let site = Site::seeded(0).await;
    let (db, now) = (&site.state.db, site.state.clock.now());
    let lead = async |owner: &str, now: Moment| {
        let mut writer = db.write().await.unwrap();
        let leads = leader::lead(&mut writer, owner, now).await.unwrap();
        writer.commit().await.unwrap();
        leads
    };
    assert!(lead("a", now).await && !lead("b", now).await && lead("a", now).await);
    assert!(leader::is_led_by_another(db.read(), "b", now).await.unwrap());
    let later = now.after(leader::LEASE + Duration::from_millis(1));
    assert!(lead("b", later).await && !lead("a", later).await);
    assert!(leader::LEASE + leader::EVERY < Duration::from_secs(15), "another takes over within that");
    let mut writer = db.write().await.unwrap();
    leader::resign(&mut writer, "b").await.unwrap();
    writer.commit().await.unwrap();
    assert!(lead("a", later).await);
}

// key: queue.keep_done, queue.keep_buried
#[tokio::test]
async fn what_is_over_is_removed_in_small_steps_when_its_time_has_come() {
    let site = Site::seeded(0).await;
    let now = site.state.clock.now();
    for (state, hours, count) in [("done", 25, 1200), ("done", 1, 3), ("buried", 25, 2), ("discarded", 25, 1)]
    {
        let ended = now.0 - hours * 3_600_000;
        let row = format!("('default', 'quick', '{{}}', '{state}', 0, 0, {ended})");
        let rows = vec![row; count].join(",");
        site.data
            .change(&format!(
                "INSERT INTO jobs (queue, kind, payload, state, run_at, created_at, ended_at) VALUES {rows}"
            ))
            .await;
    }
    let keep = Keep { done: site.state.queue.keep_done, buried: site.state.queue.keep_buried };
    assert_eq!((keep.done, keep.buried), (Duration::from_secs(86_400), Duration::from_secs(720 * 3600)));
    let mut steps = 0;
    while sweep::trim(&site.state.db, keep, now).await.unwrap() {
        steps += 1;
    }
    assert_eq!(steps, 3);
    let left = jobs(&site).await;
    let of = |state: State| left.iter().filter(|job| job.state == state.word()).count();
    assert_eq!((of(State::Done), of(State::Buried), of(State::Discarded)), (3, 2, 0));
    let keep = Keep { buried: Duration::from_secs(3600), ..keep };
    assert!(sweep::trim(&site.state.db, keep, now).await.unwrap());
    assert_eq!(jobs(&site).await.len(), 3);
}

/// How the database looks for what is due: with the index that holds only what waits.
#[tokio::test]
async fn taking_costs_the_same_however_much_is_done_and_waits() {
    let site = Site::seeded(0).await;
    let rows = |state: &str, count: u32| match Store::under_test() {
        Store::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO jobs (queue, kind, payload, state, run_at, created_at, ended_at) \
             SELECT 'default', 'quick', '{{}}', '{state}', i, 0, CASE '{state}' WHEN 'done' THEN i END FROM n"
        ),
        Store::Postgres => format!(
            "INSERT INTO jobs (queue, kind, payload, state, run_at, created_at, ended_at) \
             SELECT 'default', 'quick', '{{}}', '{state}', i, 0, CASE '{state}' WHEN 'done' THEN i END \
             FROM generate_series(1, {count}) AS i"
        ),
    };
    site.data.change(&rows("done", 50_000)).await;
    site.data.change(&rows("waiting", 5_000)).await;
    let due = "SELECT id FROM jobs WHERE (state = 'waiting') AND queue = 'default' AND run_at <= 4000000000000 \
               ORDER BY run_at ASC, id ASC LIMIT 10";
    let plan = match Store::under_test() {
        Store::Sqlite => {
            let mut witness = site.data.connect().await;
            let crate::site::Witness::Sqlite(connection) = &mut witness else {
                panic!("SQLite is under test")
            };
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {due}")))
                .fetch_all(connection)
                .await
                .unwrap();
            rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 3)).collect::<Vec<_>>().join("\n")
        }
        Store::Postgres => {
            site.data.change("ANALYZE jobs").await;
            site.data.column::<String>(&format!("EXPLAIN {due}")).await.join("\n")
        }
    };
    assert!(plan.contains("jobs_due") && !plan.to_lowercase().contains("sort"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Seq Scan"), "{plan}");
    assert_eq!(taken(&site, "a", 10, site.state.clock.now()).await.len(), 10);
}

#[test]
fn the_queues_of_the_tests_are_those_of_the_configuration() {
    assert!(KINDS.iter().all(|kind| Queue::parse(kind.queue.word()) == Some(kind.queue)));
    let config = cirque_app::config::Config::load(None).unwrap().queue;
    assert_eq!(config.limits("default"), QueueLimits { at_once: 0, in_fleet: 0, rate: None });
    assert_eq!((config.limits("mail").at_once, config.limits("webhooks").at_once), (4, 4));
}
