//! Decides what a cursor is: a signed place in one particular list, opaque to the client.
//!
//! Layout, before base64url: version, sort, direction, way (1 byte each), filters (8), edition (4), id (8), what is
//! sorted by (one byte for its kind, then a number of 8 bytes or a text), signature (16). A cursor is only good for
//! the list it was made for: same sort, direction and filters. Page size, fields and includes may change from page
//! to page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Direction;
use crate::signing::{Key, SIGNATURE};

/// The longest cursor that is looked at, in characters: that of a text of 255 letters fits.
pub const MAX_LEN: usize = 1536;

const VERSION: u8 = 2;
/// What stands before the value that is sorted by.
const HEAD: usize = 24;

/// The list that a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// What is sorted by; each sort of a list has its own number.
    pub sort: u8,
    /// Which end comes first.
    pub direction: Direction,
    /// Which filters apply.
    pub filters: FilterHash,
}

/// Stands for a set of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterHash([u8; 8]);

impl FilterHash {
    /// Of filters given as name and value, in an order that never changes.
    pub fn of<'a>(filters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = Sha256::new();
        for (name, value) in filters {
            for part in [name, value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part.as_bytes());
            }
        }
        let digest = hash.finalize();
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        Self(short)
    }
}

/// Which rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Those behind the place.
    After,
    /// Those before it.
    Before,
}

/// The value that a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A number or a moment.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<Rank> for sea_query::Value {
    fn from(rank: Rank) -> Self {
        match rank {
            Rank::Number(number) => number.into(),
            Rank::Text(text) => text.into(),
        }
    }
}

/// A place in a list, between rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which rows are wanted.
    pub way: Way,
    /// The value that is sorted by.
    pub rank: Rank,
    /// Decides between rows of the same value.
    pub id: i64,
    /// Which edition of the order it is a place in; 0 where the order has only one.
    pub edition: u32,
}

/// Why a cursor was refused. Each is one 400 for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCursor {
    /// Longer than [`MAX_LEN`].
    #[error("the cursor is too long")]
    TooLong,
    /// Not something we would have made.
    #[error("the cursor is damaged")]
    Malformed,
    /// Of another layout.
    #[error("the cursor is from another version of this API")]
    OtherVersion,
    /// Changed, or made with another key.
    #[error("the cursor was not made by this site")]
    Forged,
    /// Made for another `sort` or `direction`.
    #[error("the cursor belongs to another sort or direction")]
    OtherOrder,
    /// Made for an order that is not kept any more.
    #[error("the cursor is from an order of this list that is not kept any more")]
    Outdated,
    /// Made for other filters.
    #[error("the cursor belongs to other filters")]
    OtherFilters,
}

