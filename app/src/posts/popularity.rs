//! Decides in which order lists by views stand: one is made at intervals and stands still, so that it can be walked.
//!
//! `view_count` changes with every view; a client that walked by it would meet some posts twice and others not at all.
//! So lists are sorted by how often posts were viewed (or, for `trending`, were viewed lately) when the current *edition* of the order was made. Two columns,
//! `views_even` and `views_odd` (`trend_even` and `trend_odd`), hold the editions with even and with odd numbers.
//!
//! | the cursor is of | and the answer is |
//! | --- | --- |
//! | the current edition | the page |
//! | the one before, and the next one is not being made | the page: its column still holds it |
//! | the one before, and the next one is being made in its column | 400: start again |
//! | an older one | 400: start again |
//!
//! A walk that ends within `posts.reorder_every` never meets the last two. A new edition is made in small transactions,
//! by whichever node comes first; each goes on where the last one ended, so that a node that falls over leaves nothing
//! half done.

use std::collections::BTreeSet;
use std::time::Duration;

use sea_query::{Expr, ExprTrait, LockType, Query, SelectStatement};
use tokio_util::sync::CancellationToken;

use super::{Sort, TABLE, store};
use crate::changes::{self, Tag};
use crate::db::{Error, Reader, Row, Writer};
use crate::error::ApiError;
use crate::moment::Moment;
use crate::page::cursor::{BadCursor, Place};
use crate::state::AppState;

/// How often a node looks whether the order is due.
const LOOK: Duration = Duration::from_secs(30);
/// The ids that one transaction goes through.
const BATCH: i64 = 2_000;

/// Which editions of the order there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Editions {
    /// The one that lists begin in.
    current: u32,
    /// The oldest that can still be walked.
    oldest: u32,
    /// When the current one was made.
    made_at: Moment,
    /// Up to which id the next one is made, while it is.
    made_to: Option<i64>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing yet.
    Wait,
    /// To end the edition before, whose column is needed.
    Retire,
    /// To note the views of the posts behind this id.
    Note { behind: i64 },
    /// To make the new edition the current one.
    Publish,
}

impl Editions {
    /// What is to be done when the largest id is `last`.
    fn next(self, now: Moment, every: Duration, last: i64) -> Step {
        match self.made_to {
            None if now.since(self.made_at) < every => Step::Wait,
            None => Step::Retire,
            Some(behind) if behind < last => Step::Note { behind },
            Some(_) => Step::Publish,
        }
    }

    /// How they stand when that is done.
    fn after(self, step: Step, now: Moment) -> Self {
        match step {
            Step::Wait => self,
            Step::Retire => Self { oldest: self.current, made_to: Some(0), ..self },
            Step::Note { behind } => Self { made_to: Some(behind.saturating_add(BATCH)), ..self },
            Step::Publish => {
                Self { current: self.current.wrapping_add(1), made_at: now, made_to: None, ..self }
            }
        }
    }

    fn has(self, edition: u32) -> bool {
        (self.oldest..=self.current).contains(&edition)
    }

    fn read(row: Option<Row>) -> Result<Self, Error> {
        let row = row.ok_or(Error::Statement(sqlx::Error::RowNotFound))?;
        let mut cells = row.cells();
        let mut number = || cells.take::<i64>();
        let (current, oldest, made_at) = (number()?, number()?, number()?);
        let edition = |number: i64| u32::try_from(number).unwrap_or_default();
        Ok(Self {
            current: edition(current),
            oldest: edition(oldest),
            made_at: Moment(made_at),
            made_to: cells.take()?,
        })
    }
}

fn select() -> SelectStatement {
    Query::select().columns(["current", "oldest", "made_at", "made_to"]).from("view_editions").take()
}

/// The column that holds an edition.
pub fn column(edition: u32) -> &'static str {
    if edition.is_multiple_of(2) { "views_even" } else { "views_odd" }
}

/// The column that holds what was viewed lately, in an edition.
pub fn trend_column(edition: u32) -> &'static str {
    if edition.is_multiple_of(2) { "trend_even" } else { "trend_odd" }
}

