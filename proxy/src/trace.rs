//! Decides how a trace goes on through the edge (W3C Trace Context): passed on when a client began one, else begun.
//!
//! The edge takes part without recording: the trace keeps its id and its flags, and gets a parent of the edge's own,
//! so that what backends record hangs together.

use cirque_shared::request_id::random;

/// The length of a `traceparent` of version 00.
const LEN: usize = 55;

/// What backends are told: `00-<trace id>-<parent id>-<flags>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    text: [u8; LEN],
    /// Whether the client's trace goes on, and with it its `tracestate`.
    pub(crate) is_continued: bool,
}

impl Trace {
    /// The trace of a request with this `traceparent`, if it has one and only one.
    pub(crate) fn of(given: Option<&[u8]>) -> Self {
        given.and_then(Self::continued).unwrap_or_else(Self::begun)
    }

    /// The field's value.
    pub(crate) fn parent(&self) -> &str {
        // Made of ASCII only.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The id that the whole trace has.
    pub(crate) fn id(&self) -> &str {
        &self.parent()[3..35]
    }

    /// A new trace. It is marked as sampled: whoever records decides by itself, and would skip it otherwise.
    fn begun() -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        hex(random(), &mut text[3..19]);
        // All zeroes is no id.
        hex(random() | 1, &mut text[19..35]);
        hex(random() | 1, &mut text[36..52]);
        Self { text, is_continued: false }
    }

    /// The client's trace with a parent of ours; `None` when its field is not one that must be believed.
    fn continued(given: &[u8]) -> Option<Self> {
        let lower_hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let head = given.get(..LEN)?;
        let [version, id, parent, flags] = [&head[..2], &head[3..35], &head[36..52], &head[53..55]];
        let dashes = [head[2], head[35], head[52]];
        // Later versions may be longer; what is known of them is read as 00 (§3.2.2.1… "Versioning").
        let is_whole = given.len() == LEN || (version != b"00" && given.get(LEN) == Some(&b'-'));
        let is_good = is_whole
            && dashes == [b'-'; 3]
            && [version, id, parent, flags].into_iter().all(lower_hex)
            && version != b"ff"
            && id.iter().any(|digit| *digit != b'0')
            && parent.iter().any(|digit| *digit != b'0');
        if !is_good {
            return None;
        }
        let mut text = [0; LEN];
        text.copy_from_slice(head);
        text[..2].copy_from_slice(b"00");
        hex(random() | 1, &mut text[36..52]);
        Some(Self { text, is_continued: true })
    }
}

/// Writes 16 digits.
fn hex(number: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn a_trace_keeps_its_id_and_flags_and_gets_a_parent_of_ours() {
        let trace = Trace::of(Some(GIVEN.as_bytes()));
        assert!(trace.is_continued);
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&trace.parent()[..36], &trace.parent()[52..]), (&GIVEN[..36], "-00"));
        assert_ne!(&trace.parent()[36..52], &GIVEN[36..52]);
        let later = format!("cc{}-more", &GIVEN[2..]);
        assert_eq!(&Trace::of(Some(later.as_bytes())).parent()[..36], &GIVEN[..36]);
    }

    #[test]
    fn what_is_no_trace_begins_one() {
        for given in [
            "",
            "x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!Trace::of(Some(given.as_bytes())).is_continued, "{given}");
        }
        let (one, other) = (Trace::of(None), Trace::of(None));
        assert_ne!(one.id(), other.id());
        assert!(Trace::of(Some(one.parent().as_bytes())).is_continued, "what we begin is valid");
        assert!(one.parent().ends_with("-01"));
    }
}
