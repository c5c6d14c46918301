//! Decides what is seen of the queues without taking anything: what is due, how much waits, how old it is.

use sea_query::{Expr, ExprTrait, Query, SelectStatement};

use super::{Queue, TABLE};
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
        .order_by("run_at", sea_query::Order::Asc)
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

fn subquery(select: SelectStatement) -> Expr {
    Expr::SubQuery(None, Box::new(select.into()))
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

/// Counts the jobs of each queue. Finished ones are not looked at.
///
/// # Errors
///
/// Those of the database.
pub async fn depths(db: &Db, now: Moment) -> Result<Vec<Depth>, Error> {
    let counted = |state: &'static str, when: Option<Expr>| {
        let mut count = Query::select();
        count
            .expr(Expr::cust("count(*)"))
            .from(TABLE)
            .and_where(Expr::cust(format!("state = '{state}'")))
            .and_where(Expr::cust("queue = queues.name"));
        if let Some(when) = when {
            count.and_where(when);
        }
        subquery(count)
    };
    let oldest = Query::select()
        .column("run_at")
        .from(TABLE)
        .and_where(Expr::cust("state = 'waiting'"))
        .and_where(Expr::cust("queue = queues.name"))
        .and_where(Expr::col("run_at").lte(now.0))
        .order_by("run_at", sea_query::Order::Asc)
        .limit(1)
        .take();
    let select = Query::select()
        .columns(["name", "paused_at"])
        .expr(counted("waiting", Some(Expr::col("run_at").lte(now.0))))
        .expr(counted("waiting", Some(Expr::col("run_at").gt(now.0))))
        .expr(counted("running", None))
        .expr(counted("buried", None))
        .expr(subquery(oldest))
        .from("queues")
        .take();
    let rows = db.watch().all(&select).await?;
    let mut depths = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = row.cells();
        let Some(queue) = Queue::parse(&cells.take::<String>()?) else { continue };
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
    depths.sort_by_key(|depth| depth.queue);
    Ok(depths)
}
