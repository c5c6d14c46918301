//! Decides what a person sees of jobs and does with them, from the command line or over the API.

use sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};
use serde_json::{Value, json};

use super::decide::{Happening, Standing};
use super::settle::{self, Held, Note};
use super::{CHANNEL, Handlers, Queue, State, TABLE};
use crate::db::{Db, Dialect, Error, Row, Writer};
use crate::moment::Moment;

/// The most jobs that are listed at once.
pub const MOST: u64 = 1000;
/// Jobs that are changed in one transaction.
const BATCH: u64 = 200;

/// Which jobs are meant; all conditions hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only in this queue.
    pub queue: Option<Queue>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those with a smaller number.
    pub before: Option<i64>,
}

impl Filter {
    fn select(&self, columns: impl IntoIterator<Item = &'static str>, limit: u64) -> SelectStatement {
        let mut select = Query::select();
        select.columns(columns).from(TABLE).order_by("id", Order::Desc).limit(limit);
        if let Some(state) = self.state {
            select.and_where(Expr::cust(format!("state = '{}'", state.word())));
        }
        if let Some(queue) = self.queue {
            select.and_where(Expr::col("queue").eq(queue.word()));
        }
        if let Some(kind) = &self.kind {
            select.and_where(Expr::col("kind").eq(kind.as_str()));
        }
        if let Some(before) = self.before {
            select.and_where(Expr::col("id").lt(before));
        }
        select
    }
}

/// A job as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its number.
    pub id: i64,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Where it is.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// The event it is for.
    pub event: Option<String>,
    /// Of those with the same key one waits at a time.
    pub key: Option<String>,
    /// What it is about.
    pub payload: Value,
    /// When it may be taken.
    pub run_at: Moment,
    /// How often it was taken.
    pub attempt: i64,
    /// How often it failed.
    pub failures: i64,
    /// How often its process was gone.
    pub losses: i64,
    /// Who has it, or had it last.
    pub owner: Option<String>,
    /// The latest errors.
    pub errors: Value,
    /// When it was written.
    pub created_at: Moment,
    /// When it was over.
    pub ended_at: Option<Moment>,
}

const COLUMNS: [&str; 16] = [
    "id",
    "queue",
    "kind",
    "state",
    "reason",
    "event_id",
    "key",
    "payload",
    "run_at",
    "attempt",
    "failures",
    "losses",
    "owner",
    "errors",
    "created_at",
    "ended_at",
];

impl Shown {
    fn read(row: &Row) -> Result<Self, Error> {
        let mut cells = row.cells();
        Ok(Self {
            id: cells.take()?,
            queue: cells.take()?,
            kind: cells.take()?,
            state: cells.take()?,
            reason: cells.take()?,
            event: cells.take()?,
            key: cells.take()?,
            payload: value(&cells.take::<String>()?),
            run_at: Moment(cells.take()?),
            attempt: cells.take()?,
            failures: cells.take()?,
            losses: cells.take()?,
            owner: cells.take()?,
            errors: value(&cells.take::<String>()?),
            created_at: Moment(cells.take()?),
            ended_at: cells.take::<Option<i64>>()?.map(Moment),
        })
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "queue": self.queue, "kind": self.kind, "state": self.state, "reason": self.reason,
            "event": self.event, "key": self.key, "payload": self.payload, "run_at": self.run_at,
            "attempt": self.attempt, "failures": self.failures, "losses": self.losses, "owner": self.owner,
            "errors": self.errors, "created_at": self.created_at, "ended_at": self.ended_at,
        })
    }

    /// What the last try failed of.
    pub fn last_error(&self) -> Option<&str> {
        self.errors.as_array()?.last()?.get("message")?.as_str()
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// The newest jobs that are meant, at most `limit`.
///
/// # Errors
///
/// Those of the database.
pub async fn list(db: &Db, filter: &Filter, limit: u64) -> Result<Vec<Shown>, Error> {
    let rows = db.read_fresh().all(&filter.select(COLUMNS, Ord::min(limit, MOST))).await?;
    rows.iter().map(Shown::read).collect()
}

/// The job of this number.
///
/// # Errors
///
/// Those of the database.
pub async fn show(db: &Db, id: i64) -> Result<Option<Shown>, Error> {
    let select = Query::select().columns(COLUMNS).from(TABLE).and_where(Expr::col("id").eq(id)).take();
    db.read_fresh().first(&select).await?.map(|row| Shown::read(&row)).transpose()
}

/// What a person wants of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Do it again, or at once.
    Retry,
    /// Do not do it any more. A worker that has it is told at its next heartbeat.
    Discard,
}