/// Writes `place` in `scan` as a token.
pub fn encode(key: &Key, scan: &Scan, place: &Place) -> String {
    let mut bytes = Vec::with_capacity(HEAD + 9 + SIGNATURE);
    let way = match place.way {
        Way::After => 0,
        Way::Before => 1,
    };
    bytes.extend([VERSION, scan.sort, direction_code(scan.direction), way]);
    bytes.extend(scan.filters.0);
    bytes.extend(place.edition.to_be_bytes());
    bytes.extend(place.id.to_be_bytes());
    match &place.rank {
        Rank::Number(number) => {
            bytes.push(0);
            bytes.extend(number.to_be_bytes());
        }
        Rank::Text(text) => {
            bytes.push(1);
            bytes.extend(text.as_bytes());
        }
    }
    let signature = key.sign(&[&bytes]);
    bytes.extend(signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads the place from a token made for `scan`.
///
/// # Errors
///
/// [`BadCursor`]; nothing of a token is believed before its signature is right.
pub fn decode(key: &Key, scan: &Scan, token: &str) -> Result<Place, BadCursor> {
    if token.len() > MAX_LEN {
        return Err(BadCursor::TooLong);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadCursor::Malformed)?;
    match bytes.first() {
        None => return Err(BadCursor::Malformed),
        Some(&version) if version != VERSION => return Err(BadCursor::OtherVersion),
        Some(_) => {}
    }
    let signed =
        bytes.len().checked_sub(SIGNATURE).filter(|signed| *signed > HEAD).ok_or(BadCursor::Malformed)?;
    let (signed, signature) = bytes.split_at(signed);
    if !key.has_signed(&[signed], signature) {
        return Err(BadCursor::Forged);
    }
    if signed[1] != scan.sort || signed[2] != direction_code(scan.direction) {
        return Err(BadCursor::OtherOrder);
    }
    if signed[4..12] != scan.filters.0 {
        return Err(BadCursor::OtherFilters);
    }
    let way = if signed[3] == 0 { Way::After } else { Way::Before };
    let edition = u32::from_be_bytes(signed[12..16].try_into().expect("four bytes"));
    let id = number(&signed[16..HEAD]).ok_or(BadCursor::Malformed)?;
    let rank = rank(signed[HEAD], &signed[HEAD + 1..]).ok_or(BadCursor::Malformed)?;
    Ok(Place { way, rank, id, edition })
}

fn rank(kind: u8, bytes: &[u8]) -> Option<Rank> {
    match kind {
        0 => number(bytes).map(Rank::Number),
        _ => String::from_utf8(bytes.to_vec()).ok().map(Rank::Text),
    }
}

fn direction_code(direction: Direction) -> u8 {
    match direction {
        Direction::Ascending => 0,
        Direction::Descending => 1,
    }
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan() -> Scan {
        Scan { sort: 2, direction: Direction::Descending, filters: FilterHash::of([("search", "tower")]) }
    }

    fn key() -> Key {
        Key::new(b"a secret of this test")
    }

    fn place() -> Place {
        Place { way: Way::Before, rank: Rank::Number(1_700_000_000_000), id: 42, edition: 7 }
    }

    proptest! {
        #[test]
        fn a_place_survives_the_round_trip(
            number: i64, text in ".{0,255}", is_text: bool, id: i64, edition: u32, before: bool,
        ) {
            let way = if before { Way::Before } else { Way::After };
            let rank = if is_text { Rank::Text(text) } else { Rank::Number(number) };
            let place = Place { way, rank, id, edition };
            prop_assert_eq!(decode(&key(), &scan(), &encode(&key(), &scan(), &place)), Ok(place));
        }

        #[test]
        fn no_changed_cursor_is_accepted(byte in 0_usize..49, bit in 0_u8..8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(encode(&key(), &scan(), &place())).unwrap();
            bytes[byte] ^= 1 << bit;
            prop_assert!(decode(&key(), &scan(), &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in "[A-Za-z0-9_-]{0,200}|.{0,600}") {
            prop_assert!(decode(&key(), &scan(), &text).is_err());
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let good = encode(&key(), &scan(), &place());
        let other_version = {
            let mut bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
            bytes[0] = 0;
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let ascending = Scan { direction: Direction::Ascending, ..scan() };
        let by_views = Scan { sort: 1, ..scan() };
        let unfiltered = Scan { filters: FilterHash::of([]), ..scan() };
        for (token, scan, expected) in [
            ("A".repeat(MAX_LEN + 1), scan(), BadCursor::TooLong),
            ("%%%".to_owned(), scan(), BadCursor::Malformed),
            (String::new(), scan(), BadCursor::Malformed),
            (good[..20].to_owned(), scan(), BadCursor::Malformed),
            (other_version, scan(), BadCursor::OtherVersion),
            (encode(&Key::new(b"another"), &scan(), &place()), scan(), BadCursor::Forged),
            (good.clone(), ascending, BadCursor::OtherOrder),
            (good.clone(), by_views, BadCursor::OtherOrder),
            (good, unfiltered, BadCursor::OtherFilters),
        ] {
            assert_eq!(decode(&key(), &scan, &token), Err(expected), "{token}");
        }
    }

    #[test]
    fn filters_do_not_run_into_each_other() {
        assert_ne!(FilterHash::of([("a", "bc")]), FilterHash::of([("ab", "c")]));
        assert_ne!(FilterHash::of([("a", "")]), FilterHash::of([]));
    }
}
