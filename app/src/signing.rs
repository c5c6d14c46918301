//! Decides how what clients bring back is signed: HMAC-SHA256, of which sixteen bytes are kept, under a key per purpose.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a signature: guessing one of so many takes 2^127 tries on average (RFC 2104 section 5 asks for half of the
/// hash at least).
pub const SIGNATURE: usize = 16;

/// Signs; shared by all nodes of a database. Never printed.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// A key from a secret that the database keeps.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// Another key for `purpose`, which nobody can tell from this one: what one signed is worth nothing to the other.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> Self {
        Self::new(&self.0.clone().chain_update(purpose).finalize().into_bytes())
    }

    /// The signature of `parts`, one after the other. They must not be able to run into each other.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; SIGNATURE] {
        let whole = self.over(parts).finalize().into_bytes();
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(&whole[..SIGNATURE]);
        signature
    }

    /// Whether this key made `signature` of `parts`; compares in constant time.
    pub fn has_signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        signature.len() == SIGNATURE && self.over(parts).verify_truncated_left(signature).is_ok()
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        parts.iter().fold(self.0.clone(), |mac, part| mac.chain_update(part))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key_its_purpose_and_its_bytes() {
        let key = Key::new(b"a secret");
        let signature = key.sign(&[b"ab", b"c"]);
        assert!(key.has_signed(&[b"abc"], &signature));
        assert!(!key.has_signed(&[b"abd"], &signature));
        assert!(!Key::new(b"another").has_signed(&[b"abc"], &signature));
        assert!(!key.derived("mail").has_signed(&[b"abc"], &signature));
        assert!(key.derived("mail").has_signed(&[b"abc"], &key.derived("mail").sign(&[b"abc"])));
        for short in [&signature[..15], &[]] {
            assert!(!key.has_signed(&[b"abc"], short));
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", Key::new(b"a secret")), "Key(***)");
    }
}
