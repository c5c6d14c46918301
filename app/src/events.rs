//! Decides what happens in the domain that others may want to know of, and who listens to what.
//!
//! An event is written in the transaction of the change, with one job for each listener: both last, or neither does.

use std::fmt::Write as _;

use sea_query::{OnConflict, Query};
use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::db::{Error, Writer};
use crate::jobs;
use crate::moment::Moment;
use crate::queue::Kind;
use crate::queue::enqueue::{New, enqueue};

/// Who listens to what: the one table. A listener is a kind of job in `jobs.rs`, and is done in `listeners.rs`.
const LISTENERS: &[(&str, &[&Kind])] = &[
    (
        POST_PUBLISHED,
        &[jobs::CLEAR_POST_CACHE, jobs::UPDATE_SITEMAP, jobs::NOTIFY_SUBSCRIBERS, jobs::CALL_WEBHOOKS],
    ),
    (POST_UPDATED, &[jobs::CLEAR_POST_CACHE, jobs::UPDATE_SITEMAP, jobs::CALL_WEBHOOKS]),
    (POST_DELETED, &[jobs::CLEAR_POST_CACHE, jobs::UPDATE_SITEMAP, jobs::CALL_WEBHOOKS]),
    (POST_VIEWED, &[jobs::TRACK_POST_ANALYTICS]),
    (SUBSCRIPTION_REQUESTED, &[jobs::MAIL_CONFIRMATION]),
];

const POST_PUBLISHED: &str = "post.published";
const POST_UPDATED: &str = "post.updated";
const POST_DELETED: &str = "post.deleted";
const POST_VIEWED: &str = "post.viewed";
const SUBSCRIPTION_REQUESTED: &str = "subscription.requested";

/// The events that webhooks may ask for.
pub const PUBLIC: [&str; 3] = [POST_PUBLISHED, POST_UPDATED, POST_DELETED];

/// The version of every payload below. A payload that changes its meaning gets another version, and its readers read
/// both for as long as jobs of the older one may wait.
const VERSION: i64 = 1;

/// The posts that one part of the sitemap stands for, by their ids; the protocol allows 50,000 addresses in a file.
pub const SITEMAP_PART: i64 = 10_000;

/// The part of the sitemap that a post is in.
pub fn sitemap_part(post: i64) -> i64 {
    (post - 1).max(0) / SITEMAP_PART
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A post became public.
    PostPublished(PostChanged),
    /// A post that is or was public was changed.
    PostUpdated(PostChanged),
    /// A public post was taken away.
    PostDeleted(PostChanged),
    /// Posts were viewed: what one node counted in a while.
    PostViewed(Views),
    /// Somebody wants mail about new posts.
    SubscriptionRequested {
        /// Their number.
        subscriber: i64,
    },
}

/// A post that was changed, as it is then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostChanged {
    /// Its id.
    pub id: i64,
    /// Its name in addresses.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// Its category.
    pub category_id: i64,
    /// Its author.
    pub author_id: i64,
    /// What it was before, like `draft`; nothing for a new one.
    pub previous_status: Option<String>,
}

/// What one node counted in a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Views {
    /// How often each post was viewed, by its slug and the hour it was in (milliseconds since 1970).
    pub counts: Vec<(String, i64, i64)>,
    /// Who viewed which post on which day, as numbers that say nothing of an address: slug, day, visitor.
    pub visitors: Vec<(String, i64, i64)>,
}

impl Event {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PostPublished(_) => POST_PUBLISHED,
            Self::PostUpdated(_) => POST_UPDATED,
            Self::PostDeleted(_) => POST_DELETED,
            Self::PostViewed(_) => POST_VIEWED,
            Self::SubscriptionRequested { .. } => SUBSCRIPTION_REQUESTED,
        }
    }

    /// What its listeners are told, as JSON.
    fn payload(&self) -> String {
        let json = match self {
            Self::PostPublished(post) | Self::PostUpdated(post) | Self::PostDeleted(post) => {
                let mut value = serde_json::json!(post);
                value["event"] = self.name().into();
                value
            }
            Self::PostViewed(views) => serde_json::json!(views),
            Self::SubscriptionRequested { subscriber } => serde_json::json!({ "subscriber": subscriber }),
        };
        json.to_string()
    }

    /// Of what a listener does for several events at once, what this one is about.
    fn key(&self, kind: &Kind) -> Option<String> {
        match self {
            Self::PostPublished(post) | Self::PostUpdated(post) | Self::PostDeleted(post)
                if kind.name == jobs::UPDATE_SITEMAP.name =>
            {
                Some(sitemap_part(post.id).to_string())
            }
            _ => None,
        }
    }
}

