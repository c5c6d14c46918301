//! Decides what this node knows of changes: which tags were raised, up to which number, and how recently it asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

use super::entry::Entry;
use super::known::Known;
use crate::changes::{self, Raised};
use crate::db::{Db, Error, Position};
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
    /// Changes are known up to this number, of this history: as in [`Raises::known`], for those who cannot wait.
    number: AtomicI64,
    history: AtomicU32,
    /// When the last answered question was asked, in milliseconds since 1970.
    confirmed: AtomicI64,
    /// When a question found no answer last; 0 when the last one was answered.
    troubled: AtomicI64,
    raised: RwLock<Raises>,
    asking: Mutex<()>,
}

/// The tags that were raised since this node began, the last ones before that, and to what.
#[derive(Debug)]
struct Raises {
    by_tag: HashMap<String, i64>,
    /// Entries that were made with less knowledge count as changed.
    floor: i64,
    /// Up to where changes are known.
    known: Known,
    /// Where the database was before a question that was answered: all changes up to there are known.
    asked_at: Position,
}

impl Default for Inner {
    fn default() -> Self {
        let raised =
            Raises { by_tag: HashMap::new(), floor: 0, known: Known::NOTHING, asked_at: Position::START };
        Self {
            number: AtomicI64::new(Known::NOTHING.number),
            history: AtomicU32::new(Known::NOTHING.history()),
            confirmed: AtomicI64::new(i64::MIN),
            troubled: AtomicI64::new(0),
            raised: RwLock::new(raised),
            asking: Mutex::default(),
        }
    }
}

/// What one question found.
#[derive(Debug)]
struct Found {
    raised: Raised,
    /// What was raised up to this number may not be among it.
    floor: i64,
    /// Where the database was before it was asked, and where it had come when it had answered.
    from: Position,
    to: Position,
}

impl Watch {
    /// Up to where changes are known.
    pub(super) fn known(&self) -> Known {
        self.0.raised.read().unwrap_or_else(PoisonError::into_inner).known
    }

    /// Whether all changes up to `place` are known.
    pub(super) fn has_come_to(&self, place: Position) -> bool {
        let raised = self.0.raised.read().unwrap_or_else(PoisonError::into_inner);
        raised.asked_at.includes(place)
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

    /// Whether what is known is recent enough; does not ask.
    pub(super) fn is_recent(&self, now: Moment) -> bool {
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
        match question(db, self.known()).await {
            Ok(found) => {
                self.learn(found);
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

    fn learn(&self, found: Found) {
        let Found { raised, floor, from, to } = found;
        let mut raises = self.0.raised.write().unwrap_or_else(PoisonError::into_inner);
        let learned = Known { number: raised.up_to, position: to };
        let is_another_history = learned.history() != raises.known.history();
        if is_another_history {
            raises.by_tag.clear();
            raises.floor = 0;
        }
        raises.floor = raises.floor.max(floor);
        raises.by_tag.extend(raised.tags);
        if raised.is_partial || raises.by_tag.len() > MOST {
            raises.by_tag.clear();
            raises.floor = raised.up_to;
        }
        // Where nothing has changed, servers that are a little behind may still be read from.
        if raises.known.is_behind(learned) {
            raises.known = learned;
        }
        raises.asked_at = if is_another_history { from } else { raises.asked_at.furthest(from) };
        // Entries of another history are recognised before numbers of this one are compared with theirs.
        self.0.history.store(raises.known.history(), Ordering::Release);
        self.0.number.store(raises.known.number, Ordering::Release);
    }

    /// Whether nothing that `entry` was made from has changed, as far as this node knows.
    pub(super) fn is_unchanged(&self, entry: &Entry) -> bool {
        let number = self.0.number.load(Ordering::Acquire);
        if entry.known().history() != self.0.history.load(Ordering::Acquire) {
            return false;
        }
        // Most requests find nothing new since the last comparison.
        if entry.compared() == number {
            return true;
        }
        let raises = self.0.raised.read().unwrap_or_else(PoisonError::into_inner);
        let made_with = entry.known().number;
        let was_raised = |tag: &changes::Tag| {
            raises.by_tag.get(&tag.to_string()).is_some_and(|number| *number > made_with)
        };
        let is_unchanged = made_with >= raises.floor && !entry.tags().iter().any(was_raised);
        if is_unchanged {
            entry.compared.store(number, Ordering::Release);
        }
        is_unchanged
    }
}

/// Asks one server what was raised after what is `known`, and where it is.
async fn question(db: &Db, known: Known) -> Result<Found, Error> {
    let reader = db.watch();
    let from = reader.position().await?;
    let (raised, floor) = if known == Known::NOTHING || from.timeline() != known.history() {
        changes::recent(reader).await?
    } else {
        (changes::since(reader, known.number).await?, 0)
    };
    // Its place is asked last: what the answer shows was committed before it.
    Ok(Found { raised, floor, from, to: reader.position().await? })
}
