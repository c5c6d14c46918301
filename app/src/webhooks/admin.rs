//! Decides what an operator does with webhooks from the command line.

use std::sync::Arc;

use anyhow::ensure;
use cirque_shared::metrics::Registry;

use super::store::{self, Listed};
use super::written;
use crate::config::Config;
use crate::db::{Db, Open, Writer};
use crate::events;
use crate::metrics::DatabaseMetrics;
use crate::moment::Moment;
use crate::outbound::Outbound;

const SECRET_BYTES: usize = 32;
/// The longest address, in bytes.
pub const LONGEST: usize = 2000;

/// Why a webhook cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwanted {
    /// It cannot be called there.
    #[error("{url} {reason}")]
    Url {
        /// Where.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such event to hear of.
    #[error("{0:?} is no event to hear of; there are {list}", list = events::PUBLIC.join(", "))]
    Event(String),
}

/// The events that a webhook hears of, as they are kept: those named, or all of them.
///
/// # Errors
///
/// See [`Unwanted`].
pub fn wanted(outbound: &Outbound, url: &str, events: &[String]) -> Result<String, Unwanted> {
    let is_spelled = url.len() <= LONGEST && !url.contains(|c: char| c.is_control() || c.is_whitespace());
    if !is_spelled {
        let url = url.chars().filter(|c| !c.is_control()).take(80).collect();
        let reason = format!("must have at most {LONGEST} letters, and no blanks or control characters");
        return Err(Unwanted::Url { url, reason });
    }
    if let Err(reason) = outbound.checked(url) {
        return Err(Unwanted::Url { url: url.to_owned(), reason });
    }
    if let Some(unknown) = events.iter().find(|event| !events::PUBLIC.contains(&event.as_str())) {
        return Err(Unwanted::Event(unknown.chars().take(80).collect()));
    }
    // Each once, in their own order, however they are named.
    let named = |event: &&str| events.is_empty() || events.iter().any(|wanted| wanted == event);
    Ok(events::PUBLIC.iter().copied().filter(named).collect::<Vec<_>>().join(" "))
}

/// Adds a webhook that hears of these events, names with spaces between; its number and its secret, as it is shown.
///
/// # Errors
///
/// Those of the database, and of a machine that has no random numbers.
pub async fn add(writer: &mut Writer<'_>, url: &str, events: &str) -> anyhow::Result<(i64, String)> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret)?;
    let id = store::add(writer, (url, &secret), events, Moment::now()).await?;
    Ok((id, written(&secret)))
}

/// The webhooks of one database.
#[derive(Debug)]
pub struct Webhooks {
    db: Db,
    outbound: Outbound,
}

impl Webhooks {
    /// Opens the database of `config`.
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`].
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
        let db = Db::open(&config.database, Open::Existing, metrics).await?;
        Ok(Self { db, outbound: Outbound::new(config) })
    }

    /// Adds a webhook; its number and its secret, which is shown here only.
    ///
    /// # Errors
    ///
    /// When the address or an event is none; those of the database.
    pub async fn add(&self, url: &str, events: &[String]) -> anyhow::Result<(i64, String)> {
        let events = wanted(&self.outbound, url, events)?;
        let mut writer = self.db.write().await?;
        let added = add(&mut writer, url, &events).await?;
        writer.commit().await?;
        Ok(added)
    }

    /// Every webhook.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn list(&self) -> anyhow::Result<Vec<Listed>> {
        Ok(store::list(self.db.read_fresh()).await?)
    }

    /// Removes a webhook.
    ///
    /// # Errors
    ///
    /// When there is none; those of the database.
    pub async fn remove(&self, id: i64) -> anyhow::Result<()> {
        let mut writer = self.db.write().await?;
        ensure!(store::remove(&mut writer, id).await?, "there is no webhook {id}");
        Ok(writer.commit().await?)
    }

    /// Switches a webhook on again.
    ///
    /// # Errors
    ///
    /// When there is none; those of the database.
    pub async fn enable(&self, id: i64) -> anyhow::Result<()> {
        let mut writer = self.db.write().await?;
        ensure!(store::enable(&mut writer, id).await?, "there is no webhook {id}");
        Ok(writer.commit().await?)
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
