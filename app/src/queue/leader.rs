//! Decides which process runs the schedules and the sweeper: whoever has the lease; another takes over when it ends.

use std::time::Duration;

use sea_query::{Expr, ExprTrait, Query};

use crate::db::{Error, Reader, Writer};
use crate::moment::Moment;

/// How long the lease lasts without another word. With [`EVERY`], another process takes over within 15 s.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often each process asks for it.
pub const EVERY: Duration = Duration::from_secs(3);

const NAME: &str = "queue";

/// Takes or keeps the lease; whether `owner` has it now.
///
/// # Errors
///
/// Those of the database.
pub async fn lead(writer: &mut Writer<'_>, owner: &str, now: Moment) -> Result<bool, Error> {
    let update = Query::update()
        .table("leases")
        .value("owner", owner)
        .value("until", now.after(LEASE).0)
        .and_where(Expr::col("name").eq(NAME))
        .and_where(Expr::col("owner").eq(owner).or(Expr::col("until").lt(now.0)))
        .take();
    Ok(writer.execute(&update).await? > 0)
}

/// Whether another process has the lease; only reads.
///
/// # Errors
///
/// Those of the database.
pub async fn is_led_by_another(db: Reader<'_>, owner: &str, now: Moment) -> Result<bool, Error> {
    let select = Query::select()
        .column("owner")
        .from("leases")
        .and_where(Expr::col("name").eq(NAME))
        .and_where(Expr::col("owner").ne(owner))
        .and_where(Expr::col("until").gte(now.0))
        .take();
    Ok(db.first(&select).await?.is_some())
}

/// Gives the lease up, so that nobody waits for its end.
///
/// # Errors
///
/// Those of the database.
pub async fn resign(writer: &mut Writer<'_>, owner: &str) -> Result<(), Error> {
    let update = Query::update()
        .table("leases")
        .value("until", 0_i64)
        .and_where(Expr::col("name").eq(NAME))
        .and_where(Expr::col("owner").eq(owner))
        .take();
    writer.execute(&update).await.map(drop)
}

/// Something that is done again and again.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// What it is called; one row.
    pub name: &'static str,
    /// The job that is written.
    pub kind: &'static super::Kind,
    /// How often.
    pub every: Duration,
    /// How long after the full multiple of that, counted from the beginning of 1970 UTC: `every` a day and `offset`
    /// three hours is each night at three.
    pub offset: Duration,
}

/// The first tick of a schedule after `now`. Ticks that nobody was there for are not made up for, but one.
pub fn next(every: Duration, offset: Duration, now: Moment) -> Moment {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
    let (every, offset) = (Ord::max(millis(every), 1), millis(offset));
    Moment((now.0 - offset).div_euclid(every).saturating_add(1).saturating_mul(every).saturating_add(offset))
}

/// Whether this process is the one that carries out the tick that is due, for all processes; notes the next one.
/// The first time a schedule is seen it is only noted.
///
/// # Errors
///
/// Those of the database.
pub async fn tick(writer: &mut Writer<'_>, schedule: &Schedule, now: Moment) -> Result<bool, Error> {
    let following = next(schedule.every, schedule.offset, now);
    let note = Query::insert()
        .into_table("schedules")
        .columns(["name", "next_at"])
        .values_panic([schedule.name.into(), following.0.into()])
        .on_conflict(sea_query::OnConflict::column("name").do_nothing().to_owned())
        .take();
    if writer.execute(&note).await? > 0 {
        return Ok(false);
    }
    let update = Query::update()
        .table("schedules")
        .value("next_at", following.0)
        .and_where(Expr::col("name").eq(schedule.name))
        .and_where(Expr::col("next_at").lte(now.0))
        .take();
    Ok(writer.execute(&update).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_counted_from_the_beginning() {
        let (minute, day, hour) =
            (Duration::from_secs(60), Duration::from_secs(86_400), Duration::from_secs(3600));
        for (every, offset, now, expected) in [
            (minute, Duration::ZERO, 0, 60_000),
            (minute, Duration::ZERO, 59_999, 60_000),
            (minute, Duration::ZERO, 60_000, 120_000),
            (day, 3 * hour, 0, 10_800_000),
            (day, 3 * hour, 10_800_000, 97_200_000),
            (minute, Duration::ZERO, -1, 0),
        ] {
            assert_eq!(next(every, offset, Moment(now)), Moment(expected), "{now}");
        }
    }
}
