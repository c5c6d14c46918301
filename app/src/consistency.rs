//! Decides what a client must see of its own writes: a token says so that a write answered with, or else what is remembered.
//!
//! A write answers with [`HEADER`]. A read that brings it back is answered by a server that has that write. Whoever does
//! not bring it, but signs in with an API token, is remembered by that, on the node that took the write. A token is not a
//! secret and gives nobody anything: one that is forged, too old or of another site is as good as none.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use moka::sync::Cache;

use crate::db::{Need, Position};
use crate::moment::Moment;
use crate::signing::{Key, SIGNATURE};

/// Where a token is found, in answers and in requests.
pub const HEADER: HeaderName = HeaderName::from_static("x-consistency-token");

/// The most callers that are remembered at once; above it those who asked least lately are forgotten.
const MOST: u64 = 65_536;
const VERSION: u8 = 1;
/// Version, timeline, place and end, in bytes.
const SIGNED: usize = 1 + 4 + 8 + 8;

/// What callers have written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Consistency {
    key: Key,
    lifetime: Duration,
    remembered: Cache<u64, Position>,
}

/// Why a token was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// Not something we would have made.
    Malformed,
    /// Changed, or made with another key.
    Forged,
    /// Too old: every replica has what it speaks of.
    Expired,
}

/// Writes a token for a caller who must see what is there at `position`, until `end`.
pub fn encode(key: &Key, position: Position, end: Moment) -> String {
    let mut bytes = Vec::with_capacity(SIGNED + SIGNATURE);
    bytes.push(VERSION);
    bytes.extend(position.timeline().to_be_bytes());
    bytes.extend(position.lsn().to_be_bytes());
    bytes.extend(end.0.to_be_bytes());
    let signature = key.sign(&[&bytes]);
    bytes.extend(signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token.
///
/// # Errors
///
/// [`BadToken`]; nothing of a token is believed before its signature is right.
pub fn decode(key: &Key, token: &str, now: Moment) -> Result<Position, BadToken> {
    // The decoder is given no more than a token can have.
    let token =
        Some(token).filter(|token| token.len() < 2 * (SIGNED + SIGNATURE)).ok_or(BadToken::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken::Malformed)?;
    let (signed, signature) = bytes.split_at_checked(SIGNED).ok_or(BadToken::Malformed)?;
    if signed[0] != VERSION || signature.len() != SIGNATURE {
        return Err(BadToken::Malformed);
    }
    if !key.has_signed(&[signed], signature) {
        return Err(BadToken::Forged);
    }
    let malformed = |_| BadToken::Malformed;
    let timeline = u32::from_be_bytes(signed[1..5].try_into().map_err(malformed)?);
    let lsn = u64::from_be_bytes(signed[5..13].try_into().map_err(malformed)?);
    let end = i64::from_be_bytes(signed[13..].try_into().map_err(malformed)?);
    if end <= now.0 {
        return Err(BadToken::Expired);
    }
    Ok(Position::new(timeline, lsn))
}

impl Consistency {
    /// Tokens are signed with a key derived from `key`, and good for `lifetime`, as is what is remembered.
    pub fn new(key: &Key, lifetime: Duration) -> Self {
        let remembered = Cache::builder().max_capacity(MOST).time_to_live(lifetime).build();
        Self { key: key.derived("consistency token"), lifetime, remembered }
    }

    /// What a read with this head must see: the furthest of what its tokens say and what is remembered.
    pub fn need(&self, head: &HeaderMap, now: Moment) -> Need {
        let token = head.get(&HEADER).and_then(|token| token.to_str().ok());
        let told = token.and_then(|token| decode(&self.key, token, now).ok());
        let remembered = caller(head).and_then(|caller| self.remembered.get(&caller));
        let places = told.into_iter().chain(remembered).map(Need::At);
        places.fold(Need::Any, Need::and)
    }

    /// The caller with this head has written something that is there from `position` on; the header to answer with.
    pub fn note(&self, caller: Option<u64>, position: Position, now: Moment) -> Option<HeaderValue> {
        if let Some(caller) = caller {
            let before = self.remembered.get(&caller).unwrap_or(Position::START);
            self.remembered.insert(caller, before.furthest(position));
        }
        let end = now.0.saturating_add(i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX));
        HeaderValue::from_str(&encode(&self.key, position, Moment(end))).ok()
    }
}

/// Stands for the API token of a request; `None` without one. Two that are taken for one only see more than they must.
pub fn caller(head: &HeaderMap) -> Option<u64> {
    let credentials = head.get(header::AUTHORIZATION)?;
    let mut hash = DefaultHasher::new();
    credentials.as_bytes().hash(&mut hash);
    Some(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        Key::new(b"a secret of this test")
    }

    proptest! {
        #[test]
        fn a_place_survives_the_round_trip(timeline: u32, lsn: u64, end in 8_i64..i64::MAX) {
            let position = Position::new(timeline, lsn);
            prop_assert_eq!(decode(&key(), &encode(&key(), position, Moment(end)), Moment(7)), Ok(position));
        }

        #[test]
        fn no_changed_token_is_believed(byte in 0..SIGNED + SIGNATURE, bit in 0_u8..8) {
            let token = encode(&key(), Position::new(1, 77), Moment(1 << 40));
            let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
            bytes[byte] ^= 1 << bit;
            prop_assert!(decode(&key(), &URL_SAFE_NO_PAD.encode(bytes), Moment(7)).is_err());
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in "[A-Za-z0-9_-]{0,80}|.{0,200}") {
            prop_assert!(decode(&key(), &text, Moment(7)).is_err());
        }
    }

    #[test]
    fn a_token_that_is_forged_old_or_foreign_is_as_good_as_none() {
        let now = Moment(1_000_000);
        let consistency = Consistency::new(&key(), Duration::from_secs(30));
        let place = Position::new(3, 500);
        let good = consistency.note(None, place, now).unwrap();
        let need = |token: &HeaderValue, now| {
            consistency.need(&HeaderMap::from_iter([(HEADER, token.clone())]), now)
        };
        assert_eq!(need(&good, now), Need::At(place));
        assert_eq!(need(&good, Moment(now.0 + 29_999)), Need::At(place));
        assert_eq!(need(&good, Moment(now.0 + 30_000)), Need::Any);
        let foreign = Consistency::new(&Key::new(b"another site"), Duration::from_secs(30));
        assert_eq!(need(&foreign.note(None, place, now).unwrap(), now), Need::Any);
        // A cursor's key signs the same bytes to no avail.
        let crossed = encode(&key(), place, Moment(i64::MAX));
        assert_eq!(need(&HeaderValue::from_str(&crossed).unwrap(), now), Need::Any);
        assert_eq!(need(&HeaderValue::from_bytes(b"\xff").unwrap(), now), Need::Any);
    }

    #[test]
    fn who_does_not_bring_its_token_back_is_known_by_its_credentials() {
        let consistency = Consistency::new(&key(), Duration::from_secs(30));
        let head = |who: &'static str| {
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(who))])
        };
        let (ada, bruno) = (head("Bearer ada"), head("Bearer bruno"));
        let (near, far) = (Position::new(1, 50), Position::new(1, 60));
        consistency.note(caller(&ada), far, Moment(1));
        consistency.note(caller(&ada), near, Moment(1));
        assert_eq!(consistency.need(&ada, Moment(2)), Need::At(far));
        assert_eq!(consistency.need(&bruno, Moment(2)), Need::Any);
        assert_eq!(consistency.need(&HeaderMap::new(), Moment(2)), Need::Any);
        // A token of another timeline and what is remembered of this one: only the primary has both.
        let mut both = ada.clone();
        both.insert(HEADER, consistency.note(None, Position::new(2, 1), Moment(1)).unwrap());
        assert_eq!(consistency.need(&both, Moment(2)), Need::All);
    }
}
