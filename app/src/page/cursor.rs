//! Decides what a cursor is: a signed place in one particular list, opaque to the client.
//!
//! Layout, before base64url: version, sort, direction, way (1 byte each), filters (8), sort key (8), id (8),
//! signature (16). A cursor is only good for the list it was made for: same sort, direction and filters. Page
//! size, fields and includes may change from page to page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::Direction;

/// The longest cursor that is looked at, in characters.
pub const MAX_LEN: usize = 512;

const VERSION: u8 = 1;
const SIGNED: usize = 28;
const SIGNATURE: usize = 16;

/// Signs cursors; shared by all nodes of a database. Never printed.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// A key from the secret that the database keeps.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

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

/// A place in a list, between rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which rows are wanted.
    pub way: Way,
    /// The value that is sorted by.
    pub key: i64,
    /// Decides between rows of the same value.
    pub id: i64,
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
    /// Made for other filters.
    #[error("the cursor belongs to other filters")]
    OtherFilters,
}

/// Writes `place` in `scan` as a token.
pub fn encode(key: &Key, scan: &Scan, place: &Place) -> String {
    let mut bytes = Vec::with_capacity(SIGNED + SIGNATURE);
    let way = match place.way {
        Way::After => 0,
        Way::Before => 1,
    };
    bytes.extend([VERSION, scan.sort, direction_code(scan.direction), way]);
    bytes.extend(scan.filters.0);
    bytes.extend(place.key.to_be_bytes());
    bytes.extend(place.id.to_be_bytes());
    let signature = key.0.clone().chain_update(&bytes).finalize().into_bytes();
    bytes.extend(&signature[..SIGNATURE]);
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
    let (signed, signature) = bytes.split_at_checked(SIGNED).ok_or(BadCursor::Malformed)?;
    if signature.len() != SIGNATURE {
        return Err(BadCursor::Malformed);
    }
    // Compares in constant time.
    key.0.clone().chain_update(signed).verify_truncated_left(signature).map_err(|_| BadCursor::Forged)?;
    if signed[1] != scan.sort || signed[2] != direction_code(scan.direction) {
        return Err(BadCursor::OtherOrder);
    }
    if signed[4..12] != scan.filters.0 {
        return Err(BadCursor::OtherFilters);
    }
    let way = if signed[3] == 0 { Way::After } else { Way::Before };
    Ok(Place { way, key: number(&signed[12..20]), id: number(&signed[20..28]) })
}

fn direction_code(direction: Direction) -> u8 {
    match direction {
        Direction::Ascending => 0,
        Direction::Descending => 1,
    }
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("the caller cuts eight bytes"))
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

    const PLACE: Place = Place { way: Way::Before, key: 1_700_000_000_000, id: 42 };

    proptest! {
        #[test]
        fn a_place_survives_the_round_trip(key_value: i64, id: i64, before: bool) {
            let place = Place { way: if before { Way::Before } else { Way::After }, key: key_value, id };
            prop_assert_eq!(decode(&key(), &scan(), &encode(&key(), &scan(), &place)), Ok(place));
        }

        #[test]
        fn no_changed_cursor_is_accepted(byte in 0_usize..44, bit in 0_u8..8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(encode(&key(), &scan(), &PLACE)).unwrap();
            bytes[byte] ^= 1 << bit;
            prop_assert!(decode(&key(), &scan(), &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in ".{0,600}") {
            prop_assert!(decode(&key(), &scan(), &text).is_err());
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let good = encode(&key(), &scan(), &PLACE);
        let other_version = {
            let mut bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
            bytes[0] = 0;
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let ascending = Scan { direction: Direction::Ascending, ..scan() };
        let by_views = Scan { sort: 1, ..scan() };
        let unfiltered = Scan { filters: FilterHash::of([]), ..scan() };
        for (token, scan, expected) in [
            ("A".repeat(513), scan(), BadCursor::TooLong),
            ("%%%".to_owned(), scan(), BadCursor::Malformed),
            (String::new(), scan(), BadCursor::Malformed),
            (good[..20].to_owned(), scan(), BadCursor::Malformed),
            (other_version, scan(), BadCursor::OtherVersion),
            (encode(&Key::new(b"another"), &scan(), &PLACE), scan(), BadCursor::Forged),
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

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key()), "Key(***)");
    }
}
