//! Decides what the nodes keep together in Redis, and which of them makes an answer that none has.
//!
//! An answer there says what one in memory says: its tags, and up to which number changes were known before it was
//! made. Whoever reads it compares that with what is known now, so a late writer cannot undo a purge: what it wrote is
//! not believed. The node that finds nothing takes a turn, a key that ends by itself; the others look again, for a
//! moment only. Whoever knows of more changes takes the turn from one who knows less. Without Redis each node makes
//! the answer once.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Entry, Kept};
use super::known::Known;
use crate::metrics::SharedCacheMetrics;
use crate::redis::{NoAnswer, Program, Redis, Use, cmd};

/// Larger answers stay in memory.
const MOST: usize = 1 << 20;
/// How long the others look for an answer that somebody makes, before they make it themselves.
const WAIT: Duration = Duration::from_secs(1);
/// How long a turn lasts; a node that was killed holds up nobody for longer than `WAIT`.
const TURN: Duration = Duration::from_secs(3);
/// How long before the first look, and the longest between two.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(40);

/// Whether what a text begins with, `HISTORY:NUMBER`, is less than what another begins with: as `Known::is_behind`.
const IS_BEHIND: &str = "local function is_behind(one, other)\n\
     local history, number = string.match(one, '^(%d+):(%-?%d+)')\n\
     local others, of_other = string.match(other, '^(%d+):(%-?%d+)')\n\
     history, number = tonumber(history), tonumber(number)\n\
     others, of_other = tonumber(others), tonumber(of_other)\n\
     return history < others or (history == others and number < of_other)\n\
     end\n";

/// Keeps an answer, unless one is there that was made with more knowledge.
static KEEP: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        IS_BEHIND.to_owned()
            + "local kept = redis.call('HGET', KEYS[1], 'mark')\n\
               if kept and is_behind(ARGV[1], kept) then return 0 end\n\
               redis.call('HSET', KEYS[1], 'mark', ARGV[1], 'answer', ARGV[2])\n\
               redis.call('PEXPIRE', KEYS[1], ARGV[3])\n\
               return 1",
    )
});

/// Takes the turn: from nobody, or from one who knows of fewer changes. Says whether that went well, and the mark of the
/// answer that is there now.
static TAKE: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        IS_BEHIND.to_owned()
            + "local held = redis.call('GET', KEYS[2])\n\
               if held and not is_behind(held, ARGV[1]) then return {0, ''} end\n\
               redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])\n\
               return {1, redis.call('HGET', KEYS[1], 'mark') or ''}",
    )
});

/// Ends a turn, if it is still ours.
static END: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    )
});

/// What the nodes keep together.
#[derive(Debug)]
pub struct Shared {
    redis: Redis,
    /// Stands for the database, the version and how links begin: answers of others are not ours.
    space: String,
    metrics: SharedCacheMetrics,
}

/// Which answer, and what is known.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    answer: String,
    turn: String,
    known: Known,
    until: Instant,
    look: Duration,
    /// The mark of the last answer that was found.
    found: String,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    /// This was found; it is to be judged.
    Found(Kept),
    /// To be made here, for all.
    Make(Turn),
    /// To be made here, for this node alone.
    MakeAlone,
}

/// The right to make an answer for all.
#[derive(Debug)]
pub(super) struct Turn {
    key: String,
    token: String,
}

/// Tells an answer from an earlier one of the same name.
fn mark(kept: &Kept) -> String {
    format!("{}:{}", begun(kept.known), kept.made_at.0)
}

/// What a text begins with that is compared by [`IS_BEHIND`].
fn begun(known: Known) -> String {
    format!("{}:{}", known.history(), known.number)
}

impl Shared {
    /// Kept in `redis`, apart from what has another `space`.
    pub fn new(redis: Redis, space: &[u8], metrics: SharedCacheMetrics) -> Self {
        Self { redis, space: crate::answer::digest(space), metrics }
    }

