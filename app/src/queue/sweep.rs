//! Decides what is tidied up: leases that ended without a word, and rows that nobody will ask for, in small steps.

use std::time::Duration;

use sea_query::{Expr, ExprTrait, LockBehavior, LockType, Order, Query};

use super::decide::{Happening, Standing};
use super::settle::{self, Held, Note};
use super::{Handlers, TABLE};
use crate::db::{Db, Error};
use crate::moment::Moment;

/// Jobs that are rescued in one transaction.
const RESCUED: u64 = 100;
/// Rows that are removed in one transaction: nobody waits behind it for long.
const TRIMMED: u64 = 500;

/// Gives back jobs whose lease has ended, a hundred at most, and says what became of each.
///
/// # Errors
///
/// Those of the database.
pub async fn rescue(
    db: &Db,
    handlers: &dyn Handlers,
    now: Moment,
) -> Result<Vec<(i64, String, Standing)>, Error> {
    let mut lost = Query::select();
    lost.columns(Held::COLUMNS)
        .from(TABLE)
        .and_where(Expr::cust("state = 'running'"))
        .and_where(Expr::col("lease_until").lt(now.0))
        .order_by("lease_until", Order::Asc)
        .limit(RESCUED);
    if db.watch().first(&lost).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut writer = db.write().await?;
    let lost = lost.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).take();
    let mut rescued = Vec::new();
    for row in writer.all(&lost).await? {
        let held = Held::read(&row)?;
        let kind = handlers.kind(&held.kind).unwrap_or(&super::worker::UNKNOWN);
        let note = Note { error: Some("its process was gone".to_owned()), payload: None };
        let after =
            settle::change(&mut writer, &held, kind, (Happening::LeaseEnded, &note), (now, 0)).await?;
        if let Some(after) = after {
            rescued.push((held.id, held.kind, after));
        }
    }
    writer.commit().await?;
    Ok(rescued)
}

/// How long what is over is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Jobs that are done or discarded, and events.
    pub done: Duration,
    /// Jobs that are buried.
    pub buried: Duration,
}

/// Removes what is over for long enough, one small step; whether there may be more.
///
/// # Errors
///
/// Those of the database.
pub async fn trim(db: &Db, keep: Keep, now: Moment) -> Result<bool, Error> {
    let before = |kept: Duration| now.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
    let over = Query::select()
        .column("id")
        .from(TABLE)
        .and_where(Expr::cust("ended_at IS NOT NULL"))
        .and_where(Expr::col("ended_at").lt(before(keep.done)))
        .and_where(Expr::cust("state <> 'buried'").or(Expr::col("ended_at").lt(before(keep.buried))))
        .order_by("ended_at", Order::Asc)
        .limit(TRIMMED)
        .take();
    let told = Query::select()
        .column("id")
        .from("events")
        .and_where(Expr::col("occurred_at").lt(before(keep.done)))
        .and_where(Expr::cust("NOT EXISTS (SELECT 1 FROM jobs WHERE event_id = events.id)"))
        .order_by("occurred_at", Order::Asc)
        .limit(TRIMMED)
        .take();
    if db.watch().first(&over).await?.is_none() && db.watch().first(&told).await?.is_none() {
        return Ok(false);
    }
    let mut writer = db.write().await?;
    let mut removed = 0;
    for (table, rows) in [(TABLE, over), ("events", told)] {
        let delete = Query::delete().from_table(table).and_where(Expr::col("id").in_subquery(rows)).take();
        removed += writer.execute(&delete).await?;
    }
    writer.commit().await?;
    Ok(removed > 0)
}
