//! Decides what this node knows of changes: which tags were raised, up to which number, and how recently it asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

use super::entry::Entry;
use crate::changes::{self, Raised};
use crate::db::Db;
use crate::moment::Moment;

/// After this time a reader's request makes the node ask again, beside.
const REFRESH: Duration = Duration::from_millis(200);
/// After this time nothing is served as fresh before the node has asked again: the promise of a second, with room
/// for the question and the answer.
pub const LIMIT: Duration = Duration::from_millis(500);
/// How long a reader waits for that.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long after a question without an answer readers do not wait for the next one.
const TROUBLE: Duration = Duration::from_secs(1);
/// The most tags that are remembered; above it all older entries count as changed.
const MOST: usize = 65_536;

/// What this node knows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Changes are known up to this number; [`NOTHING`] before the first answer.
    seen: AtomicI64,
    /// When the last answered question was asked, in milliseconds since 1970.
    confirmed: AtomicI64,
    /// When a question found no answer last; 0 when the last one was answered.
    troubled: AtomicI64,
    raised: RwLock<Raises>,
    asking: Mutex<()>,
}

/// The tags that were raised since this node began, and to what.
#[derive(Debug, Default)]
struct Raises {
    by_tag: HashMap<String, i64>,
    /// Entries that were made with less knowledge count as changed.
    floor: i64,
}

const NOTHING: i64 = -1;

impl Default for Inner {
    fn default() -> Self {
        Self {
            seen: AtomicI64::new(NOTHING),
            confirmed: AtomicI64::new(i64::MIN),
            troubled: AtomicI64::new(0),
            raised: RwLock::default(),
            asking: Mutex::default(),
        }
    }
}

impl Watch {
    /// Changes are known up to this number.
    pub(super) fn seen(&self) -> i64 {
        self.0.seen.load(Ordering::Acquire)
    }

    /// Whether the last question found no answer.
    pub(super) fn is_troubled(&self) -> bool {
        self.0.troubled.load(Ordering::Acquire) != 0
    }

    /// Whether what is known is recent enough; asks where that is needed.
    pub(super) async fn confirm(&self, db: &Db, now: Moment) -> bool {
        let age = self.age(now);
        if age < REFRESH {
            return true;
        }
        let is_recent = age < LIMIT;
        let trouble = now.since(Moment(self.0.troubled.load(Ordering::Acquire)));
        if is_recent || (self.is_troubled() && trouble < TROUBLE) {
            self.ask_beside(db, now);
            return is_recent;
        }
        let asked = async {
            let asking = self.0.asking.lock().await;
            // Somebody may have asked while we waited.
            if self.age(now) >= LIMIT {
                self.ask(db, now).await;
            }
            drop(asking);
        };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            self.0.troubled.store(now.0.max(1), Ordering::Release);
        }
        self.age(now) < LIMIT
    }

    /// Asks now, even if somebody else asked a moment ago.
    pub(super) async fn catch_up(&self, db: &Db, now: Moment) {
        let _asking = self.0.asking.lock().await;
        self.ask(db, now).await;
    }

    fn age(&self, now: Moment) -> Duration {
        let confirmed = self.0.confirmed.load(Ordering::Acquire);
        if confirmed == i64::MIN { Duration::MAX } else { now.since(Moment(confirmed)) }
    }

    /// Asks, unless somebody does so already.
    fn ask_beside(&self, db: &Db, now: Moment) {
        let (this, db) = (self.clone(), db.clone());
        tokio::spawn(async move {
            let Ok(_asking) = this.0.asking.try_lock() else { return };
            if this.age(now) >= REFRESH {
                this.ask(&db, now).await;
            }
        });
    }

    /// The caller holds the lock.
    async fn ask(&self, db: &Db, now: Moment) {
        let seen = self.seen();
        let raised = if seen == NOTHING {
            changes::latest(db.watch()).await.map(Raised::none)
        } else {
            changes::since(db.watch(), seen).await
        };
        match raised {
            Ok(raised) => {
                self.learn(raised);
                self.0.troubled.store(0, Ordering::Release);
                self.0.confirmed.store(now.0, Ordering::Release);
            }
            Err(error) => {
                if !self.is_troubled() {
                    let chain = cirque_shared::report::chain(&error);
                    tracing::warn!(error.chain = chain, "could not ask the database for changes");
                }
                self.0.troubled.store(now.0.max(1), Ordering::Release);
            }
        }
    }

    fn learn(&self, raised: Raised) {
        let mut known = self.0.raised.write().unwrap_or_else(PoisonError::into_inner);
        known.by_tag.extend(raised.tags);
        if raised.is_partial || known.by_tag.len() > MOST {
            known.by_tag.clear();
            known.floor = raised.up_to;
        }
        drop(known);
        self.0.seen.fetch_max(raised.up_to, Ordering::AcqRel);
    }

    /// Whether nothing that `entry` was made from has changed, as far as this node knows.
    pub(super) fn is_unchanged(&self, entry: &Entry) -> bool {
        let seen = self.seen();
        // Most requests find nothing new since the last comparison.
        if entry.compared() == seen {
            return true;
        }
        let known = self.0.raised.read().unwrap_or_else(PoisonError::into_inner);
        let was_raised = |tag: &changes::Tag| {
            known.by_tag.get(&tag.to_string()).is_some_and(|number| *number > entry.seen())
        };
        let is_unchanged = entry.seen() >= known.floor && !entry.tags().iter().any(was_raised);
        if is_unchanged {
            entry.compared.store(seen, Ordering::Release);
        }
        is_unchanged
    }
}
