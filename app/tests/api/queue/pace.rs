//! How many small jobs one worker does in a second, among many that are done and many that wait.
//!
//! `CIRQUE_QUEUE_DONE` and `CIRQUE_QUEUE_WAITING` say how many there are (20,000 and 4,000 when left out). The figures for a
//! million and 100,000 are in `docs/guides/events-and-queue.md`.

use std::time::Duration;

use super::{Bench, start, worker};
use crate::site::{Site, Store};

/// What even an unoptimised build on a busy machine does.
const LEAST: f64 = 150.0;

fn rows(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

async fn fill(site: &Site, state: &str, count: u64) {
    let numbers = match Store::under_test() {
        Store::Sqlite => {
            format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})")
        }
        Store::Postgres => format!("WITH n AS (SELECT i FROM generate_series(1, {count}) AS i)"),
    };
    let ended = if state == "done" { "i" } else { "NULL" };
    site.data
        .change(&format!(
            "INSERT INTO jobs (queue, kind, payload, state, run_at, created_at, ended_at) \
             {numbers} SELECT 'default', 'quick', '{{}}', '{state}', i, 0, {ended} FROM n"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_keeps_its_pace_among_many_that_are_done_and_many_that_wait() {
    let (site, bench) = (Site::seeded(0).await, Bench::default());
    let (done, waiting) = (rows("CIRQUE_QUEUE_DONE", 20_000), rows("CIRQUE_QUEUE_WAITING", 4_000));
    fill(&site, "done", done).await;
    fill(&site, "waiting", waiting).await;
    let mut many = worker(&site, &bench);
    many.config.workers = 64;
    many.config.lease = Duration::from_secs(30);
    let began = tokio::time::Instant::now();
    let working = start(many);
    let measured = waiting.min(20_000);
    while (bench.begun.lock().unwrap().len() as u64) < measured {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{} in a minute",
            bench.begun.lock().unwrap().len()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pace = measured as f64 / began.elapsed().as_secs_f64();
    working.end().await;
    eprintln!("{pace:.0} jobs/s over {:?}, {done} done and {waiting} waiting", Store::under_test());
    assert!(pace > LEAST, "{pace:.0} jobs/s");
}
