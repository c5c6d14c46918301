//! Decides how a person steers the jobs of a database without being a worker: over a database of their own or a node's.

pub mod handlers;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use cirque_shared::metrics::Registry;

use crate::config::Config;
use crate::db::{Db, Error, Open};
use crate::jobs;
use crate::metrics::DatabaseMetrics;
use crate::moment::Moment;
use crate::queue::steer::{self, Filter, Granted, Shown, Wish};
use crate::queue::{Delivery, Failed, Handlers, Kind, Queue, Work, look};

/// The jobs of one database, for somebody who sees and steers them.
#[derive(Debug)]
pub struct Steering {
    db: Db,
}

/// How often a drain looks.
const LOOKING: Duration = Duration::from_millis(200);

/// Knows the kinds, does none of them.
struct Kinds;

impl Handlers for Kinds {
    fn kind(&self, name: &str) -> Option<&'static Kind> {
        jobs::kind(name)
    }

    fn run(&self, _: Delivery) -> Work {
        Box::pin(async { Err(Failed::now("this process does no jobs")) })
    }
}

impl Steering {
    /// Opens the database of `config`.
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`].
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
        Ok(Self { db: Db::open(&config.database, Open::Existing, metrics).await? })
    }

    /// Over a database that is open already.
    pub fn over(db: Db) -> Self {
        Self { db }
    }

    /// See [`steer::list`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn list(&self, filter: &Filter, limit: u64) -> anyhow::Result<Vec<Shown>> {
        Ok(steer::list(&self.db, filter, limit).await?)
    }

    /// See [`steer::show`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn show(&self, id: i64) -> anyhow::Result<Option<Shown>> {
        Ok(steer::show(&self.db, id).await?)
    }

    /// See [`steer::wish`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn wish(&self, id: i64, wish: Wish) -> anyhow::Result<Granted> {
        Ok(steer::wish(&self.db, &Kinds, (id, wish), Moment::now()).await?)
    }

    /// As [`Steering::wish`], at this moment.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn granted(&self, id: i64, wish: Wish, now: Moment) -> Result<Granted, Error> {
        steer::wish(&self.db, &Kinds, (id, wish), now).await
    }

    /// See [`steer::wish_all`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn wish_all(&self, filter: &Filter, wish: Wish) -> anyhow::Result<u64> {
        Ok(steer::wish_all(&self.db, &Kinds, (filter, wish), Moment::now()).await?)
    }

    /// See [`steer::set_paused`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn set_paused(&self, queue: Queue, is_paused: bool) -> anyhow::Result<bool> {
        Ok(steer::set_paused(&self.db, queue, is_paused, Moment::now()).await?)
    }

    /// Pauses a queue and waits, for `at_most`, until nothing of it is in hand; how much still is.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn drain(&self, queue: Queue, at_most: Duration) -> anyhow::Result<u64> {
        self.set_paused(queue, true).await?;
        let deadline = tokio::time::Instant::now() + at_most;
        loop {
            let depths = self.depths().await?;
            let running = depths.iter().find(|depth| depth.queue == queue).map_or(0, |depth| depth.running);
            if running == 0 || tokio::time::Instant::now() >= deadline {
                return Ok(running);
            }
            tokio::time::sleep(LOOKING).await;
        }
    }

    /// See [`look::depths`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn depths(&self) -> anyhow::Result<Vec<look::Depth>> {
        Ok(look::depths(&self.db, Moment::now()).await?)
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
