//! Decides when somebody tried too often to sign in: per account and per address, counted before the password is read.
//!
//! Tries are counted in the database, so that all nodes count together. An account that does not exist is counted like
//! one that does. Whoever guesses locks the account's owner out for as long as the window; tokens go on working.

use std::time::Duration;

use sea_query::{CaseStatement, Expr, ExprTrait, OnConflict, Query};
use sha2::{Digest as _, Sha256};

use crate::client::Client;
use crate::db::{Error, Writer};
use crate::moment::Moment;

const TABLE: &str = "login_tries";

/// How many tries there may be, and in which time.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// At most so many.
    pub tries: u32,
    /// In this time.
    pub window: Duration,
}

/// Whose tries are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    account: String,
    address: Option<String>,
}

impl Subjects {
    /// Of somebody at `client` who wants to be `login`. What they typed is kept as a hash: it may be a password.
    pub fn new(login: &str, client: Option<Client>) -> Self {
        let account = format!("account:{}", hex(&Sha256::digest(login.as_bytes())[..16]));
        Self { account, address: client.map(|Client(address)| format!("address:{address}")) }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.account).chain(&self.address)
    }
}

/// Counts one try; `Some` says after how many seconds the next one makes sense, because there were too many.
///
/// # Errors
///
/// Those of the database.
pub async fn count(
    writer: &mut Writer<'_>,
    subjects: &Subjects,
    limit: Limit,
    now: Moment,
) -> Result<Option<u64>, Error> {
    let window = i64::try_from(limit.window.as_millis()).unwrap_or(i64::MAX);
    let over = now.0.saturating_sub(window);
    let old = Query::delete().from_table(TABLE).and_where(Expr::col("since").lte(over)).take();
    writer.execute(&old).await?;
    let mut wait = None;
    for subject in subjects.all() {
        let begun_anew = || Expr::col((TABLE, "since")).lte(over);
        let tries =
            CaseStatement::new().case(begun_anew(), 1_i64).finally(Expr::col((TABLE, "tries")).add(1_i64));
        let since = CaseStatement::new().case(begun_anew(), now.0).finally(Expr::col((TABLE, "since")));
        let upsert = Query::insert()
            .into_table(TABLE)
            .columns(["subject", "tries", "since"])
            .values_panic([subject.as_str().into(), 1_i64.into(), now.0.into()])
            .on_conflict(
                OnConflict::column("subject")
                    .values([("tries", tries.into()), ("since", since.into())])
                    .to_owned(),
            )
            .returning(Query::returning().columns(["tries", "since"]))
            .take();
        let Some(row) = writer.returning(&upsert).await? else { continue };
        let mut cells = row.cells();
        let (tries, since): (i64, i64) = (cells.take()?, cells.take()?);
        if tries > i64::from(limit.tries) {
            wait = Ord::max(wait, Some(seconds_left(since.saturating_add(window), now)));
        }
    }
    Ok(wait)
}

/// Whole seconds until `end`, at least one.
fn seconds_left(end: i64, now: Moment) -> u64 {
    let left = u64::try_from(end.saturating_sub(now.0)).unwrap_or(0);
    Ord::max(left.div_ceil(1000), 1)
}

/// Takes back what a try that succeeded was counted as: all of its account, and the one of its address. Other failures
/// from this address stay counted, so that an account of one's own is no way to go on guessing.
///
/// # Errors
///
/// Those of the database.
pub async fn forgive(writer: &mut Writer<'_>, subjects: &Subjects) -> Result<(), Error> {
    let account =
        Query::delete().from_table(TABLE).and_where(Expr::col("subject").eq(&subjects.account)).take();
    writer.execute(&account).await?;
    if let Some(address) = &subjects.address {
        let one_less = Query::update()
            .table(TABLE)
            .value("tries", Expr::col("tries").sub(1_i64))
            .and_where(Expr::col("subject").eq(address))
            .and_where(Expr::col("tries").gt(0_i64))
            .take();
        writer.execute(&one_less).await?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