/// An id that no other event has, and that sorts by time (RFC 9562, version 7).
pub fn new_id(now: Moment) -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    let mut id = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// Writes that something happened, and the jobs of its listeners. To be called before [`crate::changes::bump`] and
/// for posts in the order of their ids, so that writers never wait for each other in a circle.
///
/// # Errors
///
/// Those of the database.
pub async fn record(writer: &mut Writer<'_>, event: &Event, cause: &Cause, now: Moment) -> Result<(), Error> {
    record_as(writer, new_id(now), event, cause, now).await
}

/// As [`record`], under an id of the caller's: what is recorded twice under one id happened once.
///
/// # Errors
///
/// Those of the database.
pub async fn record_as(
    writer: &mut Writer<'_>,
    id: String,
    event: &Event,
    cause: &Cause,
    now: Moment,
) -> Result<(), Error> {
    let payload = event.payload();
    let insert = Query::insert()
        .into_table("events")
        .columns(["id", "name", "version", "payload", "request_id", "occurred_at"])
        .values_panic([
            id.as_str().into(),
            event.name().into(),
            VERSION.into(),
            payload.as_str().into(),
            cause.request_id().map(str::to_owned).into(),
            now.0.into(),
        ])
        .on_conflict(OnConflict::column("id").do_nothing().to_owned())
        .take();
    if writer.execute(&insert).await? == 0 {
        return Ok(());
    }
    let listeners =
        LISTENERS.iter().find(|(name, _)| *name == event.name()).map_or(&[][..], |(_, kinds)| kinds);
    let jobs: Vec<New> = listeners
        .iter()
        .map(|kind| {
            let key = event.key(kind);
            // A job that speaks for several events belongs to none.
            let event = key.is_none().then(|| id.clone());
            New { kind, event, key, payload: payload.clone(), run_at: now, cause: cause.clone() }
        })
        .collect();
    enqueue(writer, &jobs, now).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_version_7_and_sorts_by_time() {
        let (earlier, later) = (new_id(Moment(1_762_337_106_999)), new_id(Moment(1_762_337_107_000)));
        assert!(earlier < later, "{earlier} {later}");
        assert_eq!((earlier.len(), earlier.as_bytes()[14]), (36, b'7'));
        assert_eq!(&earlier[..13], "019a537a-2c37");
        assert!(b"89ab".contains(&earlier.as_bytes()[19]));
    }

    #[test]
    fn every_event_has_listeners_and_every_listener_is_a_kind_that_exists() {
        for (name, kinds) in LISTENERS {
            assert!(!kinds.is_empty(), "{name}");
            assert!(kinds.iter().all(|kind| jobs::kind(kind.name).is_some()), "{name}");
        }
        assert!(PUBLIC.iter().all(|name| LISTENERS.iter().any(|(known, _)| known == name)));
    }

    #[test]
    fn what_is_done_for_a_part_of_the_sitemap_is_keyed_by_the_part() {
        let changed = |id| PostChanged {
            id,
            slug: "a".into(),
            title: "A".into(),
            category_id: 1,
            author_id: 1,
            previous_status: None,
        };
        for (id, part) in [(1, "0"), (10_000, "0"), (10_001, "1"), (25_000, "2")] {
            let event = Event::PostPublished(changed(id));
            assert_eq!(event.key(jobs::UPDATE_SITEMAP).as_deref(), Some(part), "{id}");
            assert_eq!(event.key(jobs::CLEAR_POST_CACHE), None);
        }
    }
}
