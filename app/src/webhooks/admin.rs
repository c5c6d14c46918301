//! Decides what an operator does with webhooks from the command line.

use std::sync::Arc;

use anyhow::ensure;
use cirque_shared::metrics::Registry;

use super::store::{self, Listed};
use super::written;
use crate::config::Config;
use crate::db::{Db, Open};
use crate::events;
use crate::metrics::DatabaseMetrics;
use crate::moment::Moment;
use crate::outbound::Outbound;

const SECRET_BYTES: usize = 32;

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
    if let Err(reason) = outbound.checked(url) {
        return Err(Unwanted::Url { url: url.to_owned(), reason });
    }
    if let Some(unknown) = events.iter().find(|event| !events::PUBLIC.contains(&event.as_str())) {
        return Err(Unwanted::Event(unknown.clone()));
    }
    Ok(if events.is_empty() { events::PUBLIC.join(" ") } else { events.join(" ") })
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
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let mut writer = self.db.write().await?;
        let id = store::add(&mut writer, (url, &secret), &events, Moment::now()).await?;
        writer.commit().await?;
        Ok((id, written(&secret)))
    }

    /// Over a database that is open already.
    pub fn over(db: Db, outbound: Outbound) -> Self {
        Self { db, outbound }
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
