//! Decides what counts as a view of a post, and how views are collected: in memory, then as one event in a while.
//!
//! A node remembers what it counted until it is written; what it writes has an id of its own, so that a write that was
//! repeated because nobody knew how it ended is counted once. Of a reader only a number is kept, which depends on a
//! secret of the day that is forgotten with it.

pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::cause::Cause;
use crate::db::{Db, Error};
use crate::events::{self, Event, Views};
use crate::moment::Moment;

/// An hour, in milliseconds.
pub const HOUR: i64 = 3_600_000;
/// A day, in milliseconds.
pub const DAY: i64 = 24 * HOUR;

/// Different posts and hours, and different readers, that are remembered between two writes; above it, the rest of the
/// readers is only counted as views, and the rest of the posts not at all.
const MOST: usize = 10_000;

/// Views that were counted and not written yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bots: Vec<String>,
    counted: Mutex<Counted>,
    /// What is being written: kept until it surely was.
    writing: tokio::sync::Mutex<Option<(String, Views)>>,
    salt: tokio::sync::Mutex<Option<(i64, Vec<u8>)>>,
}

#[derive(Debug, Default)]
struct Counted {
    counts: BTreeMap<(String, i64), i64>,
    readers: BTreeSet<(String, i64, String)>,
}

impl Collector {
    /// Leaves out readers whose User-Agent has one of these words, whatever their case.
    pub fn new(bots: &[String]) -> Self {
        Self(Arc::new(Inner {
            bots: bots.iter().map(|bot| bot.to_lowercase()).collect(),
            counted: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            salt: tokio::sync::Mutex::default(),
        }))
    }

    /// Counts one view; neither waits nor fails.
    pub fn note(&self, slug: &str, address: IpAddr, user_agent: &str, now: Moment) {
        if self.is_bot(user_agent) {
            return;
        }
        let mut counted = self.0.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (slug.to_owned(), now.0.div_euclid(HOUR) * HOUR);
        if counted.counts.len() >= MOST && !counted.counts.contains_key(&key) {
            return;
        }
        *counted.counts.entry(key).or_default() += 1;
        if counted.readers.len() < MOST {
            let day = now.0.div_euclid(DAY) * DAY;
            counted.readers.insert((slug.to_owned(), day, format!("{address} {user_agent}")));
        }
    }

    /// Whether it says of itself that nobody reads there; a reader without a name is one too.
    fn is_bot(&self, user_agent: &str) -> bool {
        let user_agent = user_agent.to_lowercase();
        user_agent.trim().is_empty() || self.0.bots.iter().any(|bot| user_agent.contains(bot))
    }

    /// Writes what was counted, as one event; whether there was anything.
    ///
    /// # Errors
    ///
    /// Those of the database; what was counted is kept then, under the same id.
    pub async fn flush(&self, db: &Db, now: Moment) -> Result<bool, Error> {
        let mut writing = self.0.writing.lock().await;
        if writing.is_none() {
            let counted = std::mem::take(&mut *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner));
            if counted.counts.is_empty() {
                return Ok(false);
            }
            *writing = Some((events::new_id(now), self.views(db, counted).await?));
        }
        if let Some((id, views)) = writing.as_ref() {
            let mut writer = db.write().await?;
            let event = Event::PostViewed(views.clone());
            events::record_as(&mut writer, id.clone(), &event, &Cause::none(), now).await?;
            writer.commit().await?;
        }
        *writing = None;
        Ok(true)
    }

    /// Turns readers into numbers. Where the day's secret cannot be had, views are counted and readers are not.
    async fn views(&self, db: &Db, counted: Counted) -> Result<Views, Error> {
        let mut visitors = Vec::with_capacity(counted.readers.len());
        for (slug, day, reader) in counted.readers {
            let mut salt = self.0.salt.lock().await;
            if salt.as_ref().is_none_or(|(of, _)| *of != day) {
                match store::salt(db, day).await {
                    Ok(made) => *salt = Some((day, made)),
                    Err(_) => continue,
                }
            }
            let Some((_, salt)) = salt.as_ref() else { continue };
            visitors.push((slug.clone(), day, number(salt, &slug, &reader)));
        }
        let counts = counted.counts.into_iter().map(|((slug, hour), count)| (slug, hour, count)).collect();
        Ok(Views { counts, visitors })
    }
}

/// The same for one reader of one post on one day, and of no use to find them by.
fn number(salt: &[u8], slug: &str, reader: &str) -> i64 {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes keys of any length");
    mac.update(slug.as_bytes());
    mac.update(b"\n");
    mac.update(reader.as_bytes());
    let digest = mac.finalize().into_bytes();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_say_so_and_readers_have_a_name() {
        let collector = Collector::new(&["bot".to_owned(), "Crawl".to_owned()]);
        for (user_agent, is_bot) in [
            ("Mozilla/5.0 (compatible; ExampleBot/2.1; +https://example.com/bot)", true),
            ("some-CRAWLER/1.0", true),
            ("", true),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", false),
        ] {
            assert_eq!(collector.is_bot(user_agent), is_bot, "{user_agent}");
        }
    }

    #[test]
    fn what_is_remembered_between_two_writes_is_bounded() {
        let collector = Collector::new(&[]);
        let address = IpAddr::from([192, 0, 2, 1]);
        for post in 0..MOST + 10 {
            collector.note(&post.to_string(), address, "reader", Moment(0));
        }
        collector.note("0", address, "reader", Moment(0));
        let counted = collector.0.counted.lock().unwrap();
        assert_eq!((counted.counts.len(), counted.readers.len()), (MOST, MOST));
        assert_eq!(counted.counts[&("0".to_owned(), 0)], 2);
    }

    #[test]
    fn a_number_differs_by_post_and_by_day() {
        let one = number(b"salt", "post", "192.0.2.1 reader");
        assert_eq!(one, number(b"salt", "post", "192.0.2.1 reader"));
        assert_ne!(one, number(b"salt", "other", "192.0.2.1 reader"));
        assert_ne!(one, number(b"another", "post", "192.0.2.1 reader"));
    }
}
