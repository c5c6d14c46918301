//! Decides what is seen of the queues without taking anything: what is due, how much waits, how old it is.

use sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};

use super::{Queue, TABLE};
use crate::db::dialect::subquery;
use crate::db::{Db, Error};
use crate::moment::Moment;

/// One queue, as a worker must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which one.
    pub queue: Queue,
    /// Nothing of it is taken.
    pub is_paused: bool,
    /// The moment of its next job; `None` when none waits.
    pub next: Option<Moment>,
}

/// What waits in each queue; three steps into an index, however many jobs there are.
///
/// # Errors
///
/// Those of the database.
pub async fn due(db: &Db) -> Result<Vec<Due>, Error> {
    let next = Query::select()
        .column("run_at")
        .from(TABLE)
        .and_where(Expr::cust("state = 'waiting'"))
        .and_where(Expr::cust("queue = queues.name"))
        .order_by("run_at", Order::Asc)
        .limit(1)
        .take();
    let select = Query::select().columns(["name", "paused_at"]).expr(subquery(next)).from("queues").take();
    let rows = db.watch().all(&select).await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = row.cells();
        // A queue of a newer version is not ours to serve.
        let Some(queue) = Queue::parse(&cells.take::<String>()?) else { continue };
        let is_paused = cells.take::<Option<i64>>()?.is_some();
        due.push(Due { queue, is_paused, next: cells.take::<Option<i64>>()?.map(Moment) });
    }
    Ok(due)
}

/// One queue in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Which one.
    pub queue: Queue,
    /// Nothing of it is taken since then.
    pub paused_at: Option<Moment>,
    /// Jobs whose moment has come.
    pub pending: u64,
    /// Jobs whose moment is to come.
    pub delayed: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Jobs that a person should look at.
    pub buried: u64,
    /// Since when the longest waiting of the pending ones could have been taken.
    pub oldest: Option<Moment>,
}

/// As many are counted at most: then it costs no more, however many there are.
const COUNTED: u64 = 1_000_000;

/// Counts the jobs of each queue, up to a million of each sort. Finished ones are not looked at.
///
/// # Errors
///
/// Those of the database.
pub async fn depths(db: &Db, now: Moment) -> Result<Vec<Depth>, Error> {
    let mut depths = Vec::with_capacity(Queue::ALL.len());
    for queue in Queue::ALL {
        let (is_due, is_later) = (Expr::col("run_at").lte(now.0), Expr::col("run_at").gt(now.0));
        let oldest = of(queue, "waiting")
            .column("run_at")
            .and_where(is_due.clone())
            .order_by("run_at", Order::Asc)
            .limit(1)
            .take();
        let select = Query::select()
            .column("paused_at")
            .expr(counted(queue, "waiting", Some(is_due)))
            .expr(counted(queue, "waiting", Some(is_later)))
            .expr(counted(queue, "running", None))
            .expr(counted(queue, "buried", None))
            .expr(subquery(oldest))
            .from("queues")
            .and_where(Expr::col("name").eq(queue.word()))
            .take();
        let Some(row) = db.watch().first(&select).await? else { continue };
        let mut cells = row.cells();
        depths.push(Depth {
            queue,
            paused_at: cells.take::<Option<i64>>()?.map(Moment),
            pending: cells.take::<i64>()?.unsigned_abs(),
            delayed: cells.take::<i64>()?.unsigned_abs(),
            running: cells.take::<i64>()?.unsigned_abs(),
            buried: cells.take::<i64>()?.unsigned_abs(),
            oldest: cells.take::<Option<i64>>()?.map(Moment),
        });
    }
    Ok(depths)
}

/// The jobs of a queue in one state, of which nothing is selected yet.
fn of(queue: Queue, state: &str) -> SelectStatement {
    Query::select()
        .from(TABLE)
        .and_where(Expr::cust(format!("state = '{state}'")))
        .and_where(Expr::col("queue").eq(queue.word()))
        .take()
}

fn counted(queue: Queue, state: &str, when: Option<Expr>) -> Expr {
    let mut some = of(queue, state).column("id").limit(COUNTED).take();
    if let Some(when) = when {
        some.and_where(when);
    }
    subquery(Query::select().expr(Expr::cust("count(*)")).from_subquery(some, "some_jobs").take())
}
