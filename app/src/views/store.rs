//! Decides which statements add up views and read them: by hour, by day, and as what is viewed lately.

use std::collections::BTreeMap;

use sea_query::{Expr, ExprTrait, OnConflict, Order, Query};

use super::{DAY, HOUR};
use crate::db::{Db, Error, Reader, Row, Writer};
use crate::events::Views;
use crate::moment::Moment;

/// The statement's rows at most.
const BATCH: usize = 500;
/// How long hours are kept.
const HOURS_KEPT: i64 = 60 * DAY;
/// How long visitors of a day are known apart: views of before midnight may be written after it.
const VISITORS_KEPT: i64 = 2 * DAY;
/// Rows that are forgotten in one transaction.
const FORGOTTEN: u64 = 1000;
/// The time in which a view comes to count half as much.
const HALF: f64 = 86_400.0;

/// What is added to one post.
#[derive(Debug, Default)]
struct Added {
    hours: BTreeMap<i64, i64>,
    visitors: Vec<(i64, i64)>,
}

/// Adds views up. What was viewed and is not public any more, or never was, is left out.
///
/// # Errors
///
/// Those of the database.
pub async fn add(writer: &mut Writer<'_>, views: &Views) -> Result<(), Error> {
    let mut by_slug: BTreeMap<&str, Added> = BTreeMap::new();
    for (slug, hour, count) in &views.counts {
        *by_slug.entry(slug).or_default().hours.entry(*hour).or_default() += count;
    }
    for (slug, day, visitor) in &views.visitors {
        by_slug.entry(slug).or_default().visitors.push((*day, *visitor));
    }
    let slugs: Vec<&str> = by_slug.keys().copied().collect();
    let mut posts = Vec::new();
    for slugs in slugs.chunks(BATCH) {
        let select = Query::select()
            .columns(["id", "slug", "trend"])
            .from("posts")
            .and_where(Expr::col("slug").is_in(slugs.iter().copied()))
            .and_where(Expr::col("status").eq("published"))
            .and_where(Expr::col("deleted_at").is_null())
            // Whoever adds up at the same time does it in the same order.
            .order_by("id", Order::Asc)
            .lock_exclusive()
            .take();
        for row in writer.all(&select).await? {
            let mut cells = row.cells();
            posts.push((cells.take::<i64>()?, cells.take::<String>()?, cells.take::<i64>()?));
        }
    }
    posts.sort_unstable();
    for (id, slug, trend) in posts {
        if let Some(added) = by_slug.get(slug.as_str()) {
            add_to(writer, (id, trend), added).await?;
        }
    }
    Ok(())
}

async fn add_to(writer: &mut Writer<'_>, (id, mut trend): (i64, i64), added: &Added) -> Result<(), Error> {
    let mut days: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut all = 0;
    for (hour, count) in &added.hours {
        upsert(writer, "post_hours", ("hour", *hour), id, &[("views", *count)]).await?;
        days.entry(hour.div_euclid(DAY) * DAY).or_default().0 += count;
        trend = warmer(trend, *hour, *count);
        all += count;
    }
    for (day, visitor) in &added.visitors {
        let insert = Query::insert()
            .into_table("post_visitors")
            .columns(["day", "post_id", "visitor"])
            .values_panic([(*day).into(), id.into(), (*visitor).into()])
            .on_conflict(OnConflict::columns(["day", "post_id", "visitor"]).do_nothing().to_owned())
            .take();
        let is_new = i64::try_from(writer.execute(&insert).await?).unwrap_or(0);
        days.entry(*day).or_default().1 += is_new;
    }
    for (day, (views, visitors)) in days {
        upsert(writer, "post_days", ("day", day), id, &[("views", views), ("visitors", visitors)]).await?;
    }
    let update = Query::update()
        .table("posts")
        .value("view_count", Expr::col("view_count").add(all))
        .value("trend", trend)
        .and_where(Expr::col("id").eq(id))
        .take();
    writer.execute(&update).await.map(drop)
}

