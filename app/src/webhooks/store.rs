//! Decides which statements keep webhooks: who wants what, and how often they failed.

use sea_query::{Expr, ExprTrait, Order, Query};

use crate::db::{Error, Reader, Row, Writer};
use crate::moment::Moment;

const TABLE: &str = "webhooks";
/// The most webhooks that one event goes to.
const MOST: u64 = 1000;
/// How much of an error is kept, in characters.
const MESSAGE: usize = 300;

/// Whom to call, and how to sign.
#[derive(Clone)]
pub struct Webhook {
    /// Where.
    pub url: String,
    /// Shared with the receiver. Never printed.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({})", self.url)
    }
}

/// The webhooks that want to hear of events of this name, and are not switched off.
///
/// # Errors
///
/// Those of the database.
pub async fn wanting(writer: &mut Writer<'_>, event: &str) -> Result<Vec<i64>, Error> {
    let select = Query::select()
        .columns(["id", "events"])
        .from(TABLE)
        .and_where(Expr::col("disabled_at").is_null())
        .order_by("id", Order::Asc)
        .limit(MOST)
        .take();
    let mut wanting = Vec::new();
    for row in writer.all(&select).await? {
        let mut cells = row.cells();
        let (id, events): (i64, String) = (cells.take()?, cells.take()?);
        if events.split(' ').any(|wanted| wanted == event) {
            wanting.push(id);
        }
    }
    Ok(wanting)
}

/// The webhook of this number, unless it is gone or switched off.
///
/// # Errors
///
/// Those of the database.
pub async fn enabled(db: Reader<'_>, id: i64) -> Result<Option<Webhook>, Error> {
    let select = Query::select()
        .columns(["url", "secret"])
        .from(TABLE)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("disabled_at").is_null())
        .take();
    let read = |row: Row| {
        let mut cells = row.cells();
        Ok(Webhook { url: cells.take()?, secret: cells.take()? })
    };
    db.first(&select).await?.map(read).transpose()
}

/// Notes how a call went; whether the webhook was switched off by it, at `most` failures in a row.
///
/// # Errors
///
/// Those of the database.
pub async fn note(
    writer: &mut Writer<'_>,
    id: i64,
    error: Option<&str>,
    most: u32,
    now: Moment,
) -> Result<bool, Error> {
    let mut update = Query::update();
    update.table(TABLE).and_where(Expr::col("id").eq(id));
    let Some(error) = error else {
        update
            .value("failures", 0_i64)
            .value("last_error", Option::<String>::None)
            .and_where(Expr::col("failures").gt(0_i64));
        writer.execute(&update).await?;
        return Ok(false);
    };
    let message: String = error.chars().filter(|c| *c != '\0').take(MESSAGE).collect();
    update.value("failures", Expr::col("failures").add(1_i64)).value("last_error", message);
    writer.execute(&update).await?;
    let off = Query::update()
        .table(TABLE)
        .value("disabled_at", now.0)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("disabled_at").is_null())
        .and_where(Expr::col("failures").gte(i64::from(most)))
        .take();
    Ok(writer.execute(&off).await? > 0)
}

/// A webhook as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: i64,
    /// Where.
    pub url: String,
    /// Names of events, with spaces between.
    pub events: String,
    /// Tries that failed since the last one that succeeded.
    pub failures: i64,
    /// What the last of them failed of.
    pub last_error: Option<String>,
    /// Since when it is switched off.
    pub disabled_at: Option<Moment>,
}

const COLUMNS: [&str; 6] = ["id", "url", "events", "failures", "last_error", "disabled_at"];

fn listed(row: &Row) -> Result<Listed, Error> {
    let mut cells = row.cells();
    Ok(Listed {
        id: cells.take()?,
        url: cells.take()?,
        events: cells.take()?,
        failures: cells.take()?,
        last_error: cells.take()?,
        disabled_at: cells.take::<Option<i64>>()?.map(Moment),
    })
}

/// The webhook of this number, as whoever just wrote it sees it.
///
/// # Errors
///
/// Those of the database.
pub async fn written(writer: &mut Writer<'_>, id: i64) -> Result<Option<Listed>, Error> {
    let select =
        Query::select().columns(COLUMNS).from(TABLE).and_where(Expr::col("id").eq(id)).limit(1).take();
    writer.first(&select).await?.as_ref().map(listed).transpose()
}

/// How many there are.
///
/// # Errors
///
/// Those of the database.
pub async fn count(writer: &mut Writer<'_>) -> Result<i64, Error> {
    let select = Query::select().expr(Expr::cust("count(*)")).from(TABLE).take();
    writer.first(&select).await?.map_or(Ok(0), |row| row.cells().take())
}

/// Every webhook.
///
/// # Errors
///
/// Those of the database.
pub async fn list(db: Reader<'_>) -> Result<Vec<Listed>, Error> {
    let select = Query::select().columns(COLUMNS).from(TABLE).order_by("id", Order::Asc).limit(MOST).take();
    db.all(&select).await?.iter().map(listed).collect()
}

/// How many are switched off.
///
/// # Errors
///
/// Those of the database.
pub async fn disabled(db: Reader<'_>) -> Result<i64, Error> {
    let select = Query::select()
        .expr(Expr::cust("count(*)"))
        .from(TABLE)
        .and_where(Expr::col("disabled_at").is_not_null())
        .take();
    db.first(&select).await?.map_or(Ok(0), |row| row.cells().take())
}

/// Adds a webhook and says its number.
///
/// # Errors
///
/// Those of the database.
pub async fn add(
    writer: &mut Writer<'_>,
    (url, secret): (&str, &[u8]),
    events: &str,
    now: Moment,
) -> Result<i64, Error> {
    let insert = Query::insert()
        .into_table(TABLE)
        .columns(["url", "secret", "events", "created_at"])
        .values_panic([url.into(), secret.to_vec().into(), events.into(), now.0.into()])
        .returning_col("id")
        .take();
    let row = writer.returning(&insert).await?.ok_or(Error::Statement(sqlx::Error::RowNotFound))?;
    row.cells().take()
}

/// Removes a webhook; whether there was one.
///
/// # Errors
///
/// Those of the database.
pub async fn remove(writer: &mut Writer<'_>, id: i64) -> Result<bool, Error> {
    let delete = Query::delete().from_table(TABLE).and_where(Expr::col("id").eq(id)).take();
    Ok(writer.execute(&delete).await? > 0)
}

/// Switches a webhook on again, with all its tries; whether there is one.
///
/// # Errors
///
/// Those of the database.
pub async fn enable(writer: &mut Writer<'_>, id: i64) -> Result<bool, Error> {
    let update = Query::update()
        .table(TABLE)
        .value("disabled_at", Option::<i64>::None)
        .value("failures", 0_i64)
        .and_where(Expr::col("id").eq(id))
        .take();
    Ok(writer.execute(&update).await? > 0)
}
