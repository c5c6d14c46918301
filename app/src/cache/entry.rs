//! Decides what is kept of an answer, and how it is served: the bytes and the head are ready, only the age is new.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::Caller;
pub(super) use super::kept::Kept;
use super::known::Known;
use crate::answer;
use crate::changes::Tag;
use crate::moment::Moment;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const X_CACHE_TTL: HeaderName = HeaderName::from_static("x-cache-ttl");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Not to be kept by anyone between; the client may keep it and asks again each time.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// An answer as a handler makes it.
#[derive(Clone, Debug)]
pub struct Made {
    body: Bytes,
    media_type: HeaderValue,
    tags: BTreeSet<Tag>,
    version: Option<String>,
}

impl Made {
    /// `value` as JSON, made from what has these tags.
    pub fn json(value: &impl Serialize, tags: BTreeSet<Tag>) -> Self {
        Self::of(answer::bytes(value), answer::JSON, tags)
    }

    /// `body` as it is, made from what has these tags.
    pub fn of(body: Bytes, media_type: HeaderValue, tags: BTreeSet<Tag>) -> Self {
        Self { body, media_type, tags, version: None }
    }

    /// The same, as this version of something that `If-Match` may name.
    #[must_use]
    pub fn of_version(self, version: String) -> Self {
        Self { version: Some(version), ..self }
    }

    fn etag(&self) -> HeaderValue {
        answer::etag(&self.body, self.version.as_deref())
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// From memory.
    Hit,
    /// Made for this request, or for one that waited beside it.
    Miss,
    /// From memory, although it should have been made anew.
    Stale,
}

/// An answer that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    kept: Kept,
    head: HeaderMap,
    fresh: Duration,
    /// Where it came from, when this node first had it.
    pub(super) origin: Served,
    /// The number up to which its tags were compared; written by [`super::watch`] only.
    pub(super) compared: AtomicI64,
}

impl Entry {
    /// What was made at `made_at` from a database that had come as far as `known`, at least.
    pub(super) fn new(
        made: Made,
        made_at: Moment,
        known: Known,
        fresh: Duration,
        client_max_age: Duration,
    ) -> Self {
        let etag = made.etag();
        let Made { body, media_type, tags, .. } = made;
        let kept = Kept { body, media_type, etag, made_at, tags: tags.into_iter().collect(), known };
        Self::of(kept, Served::Miss, fresh, client_max_age)
    }

    /// What another node made.
    pub(super) fn of(kept: Kept, origin: Served, fresh: Duration, client_max_age: Duration) -> Self {
        let mut head = HeaderMap::with_capacity(12);
        head.insert(header::CONTENT_TYPE, kept.media_type.clone());
        head.insert(header::ETAG, kept.etag.clone());
        head.insert(header::CACHE_CONTROL, public(client_max_age));
        let tags: Vec<String> = kept.tags.iter().map(ToString::to_string).collect();
        if let Ok(keys) = HeaderValue::from_str(&tags.join(" ")) {
            head.insert(SURROGATE_KEY, keys);
        }
        let compared = AtomicI64::new(kept.known.number);
        Self { kept, head, fresh, origin, compared }
    }

    /// What of it other nodes may keep.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn made_at(&self) -> Moment {
        self.kept.made_at
    }

    /// Up to where changes were known before it was made.
    pub(super) fn known(&self) -> Known {
        self.kept.known
    }

    pub(super) fn tags(&self) -> &[Tag] {
        &self.kept.tags
    }

    /// Bytes of memory it takes, roughly.
    pub(super) fn weight(&self) -> usize {
        let head: usize = self.head.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        self.kept.body.len() + head + self.kept.tags.len() * size_of::<Tag>() + 256
    }

    pub(super) fn response(&self, served: Served, now: Moment, caller: &Caller) -> Response {
        let age = now.since(self.kept.made_at).as_secs();
        let left = self.fresh.as_secs().saturating_sub(age);
        let (word, left) = match served {
            Served::Hit => (HeaderValue::from_static("HIT"), left),
            Served::Miss => (HeaderValue::from_static("MISS"), left),
            Served::Stale => (HeaderValue::from_static("STALE"), 0),
        };
        let mut head = self.head.clone();
        head.insert(X_CACHE, word);
        head.insert(X_CACHE_TTL, left.into());
        head.insert(header::AGE, age.into());
        assembled(head, &self.kept.etag, &self.kept.body, caller)
    }

    pub(super) fn compared(&self) -> i64 {
        self.compared.load(Ordering::Acquire)
    }
}

/// An answer for one reader alone.
pub(super) fn private(made: Made, caller: &Caller) -> Response {
    let etag = made.etag();
    let mut head = HeaderMap::with_capacity(8);
    head.insert(header::CONTENT_TYPE, made.media_type);
    head.insert(header::ETAG, etag.clone());
    head.insert(header::CACHE_CONTROL, PRIVATE);
    head.insert(X_CACHE, HeaderValue::from_static("MISS"));
    head.insert(X_CACHE_TTL, HeaderValue::from_static("0"));
    assembled(head, &etag, &made.body, caller)
}

/// The body, or 304 for those who have it.
fn assembled(mut head: HeaderMap, etag: &HeaderValue, body: &Bytes, caller: &Caller) -> Response {
    let is_known = caller.has(etag);
    let mut response = if is_known {
        head.remove(header::CONTENT_TYPE);
        Response::new(Body::empty())
    } else {
        Response::new(Body::from(body.clone()))
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    *response.headers_mut() = head;
    response
}

/// How long browsers and caches between may keep it without asking; we cannot tell them of a change.
fn public(max_age: Duration) -> HeaderValue {
    let seconds = max_age.as_secs();
    if seconds == 0 {
        return HeaderValue::from_static("public, no-cache");
    }
    HeaderValue::from_str(&format!("public, max-age={seconds}")).unwrap_or(PRIVATE)
}