async fn upsert(
    writer: &mut Writer<'_>,
    table: &'static str,
    (when, at): (&'static str, i64),
    post: i64,
    values: &[(&'static str, i64)],
) -> Result<(), Error> {
    let mut conflict = OnConflict::columns(["post_id", when]);
    let (mut columns, mut exprs) = (vec!["post_id", when], vec![Expr::val(post), Expr::val(at)]);
    for (name, value) in values {
        columns.push(name);
        exprs.push(Expr::val(*value));
        conflict.value(*name, Expr::col((table, *name)).add(*value));
    }
    let insert =
        Query::insert().into_table(table).columns(columns).values_panic(exprs).on_conflict(conflict).take();
    writer.execute(&insert).await.map(drop)
}

/// The measure of what is viewed lately after `count` more views at `hour`: the logarithm of the sum of all views, of
/// which each weighs twice as much as one a day before it. So it needs no ageing, and compares at any time.
pub fn warmer(trend: i64, hour: i64, count: i64) -> i64 {
    const MILLIONTHS: f64 = 1e6;
    if count <= 0 {
        return trend;
    }
    let weight = (hour as f64 / 1000.0) / HALF * std::f64::consts::LN_2;
    let (new, old) = (weight + (count as f64).ln(), trend as f64 / MILLIONTHS);
    let (most, least) = (new.max(old), new.min(old));
    let sum = if trend == 0 { new } else { most + (least - most).exp().ln_1p() };
    (sum * MILLIONTHS).round() as i64
}

/// The secret of a day, made by the first who asks and the same for all nodes.
///
/// # Errors
///
/// Those of the database.
pub async fn salt(db: &Db, day: i64) -> Result<Vec<u8>, Error> {
    let name = format!("view_salt:{day}");
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).expect("the system has a source of randomness");
    let mut writer = db.write().await?;
    let insert = Query::insert()
        .into_table("settings")
        .columns(["name", "value"])
        .values_panic([name.as_str().into(), secret.into()])
        .on_conflict(OnConflict::column("name").do_nothing().to_owned())
        .take();
    writer.execute(&insert).await?;
    let select =
        Query::select().column("value").from("settings").and_where(Expr::col("name").eq(name)).take();
    let row = writer.first(&select).await?.ok_or(Error::Statement(sqlx::Error::RowNotFound))?;
    let salt = row.cells().take()?;
    writer.commit().await?;
    Ok(salt)
}

/// Views of one post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Hour and views, the oldest first.
    pub hours: Vec<(Moment, i64)>,
    /// Day, views and visitors, the oldest first.
    pub days: Vec<(Moment, i64, i64)>,
}

/// The views of a post by hour for a day, and by day for thirty days; hours and days without any are left out.
///
/// # Errors
///
/// Those of the database.
pub async fn series(db: Reader<'_>, post: i64, now: Moment) -> Result<Series, Error> {
    let since = |step: i64, count: i64| (now.0.div_euclid(step) - count + 1) * step;
    let hours = Query::select()
        .columns(["hour", "views"])
        .from("post_hours")
        .and_where(Expr::col("post_id").eq(post))
        .and_where(Expr::col("hour").gte(since(HOUR, 24)))
        .order_by("hour", Order::Asc)
        .limit(25)
        .take();
    let days = Query::select()
        .columns(["day", "views", "visitors"])
        .from("post_days")
        .and_where(Expr::col("post_id").eq(post))
        .and_where(Expr::col("day").gte(since(DAY, 30)))
        .order_by("day", Order::Asc)
        .limit(31)
        .take();
    let hour = |row: &Row| {
        let mut cells = row.cells();
        Ok((Moment(cells.take()?), cells.take()?))
    };
    let day = |row: &Row| {
        let mut cells = row.cells();
        Ok((Moment(cells.take()?), cells.take()?, cells.take()?))
    };
    Ok(Series {
        hours: db.all(&hours).await?.iter().map(hour).collect::<Result<_, Error>>()?,
        days: db.all(&days).await?.iter().map(day).collect::<Result<_, Error>>()?,
    })
}

/// Forgets visitors and secrets of days gone, and hours of months gone; one small step, how many rows it took.
///
/// # Errors
///
/// Those of the database.
pub async fn forget(db: &Db, now: Moment) -> Result<u64, Error> {
    let mut writer = db.write().await?;
    let mut forgotten = 0;
    let days = now.0 - VISITORS_KEPT;
    let (from, to) = ("view_salt:0".to_owned(), format!("view_salt:{days}"));
    let salts = Query::delete()
        .from_table("settings")
        .and_where(Expr::col("name").gte(from))
        .and_where(Expr::col("name").lt(to))
        .take();
    writer.execute(&salts).await?;
    // Their keys have no single column: one day, one post at a time would be many statements, so by ranges.
    let oldest = Query::select()
        .columns(["day", "post_id"])
        .from("post_visitors")
        .and_where(Expr::col("day").lt(days))
        .order_by("day", Order::Asc)
        .order_by("post_id", Order::Asc)
        .order_by("visitor", Order::Asc)
        .limit(1)
        .take();
    if let Some(row) = writer.first(&oldest).await? {
        let mut cells = row.cells();
        let (day, post): (i64, i64) = (cells.take()?, cells.take()?);
        let delete = Query::delete()
            .from_table("post_visitors")
            .and_where(Expr::col("day").eq(day))
            .and_where(Expr::col("post_id").eq(post))
            .take();
        forgotten += writer.execute(&delete).await?;
    }
    let hours = Query::select()
        .column("hour")
        .from("post_hours")
        .and_where(Expr::col("hour").lt(now.0 - HOURS_KEPT))
        .order_by("hour", Order::Asc)
        .limit(FORGOTTEN)
        .take();
    let delete =
        Query::delete().from_table("post_hours").and_where(Expr::col("hour").in_subquery(hours)).take();
    forgotten += writer.execute(&delete).await?;
    writer.commit().await?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_viewed_lately_is_warmer_and_half_as_much_a_day_later() {
        let now = 1_762_300_800_000;
        let (yesterday, today) = (warmer(0, now - DAY, 200), warmer(0, now, 101));
        assert!(today > yesterday, "101 now are more than 200 a day ago");
        assert!(warmer(0, now, 99) < yesterday, "99 are not");
        // Added one by one or at once: the same, but for rounding.
        let (mut one_by_one, at_once) = (0, warmer(0, now, 50));
        for _ in 0..50 {
            one_by_one = warmer(one_by_one, now, 1);
        }
        assert!((one_by_one - at_once).abs() < 100, "{one_by_one} {at_once}");
        assert_eq!(warmer(at_once, now, 0), at_once);
    }
}
