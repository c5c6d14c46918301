//! Decides how jobs are written: in the transaction of what made them necessary, each once.

use sea_query::{Expr, ExprTrait, OnConflict, Query};

use super::{CHANNEL, Kind, TABLE};
use crate::cause::Cause;
use crate::db::{Dialect, Error, Writer};
use crate::moment::Moment;

/// Jobs that are written in one statement.
const BATCH: usize = 500;

/// A new job.
#[derive(Clone, Debug)]
pub struct New {
    /// What kind it is.
    pub kind: &'static Kind,
    /// The event it is written for; there is one job of a kind for each event.
    pub event: Option<String>,
    /// Of jobs of its kind with this key one waits at a time: a further one adds nothing.
    pub key: Option<String>,
    /// What it is about, as JSON.
    pub payload: String,
    /// Not before this moment.
    pub run_at: Moment,
    /// Why it is written. Of jobs with one key, the first one's stays.
    pub cause: Cause,
}

/// Writes jobs and says how many are new. Their workers hear of it when the transaction is committed; those of this
/// process when [`super::Bell::ring`] is called after that.
///
/// # Errors
///
/// Those of the database.
pub async fn enqueue(writer: &mut Writer<'_>, jobs: &[New], now: Moment) -> Result<u64, Error> {
    let mut written = 0;
    for job in jobs.iter().filter(|job| job.key.is_some()) {
        written += writer.execute(&insert(std::slice::from_ref(job), now, &merging())).await?;
    }
    let alone: Vec<New> = jobs.iter().filter(|job| job.key.is_none()).cloned().collect();
    for batch in alone.chunks(BATCH) {
        written += writer.execute(&insert(batch, now, &OnConflict::new().do_nothing().to_owned())).await?;
    }
    if written > 0 && writer.dialect() == Dialect::Postgres {
        let notice = Query::select().expr(Expr::cust(format!("pg_notify('{CHANNEL}', '')"))).take();
        writer.first(&notice).await?;
    }
    Ok(written)
}

/// The job that waits is held until this transaction ends: taken before that, it would not see what is written here.
fn merging() -> OnConflict {
    let earlier = "CASE WHEN excluded.run_at < jobs.run_at THEN excluded.run_at ELSE jobs.run_at END";
    OnConflict::columns(["kind", "key"])
        .target_and_where(Expr::cust("state = 'waiting' AND key IS NOT NULL"))
        .value("run_at", Expr::cust(earlier))
        .to_owned()
}

fn insert(jobs: &[New], now: Moment, conflict: &OnConflict) -> sea_query::InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(TABLE)
        .columns([
            "queue",
            "kind",
            "event_id",
            "key",
            "payload",
            "state",
            "run_at",
            "created_at",
            "request_id",
            "trace",
        ])
        .on_conflict(conflict.clone());
    for job in jobs {
        insert.values_panic([
            job.kind.queue.word().into(),
            job.kind.name.into(),
            job.event.clone().into(),
            job.key.clone().into(),
            job.payload.as_str().into(),
            "waiting".into(),
            job.run_at.0.into(),
            now.0.into(),
            job.cause.request_id().map(str::to_owned).into(),
            job.cause.parent().map(str::to_owned).into(),
        ]);
    }
    insert
}

/// Whether another job with this key waits.
///
/// # Errors
///
/// Those of the database.
pub(super) async fn has_twin(
    writer: &mut Writer<'_>,
    kind: &str,
    key: Option<&str>,
    id: i64,
) -> Result<bool, Error> {
    let Some(key) = key else { return Ok(false) };
    let twin = Query::select()
        .column("id")
        .from(TABLE)
        .and_where(Expr::cust("state = 'waiting'"))
        .and_where(Expr::col("kind").eq(kind))
        .and_where(Expr::col("key").eq(key))
        .and_where(Expr::col("id").ne(id))
        .take();
    Ok(writer.first(&twin).await?.is_some())
}
