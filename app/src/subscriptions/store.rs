//! Decides which statements keep subscribers.

use std::time::Duration;

use sea_query::{Expr, ExprTrait, Order, Query};

use crate::db::{Error, Reader, Writer};
use crate::moment::Moment;

const TABLE: &str = "subscribers";

/// Time between two mails that ask one address whether it asked.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// How long the link in the first mail is good.
pub const CONFIRMABLE: Duration = Duration::from_secs(48 * 3600);
/// How long somebody who did not confirm is remembered.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// They asked, and have not said so again.
    Pending,
    /// They are written to.
    Confirmed,
    /// Not any more.
    Unsubscribed,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// Notes that somebody asked; the id when a mail is to be sent to ask back. None is sent to those who confirmed, nor
/// to those who were asked a moment ago.
///
/// # Errors
///
/// Those of the database.
pub async fn request(writer: &mut Writer<'_>, email: &str, now: Moment) -> Result<Option<i64>, Error> {
    let select = Query::select()
        .columns(["id", "status", "requested_at"])
        .from(TABLE)
        .and_where(Expr::col("email").eq(email))
        .lock_exclusive()
        .take();
    let Some(row) = writer.first(&select).await? else {
        let insert = Query::insert()
            .into_table(TABLE)
            .columns(["email", "status", "requested_at", "created_at"])
            .values_panic([email.into(), Status::Pending.word().into(), now.0.into(), now.0.into()])
            .returning_col("id")
            .take();
        let row = writer.returning(&insert).await?;
        return row.map(|row| row.cells().take()).transpose();
    };
    let mut cells = row.cells();
    let (id, status, requested_at): (i64, String, i64) = (cells.take()?, cells.take()?, cells.take()?);
    if status == Status::Confirmed.word() || requested_at > before(now, AGAIN) {
        return Ok(None);
    }
    let update = Query::update()
        .table(TABLE)
        .value("status", Status::Pending.word())
        .value("requested_at", now.0)
        .and_where(Expr::col("id").eq(id))
        .take();
    writer.execute(&update).await?;
    Ok(Some(id))
}

/// Notes that somebody said so again; whether there is such a subscriber who asked.
///
/// # Errors
///
/// Those of the database.
pub async fn confirm(writer: &mut Writer<'_>, id: i64, now: Moment) -> Result<bool, Error> {
    let update = Query::update()
        .table(TABLE)
        .value("status", Status::Confirmed.word())
        .value("changed_at", now.0)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("status").is_in([Status::Pending.word(), Status::Confirmed.word()]))
        .take();
    Ok(writer.execute(&update).await? > 0)
}

/// Notes that somebody wants no more mail.
///
/// # Errors
///
/// Those of the database.
pub async fn unsubscribe(writer: &mut Writer<'_>, id: i64, now: Moment) -> Result<(), Error> {
    let update = Query::update()
        .table(TABLE)
        .value("status", Status::Unsubscribed.word())
        .value("changed_at", now.0)
        .and_where(Expr::col("id").eq(id))
        .take();
    writer.execute(&update).await.map(drop)
}

/// The address of a subscriber, if they may be written to in this matter.
///
/// # Errors
///
/// Those of the database.
pub async fn address(db: Reader<'_>, id: i64, status: Status) -> Result<Option<String>, Error> {
    let select = Query::select()
        .column("email")
        .from(TABLE)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("status").eq(status.word()))
        .take();
    db.first(&select).await?.map(|row| row.cells().take()).transpose()
}

/// Those who confirmed, by their numbers: the next ones after `after`, at most `limit`.
///
/// # Errors
///
/// Those of the database.
pub async fn confirmed(writer: &mut Writer<'_>, after: i64, limit: u64) -> Result<Vec<i64>, Error> {
    let select = Query::select()
        .column("id")
        .from(TABLE)
        .and_where(Expr::col("status").eq(Status::Confirmed.word()))
        .and_where(Expr::col("id").gt(after))
        .order_by("id", Order::Asc)
        .limit(limit)
        .take();
    writer.all(&select).await?.iter().map(|row| row.cells().take()).collect()
}

/// Forgets those who asked long ago and never confirmed; how many there were.
///
/// # Errors
///
/// Those of the database.
pub async fn forget(writer: &mut Writer<'_>, now: Moment) -> Result<u64, Error> {
    let old = Query::delete()
        .from_table(TABLE)
        .and_where(Expr::col("status").eq(Status::Pending.word()))
        .and_where(Expr::col("requested_at").lte(before(now, FORGOTTEN)))
        .take();
    writer.execute(&old).await
}

fn before(now: Moment, duration: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