/// The edition that a page is read in: that of its cursor, else the current one; 0 for orders that have only one.
///
/// # Errors
///
/// 400 for a cursor of an edition that is gone; those of the database.
pub async fn edition(db: Reader<'_>, sort: Sort, from: Option<&Place>) -> Result<u32, ApiError> {
    if !sort.is_of_views() {
        return Ok(0);
    }
    let editions = Editions::read(db.first(&select()).await?)?;
    match from.map(|place| place.edition) {
        None => Ok(editions.current),
        Some(edition) if editions.has(edition) => Ok(edition),
        Some(_) => Err(BadCursor::Outdated.into()),
    }
}

/// Makes sure that the edition of a cursor was still there after its page was read.
///
/// # Errors
///
/// As [`edition`].
pub async fn confirm(db: Reader<'_>, sort: Sort, from: Option<&Place>) -> Result<(), ApiError> {
    if from.is_some() { edition(db, sort, from).await.map(drop) } else { Ok(()) }
}

/// Makes a new order when it is due, until `stop`.
pub async fn run(state: AppState, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = refresh(&state, state.clock.now()).await {
            tracing::warn!(
                error.chain = cirque_shared::report::chain(&error),
                "could not make the order of lists by views; trying again soon"
            );
        }
    }
}

/// Makes a new order when it is due or begun, and says whether this node has finished one.
///
/// # Errors
///
/// Those of the database.
pub async fn refresh(state: &AppState, now: Moment) -> Result<bool, Error> {
    let mut is_made = false;
    let last = store::last_id(state.db.read_fresh()).await?;
    loop {
        // Without work, nobody takes the write lock.
        let editions = Editions::read(state.db.read_fresh().first(&select()).await?)?;
        if is_made || editions.next(now, state.reorder_every, last) == Step::Wait {
            break;
        }
        let mut writer = state.db.write().await?;
        let held = writer.first(&select().lock(LockType::Update).take()).await?;
        // Another node may have done it in between.
        let editions = Editions::read(held)?;
        let step = editions.next(now, state.reorder_every, last);
        if let Step::Note { behind } = step {
            note(&mut writer, editions.current.wrapping_add(1), behind).await?;
        }
        is_made = step == Step::Publish;
        write(&mut writer, editions.after(step, now)).await?;
        if is_made {
            changes::bump(&mut writer, &BTreeSet::from([Tag::ViewOrder])).await?;
        }
        writer.commit().await?;
    }
    if is_made {
        state.cache.catch_up().await;
    }
    Ok(is_made)
}

/// Notes how often the next posts were viewed until now.
async fn note(writer: &mut Writer<'_>, edition: u32, behind: i64) -> Result<(), Error> {
    let (column, trend) = (column(edition), trend_column(edition));
    let update = Query::update()
        .table(TABLE)
        .value(column, Expr::col("view_count"))
        .value(trend, Expr::col("trend"))
        .and_where(Expr::col("id").between(behind.saturating_add(1), behind.saturating_add(BATCH)))
        .and_where(Expr::col(column).not_equals("view_count").or(Expr::col(trend).not_equals("trend")))
        .take();
    writer.execute(&update).await.map(drop)
}

async fn write(writer: &mut Writer<'_>, editions: Editions) -> Result<(), Error> {
    let update = Query::update()
        .table("view_editions")
        .values([
            ("current", i64::from(editions.current).into()),
            ("oldest", i64::from(editions.oldest).into()),
            ("made_at", editions.made_at.0.into()),
            ("made_to", editions.made_to.into()),
        ])
        .and_where(Expr::col("id").eq(1_i64))
        .take();
    writer.execute(&update).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(60);

    #[test]
    fn an_edition_can_be_walked_until_its_column_is_needed() {
        let mut editions = Editions { current: 4, oldest: 3, made_at: Moment(0), made_to: None };
        assert_eq!(editions.next(Moment(59_999), EVERY, 10), Step::Wait);
        let now = Moment(60_000);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let step = editions.next(now, EVERY, 3_000);
            editions = editions.after(step, now);
            seen.push((step, editions.has(3), editions.has(4), editions.has(5)));
        }
        assert_eq!(
            seen,
            [
                (Step::Retire, false, true, false),
                (Step::Note { behind: 0 }, false, true, false),
                (Step::Note { behind: 2_000 }, false, true, false),
                (Step::Publish, false, true, true),
            ]
        );
        assert_eq!(editions.next(now, EVERY, 3_000), Step::Wait);
        assert_ne!(column(4), column(5));
        assert_eq!(column(3), column(5));
    }
}
