//! Decides how an answer is written where other nodes read it: a line that says what it is, and its bytes.

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::known::Known;
use crate::changes::Tag;
use crate::moment::Moment;

/// What of an answer is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) body: Bytes,
    pub(super) media_type: HeaderValue,
    pub(super) etag: HeaderValue,
    pub(super) made_at: Moment,
    pub(super) tags: Vec<Tag>,
    /// Up to where changes were known before it was made, and that it was read there or later.
    pub(super) known: Known,
}

#[derive(Serialize, Deserialize)]
struct Line {
    number: i64,
    position: String,
    made_at: i64,
    media_type: String,
    etag: String,
    tags: Vec<String>,
}

impl Kept {
    /// The line and the body.
    pub(super) fn written(&self) -> Vec<u8> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let line = Line {
            number: self.known.number,
            position: self.known.position.to_string(),
            made_at: self.made_at.0,
            media_type: text(&self.media_type),
            etag: text(&self.etag),
            tags: self.tags.iter().map(ToString::to_string).collect(),
        };
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.reserve(self.body.len() + 1);
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// `None` for what another version wrote, or something else altogether.
    pub(super) fn read(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line: Line = serde_json::from_slice(&bytes[..end]).ok()?;
        Some(Self {
            body: bytes.slice(end + 1..),
            media_type: HeaderValue::from_str(&line.media_type).ok()?,
            etag: HeaderValue::from_str(&line.etag).ok()?,
            made_at: Moment(line.made_at),
            tags: line.tags.iter().map(|tag| Tag::parse(tag)).collect::<Option<_>>()?,
            known: Known { number: line.number, position: line.position.parse().ok()? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag() -> impl Strategy<Value = Tag> {
        prop_oneof![
            Just(Tag::Posts),
            any::<i64>().prop_map(Tag::Post),
            any::<i64>().prop_map(Tag::Category),
            any::<i64>().prop_map(Tag::Author),
            any::<i64>().prop_map(Tag::Tag),
            Just(Tag::ViewOrder),
            Just(Tag::Categories),
            Just(Tag::Tags),
            Just(Tag::Authors),
            Just(Tag::Sitemap),
            any::<i64>().prop_map(Tag::SitemapPart),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(
            body: Vec<u8>, number: i64, place: (u32, u64), at: i64, tags in proptest::collection::vec(tag(), 0..9),
        ) {
            let kept = Kept {
                body: body.into(),
                media_type: HeaderValue::from_static("application/json"),
                etag: HeaderValue::from_static("\"7.abc\""),
                made_at: Moment(at),
                tags,
                known: Known { number, position: crate::db::Position::new(place.0, place.1) },
            };
            prop_assert_eq!(Kept::read(&kept.written().into()), Some(kept));
        }

        #[test]
        fn something_else_is_not_an_answer(bytes: Vec<u8>) {
            prop_assert_eq!(Kept::read(&bytes.into()), None);
        }
    }
}
