//! Decides how the end of a try is written: only for whoever still has the job, and many at once where all went well.

use std::collections::BTreeMap;

use sea_query::{Cond, Expr, ExprTrait, Query, SelectStatement};
use serde_json::{Value, json};

use super::decide::{Happening, Standing, decide};
use super::enqueue::has_twin;
use super::{Fence, Kind, State, TABLE};
use crate::db::{Error, Row, Writer};
use crate::moment::Moment;

/// The latest errors that are kept with a job.
const ERRORS: usize = 5;
/// How much of an error is kept, in characters.
const MESSAGE: usize = 500;

/// Writes that these jobs are done, and says of how many that was still theirs to say.
///
/// # Errors
///
/// Those of the database.
pub async fn done(writer: &mut Writer<'_>, fences: &[Fence], now: Moment) -> Result<u64, Error> {
    let Some(first) = fences.first() else { return Ok(0) };
    let mut by_attempt: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for fence in fences {
        by_attempt.entry(fence.attempt).or_default().push(fence.id);
    }
    let mut theirs = Cond::any();
    for (attempt, ids) in by_attempt {
        theirs = theirs.add(Expr::col("attempt").eq(attempt).and(Expr::col("id").is_in(ids)));
    }
    let update = Query::update()
        .table(TABLE)
        .value("state", State::Done.word())
        .value("reason", Option::<String>::None)
        .value("ended_at", now.0)
        .value("lease_until", Option::<i64>::None)
        .and_where(Expr::cust("state = 'running'"))
        .and_where(Expr::col("owner").eq(&*first.owner))
        .cond_where(theirs)
        .take();
    writer.execute(&update).await
}

/// Lets a job that was ended in this transaction wait again, for now, with another payload.
pub(super) async fn go_on(
    writer: &mut Writer<'_>,
    fence: &Fence,
    payload: &str,
    now: Moment,
) -> Result<(), Error> {
    let update = Query::update()
        .table(TABLE)
        .value("state", State::Waiting.word())
        .value("run_at", now.0)
        .value("payload", payload)
        .value("ended_at", Option::<i64>::None)
        .and_where(Expr::col("id").eq(fence.id))
        .and_where(Expr::col("attempt").eq(fence.attempt))
        .take();
    writer.execute(&update).await.map(drop)
}

/// What is written with a happening.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// Why it failed.
    pub error: Option<String>,
    /// What the job is about from now on.
    pub payload: Option<String>,
}

/// Lets something happen to one job; `None` when it was not theirs any more, or cannot happen to it.
///
/// # Errors
///
/// Those of the database.
pub async fn happen(
    writer: &mut Writer<'_>,
    fence: &Fence,
    kind: &Kind,
    (happening, note): (Happening, &Note),
    (now, random): (Moment, u64),
) -> Result<Option<Standing>, Error> {
    let Some(held) = held(writer, fence.id).await? else { return Ok(None) };
    let is_theirs = held.standing.state == State::Running
        && held.attempt == fence.attempt
        && held.owner.as_deref() == Some(&*fence.owner);
    if !is_theirs {
        return Ok(None);
    }
    change(writer, &held, kind, (happening, note), (now, random)).await
}

/// A job that is locked until the transaction ends.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) standing: Standing,
    attempt: i64,
    owner: Option<String>,
    key: Option<String>,
    errors: String,
}

impl Held {
    /// The columns of [`Held::read`].
    pub(super) const COLUMNS: [&'static str; 10] =
        ["id", "kind", "state", "run_at", "failures", "losses", "attempt", "owner", "key", "errors"];

    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let mut cells = row.cells();
        let (id, kind) = (cells.take()?, cells.take()?);
        let state = State::parse(&cells.take::<String>()?);
        let state = state.ok_or_else(|| Error::Statement(sqlx::Error::Decode("a state of no job".into())))?;
        let standing = Standing {
            state,
            reason: None,
            run_at: Moment(cells.take()?),
            failures: cells.take()?,
            losses: cells.take()?,
        };
        Ok(Self {
            id,
            kind,
            standing,
            attempt: cells.take()?,
            owner: cells.take()?,
            key: cells.take()?,
            errors: cells.take()?,
        })
    }
}

/// The job of this number.
pub(super) async fn held(writer: &mut Writer<'_>, id: i64) -> Result<Option<Held>, Error> {
    let row = writer.first(&by_id(id).lock_exclusive().take()).await?;
    row.map(|row| Held::read(&row)).transpose()
}

fn by_id(id: i64) -> SelectStatement {
    Query::select().columns(Held::COLUMNS).from(TABLE).and_where(Expr::col("id").eq(id)).take()
}

/// Writes what becomes of a held job by a happening; `None` when it cannot happen to it.
pub(super) async fn change(
    writer: &mut Writer<'_>,
    held: &Held,
    kind: &Kind,
    (happening, note): (Happening, &Note),
    (now, random): (Moment, u64),
) -> Result<Option<Standing>, Error> {
    let has_twin = has_twin(writer, &held.kind, held.key.as_deref(), held.id).await?;
    let Ok(after) = decide(&held.standing, happening, kind, has_twin, (now, random)) else {
        return Ok(None);
    };
    let is_over = !matches!(after.state, State::Waiting | State::Running);
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("state", after.state.word())
        .value("reason", after.reason.map(|reason| reason.word().to_owned()))
        .value("run_at", after.run_at.0)
        .value("failures", after.failures)
        .value("losses", after.losses)
        .value("lease_until", Option::<i64>::None)
        .value("ended_at", is_over.then_some(now.0))
        .and_where(Expr::col("id").eq(held.id));
    if let Some(message) = &note.error {
        update.value("errors", with_error(&held.errors, held.attempt, message, now));
    }
    if let Some(payload) = &note.payload {
        update.value("payload", payload.as_str());
    }
    writer.execute(&update).await?;
    Ok(Some(after))
}

/// The list with one more error, without the oldest ones.
fn with_error(errors: &str, attempt: i64, message: &str, now: Moment) -> String {
    let mut list: Vec<Value> = serde_json::from_str(errors).unwrap_or_default();
    let message: String = message.chars().filter(|c| *c != '\0').take(MESSAGE).collect();
    list.push(json!({ "attempt": attempt, "at": now, "message": message }));
    let skip = list.len().saturating_sub(ERRORS);
    Value::Array(list.split_off(skip)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_errors_are_kept_and_none_is_endless() {
        let mut errors = "[]".to_owned();
        for attempt in 1..=7 {
            errors = with_error(&errors, attempt, &"x\0".repeat(1000), Moment(0));
        }
        let list: Vec<Value> = serde_json::from_str(&errors).unwrap();
        let attempts: Vec<i64> = list.iter().map(|error| error["attempt"].as_i64().unwrap()).collect();
        assert_eq!(attempts, [3, 4, 5, 6, 7]);
        assert_eq!(list[0]["message"], "x".repeat(MESSAGE));
    }
}
