//! Decides which request ids are believed and makes new ones: one id from the edge to the last log line.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

/// The longest id that is taken over from a client, in bytes.
pub const MAX_LEN: usize = 128;

/// Whether an id from outside may be carried on: 1 to 128 of `A–Z a–z 0–9 -`.
///
/// Anything else is replaced, because the id ends in logs and in other systems' headers.
pub fn is_acceptable(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= MAX_LEN && id.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// A new id: 32 hexadecimal digits. Unique, not secret.
pub fn generate() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = String::with_capacity(32);
    for half in [random(), random()] {
        // Digit by digit: this runs once per request, and formatting machinery costs five times as much.
        for byte in half.to_be_bytes() {
            id.push(char::from(DIGITS[usize::from(byte >> 4)]));
            id.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    id
}

/// A random number that is good enough for ids, ties and jitter, and never for secrets.
///
/// SplitMix64 per thread, seeded by the standard library's per-process randomness.
pub fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mut mixed = next;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_ids_are_believed() {
        for (id, expected) in [
            ("a", true),
            ("0af7651916cd43dd-8448eb211c80319c", true),
            ("", false),
            ("with space", false),
            ("line\nbreak", false),
            ("quote\"", false),
        ] {
            assert_eq!(is_acceptable(id.as_bytes()), expected, "{id:?}");
        }
        assert!(is_acceptable(&[b'a'; MAX_LEN]));
        assert!(!is_acceptable(&[b'a'; MAX_LEN + 1]));
    }

    #[test]
    fn generated_ids_are_acceptable_and_differ() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| generate()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| is_acceptable(id.as_bytes())));
    }
}
