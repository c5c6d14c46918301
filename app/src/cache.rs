//! Decides what is answered from memory: for anonymous readers, as long as nothing behind the answer has changed.
//!
//! An answer is kept under the path of its route and its parameters in their normal form, so that nothing a client
//! makes up (a host, an unknown parameter) leads to an entry of its own. It carries the tags of what it was made
//! from. A write raises the numbers of its tags in its own transaction ([`crate::changes`]); every node asks for
//! raised numbers several times a second while it is asked itself, and at once after a write of its own. An answer is
//! never served as fresh when the last such question is older than [`watch::LIMIT`].
//!
//! Where there is Redis, an answer that this node does not have is looked for there before it is made, and one node
//! makes it for all ([`shared`]); it is held to the same numbers.
//!
//! | the entry is | and the database | the answer is |
//! | --- | --- | --- |
//! | within its time, nothing changed | answers | the entry: `HIT` |
//! | over its time by less than `stale_while_revalidate`, nothing changed | answers | the entry, made anew beside: `STALE` |
//! | older, changed or not there | answers | made anew, once for all who wait: `MISS` |
//! | there, over its time by less than `stale_if_error` | is broken or slow | the entry: `STALE` |

mod caller;
mod entry;
mod flight;
mod kept;
mod known;
mod shared;
mod store;
mod verdict;
pub mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use cirque_shared::trace;

pub use caller::Caller;
pub use entry::Made;
pub use shared::Shared;

use self::entry::{Entry, Kept, Served};
use self::flight::{Flights, Landing, Ticket};
use self::known::Known;
use self::shared::Step;
use self::store::Store;
use self::verdict::{Verdict, judge};
use self::watch::Watch;
use crate::config::{self, Config};
use crate::db::{Db, Need, Session};
use crate::error::ApiError;
use crate::metrics::CacheMetrics;
use crate::moment::{Clock, Moment};

/// How long a reader waits for an answer to be made anew while there is a stale one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes an answer.
pub type Making = Pin<Box<dyn Future<Output = Result<Made, ApiError>> + Send>>;

/// Which of the times of the configuration an answer is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// Lists of v1.
    V1List,
    /// Single things of v1.
    V1Detail,
    /// Lists of v2.
    V2List,
    /// Single things of v2.
    V2Detail,
}

/// The answers that one node keeps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Cache,
    store: Option<Store>,
    shared: Option<Shared>,
    flights: Flights,
    watch: Watch,
    db: Db,
    clock: Clock,
    metrics: CacheMetrics,
    /// Time for one answer to be made.
    time_limit: Duration,
}

