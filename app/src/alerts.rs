//! Where the nodes of one database meet to tell alerts: who leads, what each saw, what was told, what is silenced.
//!
//! Where there is Redis, it says who leads, and carries what was seen and told while the database cannot be reached. Whoever
//! leads by it takes the lead in the database too, so that a node that cannot reach Redis follows.
//!
//! When neither can be reached, the nodes that knew each other ask each other directly, in the order of their
//! names: so that a database that is down is told once, and needs no database to be told.

mod board;
mod redis;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cirque_shared::alert::channel::Post;
use cirque_shared::alert::fleet::{Fleet, Happened, Meeting, Pending, Snapshot, Standing, Unreachable, Word};
use cirque_shared::alert::notice::Told;
use cirque_shared::alert::silence::Silence;
use cirque_shared::alert::{Millis, now};
use cirque_shared::report::chain;

use self::redis::{Hall, Heard};
use crate::db::{Db, Error};
use crate::redis::Redis;

/// Where a node says what it has told.
pub const WORD: &str = "/api/alerts/word";

/// How long the database may take; below what a meeting may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long whoever leads by Redis does so without saying it again: a look takes seconds while the database is away.
const LEASE_IN_REDIS: Duration = Duration::from_secs(15);
/// The most notes that wait for the database.
const MOST_UNWRITTEN: usize = 1000;

/// How long whoever leads does so without saying it again: three looks.
const LOOKS_OF_A_LEASE: u32 = 3;

/// One node's way to the others.
#[derive(Debug)]
pub struct Nodes {
    db: Db,
    hall: Option<Hall>,
    /// What was told while the database was away.
    unwritten: Mutex<Vec<Told>>,
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
    pub fn new(
        db: Db,
        redis: Option<Redis>,
        name: &str,
        address: String,
        interval: Duration,
        secret: &[u8],
    ) -> Self {
        let fleet = crate::answer::digest(pass(secret).as_bytes());
        Self {
            db,
            hall: redis.map(|redis| Hall::new(redis, &fleet)),
            unwritten: Mutex::default(),
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

    fn unwritten(&self) -> MutexGuard<'_, Vec<Told>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the database is to hear of later.
    fn write_later(&self, told: impl IntoIterator<Item = Told>) {
        let mut unwritten = self.unwritten();
        for told in told {
            if unwritten.len() < MOST_UNWRITTEN && !unwritten.contains(&told) {
                unwritten.push(told);
            }
        }
    }

    /// Meets in the database; `leads` is what Redis says.
    async fn meet_in_database(
        &self,
        mine: &Snapshot,
        leads: Option<bool>,
    ) -> Result<(Meeting, Vec<board::Address>), Unreachable> {
        let lease = leads.map_or(self.lease, |_| self.lease.max(LEASE_IN_REDIS));
        let meeting = board::meet(&self.db, (&self.name, &self.address), mine, lease, leads);
        let met = match leads {
            None => meeting.await,
            Some(_) => match tokio::time::timeout(PATIENCE, meeting).await {
                Ok(met) => met,
                Err(_) => return Err(Unreachable("the database did not answer in time".to_owned())),
            },
        };
        met.map_err(|error| unreachable(&error))
    }

    /// The meeting, where the database said nothing.
    fn without_database(&self, heard: Heard, mine: &Snapshot) -> Meeting {
        self.write_later(mine.told.iter().cloned());
        let lease = self.lease.max(LEASE_IN_REDIS);
        let until = mine.at + u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Meeting {
            standing: if heard.leads { Standing::Leads(until) } else { Standing::Follows },
            snapshots: heard.snapshots,
            told: heard.told,
            silences: self.known_silences().clone(),
        }
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

/// What only Redis knew: of nodes that cannot reach the database, and what was told meanwhile.
fn add(meeting: &mut Meeting, heard: Heard) {
    for snapshot in heard.snapshots {
        let known = meeting.snapshots.iter_mut().find(|known| known.instance == snapshot.instance);
        match known {
            Some(known) if known.at >= snapshot.at => {}
            Some(known) => *known = snapshot,
            None => meeting.snapshots.push(snapshot),
        }
    }
    meeting.told.extend(heard.told);
}

fn unreachable(error: &Error) -> Unreachable {
    Unreachable(chain(error))
}

impl Fleet for Nodes {
    fn meet(&self, mine: Snapshot) -> Pending<'_, Result<Meeting, Unreachable>> {
        Box::pin(async move {
            let heard = match &self.hall {
                Some(hall) => hall.meet(&self.name, &mine, self.lease.max(LEASE_IN_REDIS)).await,
                None => None,
            };
            let late = self.unwritten().clone();
            let told = mine.told.iter().chain(&late).cloned().collect();
            let all = Snapshot { told, ..mine.clone() };
            let met = self.meet_in_database(&all, heard.as_ref().map(|heard| heard.leads)).await;
            let (meeting, addresses) = match (met, heard) {
                (Err(_), Some(heard)) => return Ok(self.without_database(heard, &mine)),
                (Err(error), None) => return Err(error),
                (Ok((mut meeting, addresses)), heard) => {
                    if let Some(heard) = heard {
                        add(&mut meeting, heard);
                    }
                    (meeting, addresses)
                }
            };
            self.unwritten().retain(|told| !late.contains(told));
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
        Box::pin(async move {
            // Redis first: it answers, or does not, in a moment.
            let is_known = match &self.hall {
                Some(hall) => hall.note(&told).await,
                None => false,
            };
            let noted = tokio::time::timeout(PATIENCE, board::note(&self.db, &told)).await;
            let noted = match noted {
                Ok(noted) => noted.map_err(|error| unreachable(&error)),
                Err(_) => Err(Unreachable("the database did not answer in time".to_owned())),
            };
            if noted.is_err() && is_known {
                self.write_later([told]);
                return Ok(());
            }
            noted
        })
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
            let remembered =
                tokio::time::timeout(PATIENCE, board::remember(&self.db, &happened, now())).await;
            match remembered {
                Ok(remembered) => remembered.map_err(|error| unreachable(&error)),
                Err(_) => Err(Unreachable("the database did not answer in time".to_owned())),
            }
        })
    }

    fn history(&self, most: usize) -> Pending<'_, Result<Vec<Happened>, Unreachable>> {
        Box::pin(async move { board::history(&self.db, most).await.map_err(|error| unreachable(&error)) })
    }
}
