//! Decides what a node knows of its database's health: it is looked at once for all who ask, and known for a moment.
//!
//! Anybody may ask for a node's health as often as they like; the database is not asked as often as that.

use std::time::Duration;

use cirque_shared::report::chain;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config;
use crate::db::Db;
use crate::moment::Moment;
use crate::queue::look;
use crate::settings;

/// Looks, and what the last look found.
#[derive(Debug)]
pub struct Probe {
    config: config::Health,
    last: Mutex<Option<Look>>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Why the database cannot be used; `None` when it can.
    pub trouble: Option<String>,
    /// How many jobs could be taken at once; `None` when they could not be counted in time.
    pub pending: Option<u64>,
}

#[derive(Debug)]
struct Look {
    began: Instant,
    ended: Instant,
    found: Found,
}

impl Probe {
    /// With the times of `[health]`.
    pub fn new(config: config::Health) -> Self {
        Self { config, last: Mutex::new(None) }
    }

    /// How the database is: no longer ago than `health.fresh`, or looked at since the question was asked. Waits for
    /// two looks at most, each of which has `health.timeout` for the database and as much for counting the jobs.
    pub async fn found(&self, db: &Db, now: Moment) -> Found {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        let is_good = |look: &&Look| look.began >= asked || look.ended + self.config.fresh > Instant::now();
        if let Some(look) = last.as_ref().filter(is_good) {
            return look.found.clone();
        }
        let began = Instant::now();
        let found = look(db, now, self.config.timeout).await;
        last.insert(Look { began, ended: Instant::now(), found }).found.clone()
    }
}

async fn look(db: &Db, now: Moment, patience: Duration) -> Found {
    let trouble = match timeout(patience, settings::probe(db)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(chain(&error)),
        Err(_) => Some("no answer in time".to_owned()),
    };
    if trouble.is_some() {
        return Found { trouble, pending: None };
    }
    // A queue so long that it cannot be counted in time is no reason to send nobody here.
    let depths = timeout(patience, look::depths(db, now)).await.ok().and_then(Result::ok);
    Found { trouble, pending: depths.map(|depths| depths.iter().map(|depth| depth.pending).sum()) }
}
