//! Decides how a worker takes jobs: those due longest, none that another one looks at, within the limits of the queue.

use std::sync::Arc;
use std::time::Duration;

use sea_query::{Expr, ExprTrait, LockBehavior, LockType, Order, Query};
use tokio_util::sync::CancellationToken;

use super::{Delivery, Fence, Queue, TABLE, rate};
use crate::cause::Cause;
use crate::config::Rate;
use crate::db::{Error, Row, Writer};
use crate::moment::Moment;

/// What may be taken of one queue.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which one.
    pub queue: Queue,
    /// So many at most.
    pub most: u32,
    /// So many may run at once, all processes together; 0 for any number.
    pub in_fleet: u32,
    /// How often one may begin, all processes together.
    pub rate: Option<Rate>,
}

/// Whoever takes.
#[derive(Clone, Debug)]
pub struct Taker {
    /// A name that no other process ever has.
    pub owner: Arc<str>,
    /// How long a job is theirs without another word.
    pub lease: Duration,
}

/// What was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// The jobs.
    pub deliveries: Vec<Delivery>,
    /// When the queue's rate allows the next one, where it does not now.
    pub held_until: Option<Moment>,
}

/// Takes jobs whose moment has come, those due longest first. Nothing of a paused queue.
///
/// # Errors
///
/// Those of the database.
pub async fn take(
    writer: &mut Writer<'_>,
    wanted: Wanted,
    taker: &Taker,
    now: Moment,
) -> Result<Taken, Error> {
    let mut most = wanted.most;
    let mut taken = Taken::default();
    let is_limited = wanted.in_fleet > 0 || wanted.rate.is_some();
    let mut queue = Query::select();
    queue
        .columns(["paused_at", "next_at"])
        .from("queues")
        .and_where(Expr::col("name").eq(wanted.queue.word()));
    if is_limited {
        // Those who count take turns; else two would see the same room.
        queue.lock_exclusive();
    }
    let Some(row) = writer.first(&queue).await? else { return Ok(taken) };
    let mut cells = row.cells();
    let (paused_at, counter): (Option<i64>, i64) = (cells.take()?, cells.take()?);
    if paused_at.is_some() {
        return Ok(taken);
    }
    if wanted.in_fleet > 0 {
        let room = wanted.in_fleet.saturating_sub(running(writer, wanted.queue).await?);
        most = Ord::min(most, room);
    }
    if let Some(rate) = wanted.rate {
        let (granted, _) = rate::granted(rate, counter, most, now);
        if granted < most {
            taken.held_until = Some(rate::fits_at(rate, counter));
        }
        most = granted;
    }
    if most == 0 {
        return Ok(taken);
    }
    let rows = due(writer, wanted.queue, most, now).await?;
    for row in &rows {
        taken.deliveries.push(delivery(row, wanted.queue, taker)?);
    }
    if let Some(rate) = wanted.rate {
        let begun = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let (_, after) = rate::granted(rate, counter, begun, now);
        let count = Query::update()
            .table("queues")
            .value("next_at", after)
            .and_where(Expr::col("name").eq(wanted.queue.word()))
            .take();
        writer.execute(&count).await?;
    }
    if !rows.is_empty() {
        let ids = taken.deliveries.iter().map(|delivery| delivery.fence.id);
        let update = Query::update()
            .table(TABLE)
            .value("state", "running")
            .value("reason", Option::<String>::None)
            .value("attempt", Expr::col("attempt").add(1_i64))
            .value("owner", &*taker.owner)
            .value("lease_until", now.after(taker.lease).0)
            .and_where(Expr::col("id").is_in(ids))
            .take();
        writer.execute(&update).await?;
    }
    Ok(taken)
}

async fn running(writer: &mut Writer<'_>, queue: Queue) -> Result<u32, Error> {
    let count = Query::select()
        .expr(Expr::cust("count(*)"))
        .from(TABLE)
        .and_where(Expr::cust("state = 'running'"))
        .and_where(Expr::col("queue").eq(queue.word()))
        .take();
    match writer.first(&count).await? {
        Some(row) => Ok(u32::try_from(row.cells().take::<i64>()?).unwrap_or(u32::MAX)),
        None => Ok(0),
    }
}

async fn due(writer: &mut Writer<'_>, queue: Queue, most: u32, now: Moment) -> Result<Vec<Row>, Error> {
    let select = Query::select()
        .columns([
            "id",
            "kind",
            "event_id",
            "payload",
            "failures",
            "attempt",
            "created_at",
            "request_id",
            "trace",
        ])
        .from(TABLE)
        .and_where(Expr::cust("state = 'waiting'"))
        .and_where(Expr::col("queue").eq(queue.word()))
        .and_where(Expr::col("run_at").lte(now.0))
        .order_by("run_at", Order::Asc)
        .order_by("id", Order::Asc)
        .limit(u64::from(most))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .take();
    writer.all(&select).await
}

fn delivery(row: &Row, queue: Queue, taker: &Taker) -> Result<Delivery, Error> {
    let mut cells = row.cells();
    let id = cells.take()?;
    let (kind, event, payload, failures) = (cells.take()?, cells.take()?, cells.take()?, cells.take()?);
    let fence = Fence { id, attempt: cells.take::<i64>()? + 1, owner: Arc::clone(&taker.owner) };
    let created_at = Moment(cells.take()?);
    let (request, trace): (Option<String>, Option<String>) = (cells.take()?, cells.take()?);
    let cause = Cause::kept(request, trace.as_deref());
    let cancelled = CancellationToken::new();
    Ok(Delivery { fence, kind, queue, event, payload, failures, created_at, cause, cancelled })
}

/// Says that these jobs are still being worked at, and which of them are still the owner's.
///
/// # Errors
///
/// Those of the database.
pub async fn prolong(
    writer: &mut Writer<'_>,
    ids: &[i64],
    taker: &Taker,
    now: Moment,
) -> Result<Vec<(i64, i64)>, Error> {
    let update = Query::update()
        .table(TABLE)
        .value("lease_until", now.after(taker.lease).0)
        .and_where(Expr::cust("state = 'running'"))
        .and_where(Expr::col("owner").eq(&*taker.owner))
        .and_where(Expr::col("id").is_in(ids.iter().copied()))
        .returning(Query::returning().columns(["id", "attempt"]))
        .take();
    let rows = writer.returning_all(&update).await?;
    let mut held = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = row.cells();
        held.push((cells.take()?, cells.take()?));
    }
    Ok(held)
}