    /// The answer of this name, by a node that knows changes up to there. Both keys are in one place.
    pub(super) fn wanted(&self, key: &str, known: Known) -> Wanted {
        let name = crate::answer::digest(format!("{}|{key}", self.space).as_bytes());
        let answer = self.redis.key(&format!("answer:{{{name}}}"));
        let turn = self.redis.key(&format!("turn:{{{name}}}"));
        Wanted { answer, turn, known, until: Instant::now() + WAIT, look: FIRST_LOOK, found: String::new() }
    }

    /// Looks once, without waiting for anybody.
    pub(super) async fn look(&self, wanted: &mut Wanted) -> Option<Kept> {
        match self.get(wanted).await {
            Ok(Some(kept)) => {
                wanted.found = mark(&kept);
                Some(kept)
            }
            Ok(None) => None,
            Err(_) => {
                self.metrics.away.inc();
                None
            }
        }
    }

    async fn get(&self, wanted: &Wanted) -> Result<Option<Kept>, NoAnswer> {
        let mut get = cmd("HGET");
        get.arg(&wanted.answer).arg("answer");
        let bytes: Option<bytes::Bytes> =
            self.redis.ask::<Option<Vec<u8>>>(Use::Cache, &get).await?.map(Into::into);
        Ok(bytes.and_then(|bytes| Kept::read(&bytes)))
    }

    /// After an answer was not there or not good: takes the turn, or waits for whoever has it.
    pub(super) async fn next(&self, wanted: &mut Wanted) -> Step {
        let mut random = [0; 12];
        let _ = getrandom::fill(&mut random);
        let token = format!("{}:{}", begun(wanted.known), crate::answer::digest(&random));
        let lasting = TURN.as_millis().to_string();
        loop {
            let keys = [wanted.answer.as_str(), wanted.turn.as_str()];
            let arguments = [token.as_bytes(), lasting.as_bytes()];
            let taken: Result<(i64, String), _> = self.redis.run(Use::Flight, &TAKE, &keys, &arguments).await;
            match taken {
                Ok((1, there)) => {
                    let turn = Turn { key: wanted.turn.clone(), token };
                    // Somebody may have finished between our look and our turn.
                    if there.is_empty() || there == wanted.found || Instant::now() >= wanted.until {
                        return Step::Make(turn);
                    }
                    wanted.found = there;
                    let Ok(Some(kept)) = self.get(wanted).await else { return Step::Make(turn) };
                    self.end(turn).await;
                    return Step::Found(kept);
                }
                Ok(_) => {}
                Err(_) => return Step::MakeAlone,
            }
            if Instant::now() >= wanted.until {
                self.metrics.impatient.inc();
                return Step::MakeAlone;
            }
            tokio::time::sleep(wanted.look).await;
            wanted.look = (wanted.look * 2).min(LONGEST_LOOK);
            match self.get(wanted).await {
                Ok(Some(kept)) if mark(&kept) != wanted.found => {
                    wanted.found = mark(&kept);
                    self.metrics.waited.inc();
                    return Step::Found(kept);
                }
                Ok(_) => {}
                Err(_) => return Step::MakeAlone,
            }
        }
    }

    /// Keeps an answer for so long. Without Redis it is not kept.
    pub(super) async fn put(&self, wanted: &Wanted, entry: &Entry, lasting: Duration) {
        let (bytes, mark) = (entry.kept().written(), mark(entry.kept()));
        if bytes.len() > MOST {
            self.metrics.too_large.inc();
            return;
        }
        let lasting = lasting.as_millis().max(1).to_string();
        let arguments: [&[u8]; 3] = [mark.as_bytes(), &bytes, lasting.as_bytes()];
        let kept: Result<i64, _> = self.redis.run(Use::Cache, &KEEP, &[&wanted.answer], &arguments).await;
        if matches!(kept, Ok(1)) {
            self.metrics.kept.inc();
        }
    }

    /// Gives the turn back, so that nobody waits for its end.
    pub(super) async fn end(&self, turn: Turn) {
        let _: Result<i64, _> =
            self.redis.run(Use::Flight, &END, &[&turn.key], &[turn.token.as_bytes()]).await;
    }

    /// Counts how a look ended.
    pub(super) fn count(&self, is_good: bool) {
        if is_good {
            self.metrics.hit.inc();
        } else {
            self.metrics.miss.inc();
        }
    }
}
