//! Decides what happens in the domain that others may want to know of, and who listens to what.
//!
//! An event is written in the transaction of the change, with one job for each listener: both last, or neither does.

use std::fmt::Write as _;

use http::Extensions;
use sea_query::Query;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::db::{Error, Writer};
use crate::jobs;
use crate::moment::Moment;
use crate::queue::Kind;
use crate::queue::enqueue::{New, enqueue};

/// Who listens to what: the one table. A listener is a kind of job in `jobs.rs`, and is done in `listeners.rs`.
const LISTENERS: &[(&str, &[&Kind])] = &[
    (POST_PUBLISHED, &[jobs::CLEAR_POST_CACHE]),
    (POST_UPDATED, &[jobs::CLEAR_POST_CACHE]),
    (POST_DELETED, &[jobs::CLEAR_POST_CACHE]),
];

const POST_PUBLISHED: &str = "post.published";
const POST_UPDATED: &str = "post.updated";
const POST_DELETED: &str = "post.deleted";

/// The version of every payload below. A payload that changes its meaning gets another version, and its readers read
/// both for as long as jobs of the older one may wait.
const VERSION: i64 = 1;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A post became public.
    PostPublished(PostChanged),
    /// A post that is or was public was changed.
    PostUpdated(PostChanged),
    /// A public post was taken away.
    PostDeleted(PostChanged),
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

/// What made something happen, for finding it again in the logs.
#[derive(Clone, Debug, Default)]
pub struct Cause(Option<String>);

impl Cause {
    /// A request.
    pub fn request(id: &str) -> Self {
        Self(Some(id.to_owned()))
    }

    /// The request whose extensions these are.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The time, or something else without a name.
    pub fn none() -> Self {
        Self(None)
    }
}

impl Event {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PostPublished(_) => POST_PUBLISHED,
            Self::PostUpdated(_) => POST_UPDATED,
            Self::PostDeleted(_) => POST_DELETED,
        }
    }

    /// What its listeners are told, as JSON.
    fn payload(&self) -> String {
        let mut value = match self {
            Self::PostPublished(post) | Self::PostUpdated(post) | Self::PostDeleted(post) => json!(post),
        };
        value["event"] = self.name().into();
        value.to_string()
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
    let (id, payload) = (new_id(now), event.payload());
    let insert = Query::insert()
        .into_table("events")
        .columns(["id", "name", "version", "payload", "request_id", "occurred_at"])
        .values_panic([
            id.as_str().into(),
            event.name().into(),
            VERSION.into(),
            payload.as_str().into(),
            cause.0.clone().into(),
            now.0.into(),
        ])
        .take();
    writer.execute(&insert).await?;
    let listeners =
        LISTENERS.iter().find(|(name, _)| *name == event.name()).map_or(&[][..], |(_, kinds)| kinds);
    let job = |kind: &&'static Kind| New {
        kind,
        event: Some(id.clone()),
        key: None,
        payload: payload.clone(),
        run_at: now,
    };
    let jobs: Vec<New> = listeners.iter().map(job).collect();
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
    }
}
