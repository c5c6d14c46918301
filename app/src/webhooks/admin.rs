//! Decides what an operator does with webhooks from the command line.

use std::sync::Arc;

use anyhow::{bail, ensure};
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
        if let Err(reason) = self.outbound.checked(url) {
            bail!("{url}: {reason}");
        }
        let events: Vec<&str> = if events.is_empty() {
            events::PUBLIC.to_vec()
        } else {
            events.iter().map(String::as_str).collect()
        };
        for event in &events {
            let known = events::PUBLIC.contains(event);
            ensure!(known, "{event:?} is no event to hear of; there are {}", events::PUBLIC.join(", "));
        }
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let mut writer = self.db.write().await?;
        let id = store::add(&mut writer, (url, &secret), &events.join(" "), Moment::now()).await?;
        writer.commit().await?;
        Ok((id, written(&secret)))
    }

    /// Every webhook.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn list(&self) -> anyhow::Result<Vec<Listed>> {
        Ok(store::list(self.db.read()).await?)
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