impl Wish {
    fn happening(self) -> Happening {
        match self {
            Self::Retry => Happening::AskedFor,
            Self::Discard => Happening::Discarded,
        }
    }
}

/// What came of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// There is no such job.
    Unknown,
    /// It cannot be, in the state it is in.
    Impossible(State),
    /// What became of it.
    Is(Standing),
}

/// Does as a person wishes with one job.
///
/// # Errors
///
/// Those of the database.
pub async fn wish(
    db: &Db,
    handlers: &dyn Handlers,
    (id, wish): (i64, Wish),
    now: Moment,
) -> Result<Granted, Error> {
    let mut writer = db.write().await?;
    let Some(held) = settle::held(&mut writer, id).await? else { return Ok(Granted::Unknown) };
    let after = one(&mut writer, &held, handlers, wish, now).await?;
    announce(&mut writer).await?;
    writer.commit().await?;
    Ok(after.map_or(Granted::Impossible(held.standing.state), Granted::Is))
}

async fn one(
    writer: &mut Writer<'_>,
    held: &Held,
    handlers: &dyn Handlers,
    wish: Wish,
    now: Moment,
) -> Result<Option<Standing>, Error> {
    let kind = handlers.kind(&held.kind).unwrap_or(&super::worker::UNKNOWN);
    settle::change(writer, held, kind, (wish.happening(), &Note::default()), (now, 0)).await
}

/// Does as a person wishes with every job that is meant, in small steps, and says with how many.
///
/// # Errors
///
/// Those of the database; what was done until then stays.
pub async fn wish_all(
    db: &Db,
    handlers: &dyn Handlers,
    (filter, wish): (&Filter, Wish),
    now: Moment,
) -> Result<u64, Error> {
    let (mut filter, mut changed) = (filter.clone(), 0);
    loop {
        let ids = db.read_fresh().all(&filter.select(["id"], BATCH)).await?;
        let ids: Vec<i64> = ids.iter().map(|row| row.cells().take()).collect::<Result<_, Error>>()?;
        let Some(last) = ids.last().copied() else { return Ok(changed) };
        let mut writer = db.write().await?;
        for id in ids {
            let Some(held) = settle::held(&mut writer, id).await? else { continue };
            // It may have gone on meanwhile.
            if filter.state.is_some_and(|state| state != held.standing.state) {
                continue;
            }
            changed += u64::from(one(&mut writer, &held, handlers, wish, now).await?.is_some());
        }
        announce(&mut writer).await?;
        writer.commit().await?;
        filter.before = Some(last);
    }
}

/// Lets nothing of a queue be taken any more, or lets it be taken again; whether that is new.
///
/// # Errors
///
/// Those of the database.
pub async fn set_paused(db: &Db, queue: Queue, is_paused: bool, now: Moment) -> Result<bool, Error> {
    let was = if is_paused { Expr::col("paused_at").is_null() } else { Expr::col("paused_at").is_not_null() };
    let update = Query::update()
        .table("queues")
        .value("paused_at", is_paused.then_some(now.0))
        .and_where(Expr::col("name").eq(queue.word()))
        .and_where(was)
        .take();
    let mut writer = db.write().await?;
    let changed = writer.execute(&update).await?;
    announce(&mut writer).await?;
    writer.commit().await?;
    Ok(changed > 0)
}

async fn announce(writer: &mut Writer<'_>) -> Result<(), Error> {
    if writer.dialect() == Dialect::Postgres {
        let notice = Query::select().expr(Expr::cust(format!("pg_notify('{CHANNEL}', '')"))).take();
        writer.first(&notice).await?;
    }
    Ok(())
}