/// The answer's name: path, and parameters in their normal form.
pub fn key(path: &str, pairs: &[(&'static str, String)]) -> String {
    let mut key = path.to_owned();
    for (index, (name, value)) in pairs.iter().enumerate() {
        key.push(if index == 0 { '?' } else { '&' });
        key.push_str(name);
        key.push('=');
        key.push_str(&crate::query::encode(value));
    }
    key
}

impl Cache {
    /// A cache over `db`, with the times and the size that are configured.
    pub fn new(config: &Config, db: Db, clock: Clock, metrics: CacheMetrics, shared: Option<Shared>) -> Self {
        let (time_limit, config) = (config.server.max_execution_time, config.cache.clone());
        let longest = config.v1_list.max(config.v1_detail).max(config.v2_list).max(config.v2_detail);
        let usable = longest + config.stale_while_revalidate.max(config.stale_if_error);
        let store = (config.max_size > 0).then(|| Store::new(config.max_size, usable));
        let (flights, watch) = (Flights::default(), Watch::default());
        Self(Arc::new(Inner { config, store, shared, flights, watch, db, clock, metrics, time_limit }))
    }

    /// Whether answers are kept at all.
    pub fn is_on(&self) -> bool {
        self.0.store.is_some()
    }

    /// Answers from memory, or with what `make` makes.
    ///
    /// # Errors
    ///
    /// Those of `make`, when there is nothing to answer with instead.
    pub async fn answer(
        &self,
        caller: &Caller,
        shelf: Shelf,
        key: String,
        make: impl FnOnce() -> Making,
    ) -> Result<Response, ApiError> {
        let Some(store) = self.0.store.as_ref().filter(|_| caller.is_anonymous()) else {
            self.0.metrics.bypass.inc();
            return Ok(entry::private(make().await?, caller));
        };
        if !self.knows_what_caller_wrote().await {
            self.0.metrics.bypass.inc();
            return Ok(entry::private(make().await?, caller));
        }
        let now = self.0.clock.now();
        let is_confirmed = self.0.watch.confirm(&self.0.db, now).await;
        let kept = store.get(&key);
        let verdict = kept.as_ref().map_or(Verdict::Missing, |entry| {
            let is_unchanged = self.0.watch.is_unchanged(entry);
            judge(entry.age(now), is_unchanged, is_confirmed, &self.times(shelf))
        });
        match (verdict, kept) {
            (Verdict::Fresh, Some(entry)) => {
                self.0.metrics.hit.inc();
                Ok(entry.response(Served::Hit, now, caller))
            }
            (Verdict::Refresh, Some(entry)) => {
                drop(self.start(shelf, key, make));
                self.0.metrics.stale.inc();
                Ok(entry.response(Served::Stale, now, caller))
            }
            (Verdict::OnlyInNeed, Some(entry)) => {
                // Where the database is known not to answer, nobody waits to be told so again.
                let is_hopeless = !is_confirmed && self.0.watch.is_troubled();
                let patience = if is_hopeless { Duration::ZERO } else { PATIENCE };
                let ticket = self.start(shelf, key, make);
                self.instead_of(entry, caller, ticket, patience).await
            }
            _ => {
                let entry = self.start(shelf, key, make).outcome().await?;
                Ok(self.first(&entry, now, caller))
            }
        }
    }

    /// Answers with what this node did not have before.
    fn first(&self, entry: &Entry, now: Moment, caller: &Caller) -> Response {
        match entry.origin {
            Served::Hit => self.0.metrics.hit.inc(),
            Served::Miss | Served::Stale => self.0.metrics.miss.inc(),
        }
        entry.response(entry.origin, now, caller)
    }

    /// Whether this node knows of every change that its caller must see; asks where that is needed. What it does not know
    /// of, it cannot tell from entries, so its caller is answered without them then.
    async fn knows_what_caller_wrote(&self) -> bool {
        match Session::current().map(|session| session.need()) {
            None | Some(Need::Any) => true,
            Some(Need::All) => false,
            Some(Need::At(place)) => {
                if !self.0.watch.has_come_to(place) {
                    self.catch_up().await;
                }
                self.0.watch.has_come_to(place)
            }
        }
    }

    /// Waits for the answer, and takes `stale` when it fails or takes longer than `patience`.
    async fn instead_of(
        &self,
        stale: Arc<Entry>,
        caller: &Caller,
        ticket: Ticket,
        patience: Duration,
    ) -> Result<Response, ApiError> {
        let outcome = tokio::time::timeout(patience, ticket.outcome()).await;
        let now = self.0.clock.now();
        match outcome {
            Ok(Ok(entry)) => Ok(self.first(&entry, now, caller)),
            Ok(Err(error)) if !error.code().is_ours() => Err(error),
            Ok(Err(_)) | Err(_) => {
                self.0.metrics.stale.inc();
                Ok(stale.response(Served::Stale, now, caller))
            }
        }
    }

    /// Joins the flight for this answer, or starts it. A flight that began before what is known now is not joined:
    /// it may have read what was there before a write.
    fn start(&self, shelf: Shelf, key: String, make: impl FnOnce() -> Making) -> Ticket {
        let known = self.0.watch.known();
        let (ticket, is_first) = self.0.flights.join(&key, known);
        if !is_first {
            self.0.metrics.coalesced.inc();
            return ticket;
        }
        let (cache, making) = (self.clone(), make());
        let landing = self.0.flights.landing(key.clone(), &ticket);
        let flying = async move { cache.fly(shelf, &key, known, making, landing).await };
        tokio::spawn(trace::within(trace::current(), flying));
        ticket
    }

    /// Finds the answer with the other nodes, or makes it, and lands.
    async fn fly(&self, shelf: Shelf, key: &str, known: Known, making: Making, landing: Landing) {
        let began = self.0.clock.now();
        let mut turn = None;
        // What nobody can compare with the changes is not taken from others.
        let shared = self.0.shared.as_ref().filter(|_| self.0.watch.is_recent(began));
        if let Some(shared) = shared {
            let mut wanted = shared.wanted(key, known);
            let mut found = shared.look(&mut wanted).await;
            loop {
                let entry = match found.take() {
                    Some(kept) => self.judged(kept, shelf).await,
                    None => None,
                };
                shared.count(entry.is_some());
                if let Some(entry) = entry {
                    if let Some(store) = &self.0.store {
                        store.put(key, &entry);
                    }
                    return landing.land(Ok(entry));
                }
                match shared.next(&mut wanted).await {
                    Step::Found(kept) => found = Some(kept),
                    Step::Make(taken) => {
                        turn = Some((shared, wanted, taken));
                        break;
                    }
                    Step::MakeAlone => break,
                }
            }
        }
        let began = self.0.clock.now();
        // It must show all that is known to have changed, wherever it is read.
        let session = Session::new(Need::At(known.position));
        let made = session.scope(landing.guard(making, self.0.time_limit)).await;
        let (times, client_max_age) = (self.times(shelf), self.0.config.client_max_age);
        let outcome = made.map(|made| Arc::new(Entry::new(made, began, known, times.fresh, client_max_age)));
        match (&outcome, &self.0.store) {
            (Ok(entry), Some(store)) => store.put(key, entry),
            // What is gone is not shown in need either.
            (Err(error), Some(store)) if !error.code().is_ours() => store.remove(key),
            _ => {}
        }
        let entry = outcome.as_ref().ok().cloned();
        landing.land(outcome);
        if let Some((shared, wanted, turn)) = turn {
            if let Some(entry) = entry {
                shared.put(&wanted, &entry, times.fresh + times.while_revalidate).await;
            }
            shared.end(turn).await;
        }
    }

    /// What another node made, if it is within its time and nothing behind it has changed.
    async fn judged(&self, kept: Kept, shelf: Shelf) -> Option<Arc<Entry>> {
        let times = self.times(shelf);
        let entry = Entry::of(kept, Served::Hit, times.fresh, self.0.config.client_max_age);
        if self.0.watch.known().is_behind(entry.known()) {
            // Made by a node that knows more; or by one whose database was another state of ours.
            self.catch_up().await;
        }
        let now = self.0.clock.now();
        let is_known = self.0.watch.known().covers(entry.known()) && self.0.watch.is_recent(now);
        let is_unchanged = is_known && self.0.watch.is_unchanged(&entry);
        let verdict = judge(entry.age(now), is_unchanged, is_known, &times);
        (verdict == Verdict::Fresh).then(|| Arc::new(entry))
    }

    /// Learns what was changed until now. A write that was committed before this call is seen by every answer after it.
    pub async fn catch_up(&self) {
        self.0.watch.catch_up(&self.0.db, self.0.clock.now()).await;
    }

    fn times(&self, shelf: Shelf) -> verdict::Times {
        let config = &self.0.config;
        let fresh = match shelf {
            Shelf::V1List => config.v1_list,
            Shelf::V1Detail => config.v1_detail,
            Shelf::V2List => config.v2_list,
            Shelf::V2Detail => config.v2_detail,
        };
        verdict::Times {
            fresh,
            while_revalidate: config.stale_while_revalidate,
            if_error: config.stale_if_error,
        }
    }

    /// Brings the gauges up to date; called before they are read.
    pub fn observe(&self) {
        self.0.metrics.observe();
        if let Some(store) = &self.0.store {
            let (entries, bytes) = store.size();
            self.0.metrics.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
            self.0.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

impl Entry {
    fn age(&self, now: Moment) -> Duration {
        now.since(self.made_at())
    }
}
