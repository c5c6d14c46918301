//! Where the nodes of one database meet to tell alerts: who leads, what each saw, what was told, what is silenced.
//!
//! When the database cannot be reached, the nodes that knew each other ask each other directly, in the order of their
//! names: so that a database that is down is told once, and needs no database to be told.

mod board;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cirque_shared::alert::channel::Post;
use cirque_shared::alert::fleet::{Fleet, Happened, Meeting, Pending, Snapshot, Unreachable, Word};
use cirque_shared::alert::notice::Told;
use cirque_shared::alert::silence::Silence;
use cirque_shared::alert::{Millis, now};
use cirque_shared::report::chain;

use crate::db::{Db, Error};

/// Where a node says what it has told.
pub const WORD: &str = "/api/alerts/word";

/// How long whoever leads does so without saying it again: three looks.
const LOOKS_OF_A_LEASE: u32 = 3;

/// One node's way to the others.
#[derive(Debug)]
pub struct Nodes {
    db: Db,
    name: String,
    address: String,
    lease: Duration,
    /// What the nodes show each other to be let in.
    pass: String,
    /// The others as they were last met: name and address.
    others: Mutex<Vec<(String, String)>>,
    silences: Mutex<Vec<Silence>>,
    post: Option<Post>,
}

impl Nodes {
    /// The way of the node `name`, which others reach at `address` and which looks every `interval`. `secret` is one
    /// that the nodes of a database share.
    pub fn new(db: Db, name: &str, address: String, interval: Duration, secret: &[u8]) -> Self {
        Self {
            db,
            name: name.to_owned(),
            address,
            lease: (interval * LOOKS_OF_A_LEASE).max(Duration::from_secs(3)),
            pass: pass(secret),
            others: Mutex::default(),
            silences: Mutex::default(),
            post: Post::new().ok(),
        }
    }

    /// Whether this is what a node of the same database shows.
    pub fn lets_in(&self, pass: &str) -> bool {
        pass == self.pass
    }

    fn others(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_silences(&self) -> MutexGuard<'_, Vec<Silence>> {
        self.silences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest: what goes over the wire is not what is kept.
fn pass(secret: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::new().chain_update(b"alerts:").chain_update(secret).finalize();
    crate::answer::digest(&digest)
}

fn unreachable(error: &Error) -> Unreachable {
    Unreachable(chain(error))
}

impl Fleet for Nodes {
    fn meet(&self, mine: Snapshot) -> Pending<'_, Result<Meeting, Unreachable>> {
        Box::pin(async move {
            let met = board::meet(&self.db, &self.name, &self.address, &mine, self.lease).await;
            let (meeting, addresses) = met.map_err(|error| unreachable(&error))?;
            *self.others() = addresses.into_iter().filter(|(name, _)| *name != self.name).collect();
            meeting.silences.clone_into(&mut self.known_silences());
            Ok(meeting)
        })
    }

    fn place(&self) -> u32 {
        let before = self.others().iter().filter(|(name, _)| *name < self.name).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn ask(&self) -> Pending<'_, Vec<Word>> {
        let others = self.others().clone();
        Box::pin(async move {
            let Some(post) = &self.post else { return Vec::new() };
            let mut words = Vec::new();
            for (node, address) in others {
                let headers = [("authorization", format!("Bearer {}", self.pass))];
                let word = post.get(&format!("http://{address}{WORD}"), &headers).await;
                match word.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())) {
                    Ok(word) => words.push(word),
                    Err(error) => tracing::warn!(node, error, "node could not be asked for alerts"),
                }
            }
            words
        })
    }

    fn note(&self, told: Told) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move { board::note(&self.db, &told).await.map_err(|error| unreachable(&error)) })
    }

    fn silence(&self, silence: Silence) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            board::silence(&self.db, &silence).await.map_err(|error| unreachable(&error))?;
            self.known_silences().push(silence);
            Ok(())
        })
    }

    fn unsilence<'a>(&'a self, id: &'a str, _: Millis) -> Pending<'a, Result<bool, Unreachable>> {
        Box::pin(async move {
            let was_there = board::unsilence(&self.db, id).await.map_err(|error| unreachable(&error))?;
            self.known_silences().retain(|silence| silence.id != id);
            Ok(was_there)
        })
    }

    fn silences(&self, now: Millis) -> Pending<'_, Result<Vec<Silence>, Unreachable>> {
        Box::pin(async move { board::silences(&self.db, now).await.map_err(|error| unreachable(&error)) })
    }

    fn remember(&self, happened: Happened) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            board::remember(&self.db, &happened, now()).await.map_err(|error| unreachable(&error))
        })
    }

    fn history(&self, most: usize) -> Pending<'_, Result<Vec<Happened>, Unreachable>> {
        Box::pin(async move { board::history(&self.db, most).await.map_err(|error| unreachable(&error)) })
    }
}
