//! Decides what a link in a mail is worth: one thing, for one subscriber, for some time; nothing of it is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::moment::Moment;
use crate::signing::{Key, SIGNATURE};

const SIGNED: usize = 16;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To say that one really asked.
    Confirm,
    /// To end it; good for ever.
    Unsubscribe,
}

impl Purpose {
    fn code(self) -> u8 {
        match self {
            Self::Confirm => 1,
            Self::Unsubscribe => 2,
        }
    }
}

/// Writes a link's token for `subscriber`.
pub fn make(key: &Key, purpose: Purpose, subscriber: i64, now: Moment) -> String {
    let mut bytes = Vec::with_capacity(SIGNED + SIGNATURE);
    bytes.extend(subscriber.to_be_bytes());
    bytes.extend(now.0.to_be_bytes());
    let signature = key.sign(&[&[purpose.code()], &bytes]);
    bytes.extend(signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whom a token for `purpose` is about, and when it was made; `None` for what was not made by us for this.
pub fn read(key: &Key, purpose: Purpose, token: &str) -> Option<(i64, Moment)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (signed, signature) = bytes.split_at_checked(SIGNED)?;
    if !key.has_signed(&[&[purpose.code()], signed], signature) {
        return None;
    }
    let (subscriber, at) = signed.split_at(8);
    Some((i64::from_be_bytes(subscriber.try_into().ok()?), Moment(i64::from_be_bytes(at.try_into().ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_thing_and_as_it_was_made() {
        let (key, now) = (Key::new(b"a secret"), Moment(7));
        let token = make(&key, Purpose::Confirm, 42, now);
        assert_eq!(read(&key, Purpose::Confirm, &token), Some((42, now)));
        assert_eq!(read(&key, Purpose::Unsubscribe, &token), None);
        assert_eq!(read(&Key::new(b"another"), Purpose::Confirm, &token), None);
        for bad in ["", "x", "!!", &token[1..], &format!("{token}AAAA")] {
            assert_eq!(read(&key, Purpose::Confirm, bad), None, "{bad}");
        }
        let flipped = format!("B{}", &token[1..]);
        assert_eq!(read(&key, Purpose::Confirm, &flipped), None);
    }
}
