//! Decides how a trace goes on through this process (W3C Trace Context): passed on when somebody began one, else begun.
//!
//! The trace keeps its id, and gets a parent of our own, so that what is recorded behind us hangs together.

use std::fmt;

use crate::request_id::random;

/// The length of a `traceparent` of version 00.
const LEN: usize = 55;

/// What whoever is asked next is told: `00-<trace id>-<parent id>-<flags>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    text: [u8; LEN],
    /// Whose child our part is, in hexadecimal digits; zeroes where we began.
    above: [u8; 16],
    /// Whether somebody else's trace goes on, and with it its `tracestate`.
    pub is_continued: bool,
    /// Whether this process records its part.
    pub is_recorded: bool,
}

/// The sixteen bytes that a trace goes by.
pub type TraceId = [u8; 16];

/// The eight bytes that a part of a trace goes by.
pub type SpanId = [u8; 8];

impl Trace {
    /// The trace of a request with this `traceparent`, if it has one and only one.
    pub fn of(given: Option<&[u8]>) -> Self {
        given.and_then(Self::continued).unwrap_or_else(Self::begun)
    }

    /// The field's value.
    pub fn parent(&self) -> &str {
        // Made of ASCII only.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The id that the whole trace has.
    pub fn id(&self) -> &str {
        &self.parent()[3..35]
    }

    /// The id that the whole trace has, as bytes.
    pub fn trace_id(&self) -> TraceId {
        bytes(&self.text[3..35])
    }

    /// The id of our part, which is the parent of what comes after it.
    pub fn span_id(&self) -> SpanId {
        bytes(&self.text[36..52])
    }

    /// The part that ours is a child of; `None` where the trace begins with us.
    pub fn above(&self) -> Option<SpanId> {
        (self.above != [0; 16]).then(|| bytes(&self.above))
    }

    /// The same trace, one part deeper.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut child = *self;
        child.above.copy_from_slice(&self.text[36..52]);
        hex(random() | 1, &mut child.text[36..52]);
        child
    }

    /// The same trace, recorded here or not; those behind us are told.
    #[must_use]
    pub(super) fn recorded(mut self, is_recorded: bool) -> Self {
        self.is_recorded = is_recorded;
        // Of the flags one is known (§3.2.2.5); the others are not to be passed on.
        self.text[53..].copy_from_slice(if is_recorded { b"01" } else { b"00" });
        self
    }

    /// A new trace. It is marked as sampled: whoever records decides by itself, and would skip it otherwise.
    fn begun() -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        hex(random(), &mut text[3..19]);
        // All zeroes is no id.
        hex(random() | 1, &mut text[19..35]);
        hex(random() | 1, &mut text[36..52]);
        Self { text, above: [0; 16], is_continued: false, is_recorded: false }
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
        let mut above = [0; 16];
        above.copy_from_slice(parent);
        Some(Self { text, above, is_continued: true, is_recorded: false })
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.parent())
    }
}

/// What pairs of digits say. Only digits come here.
fn bytes<const N: usize>(digits: &[u8]) -> [u8; N] {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0]).unwrap_or_default() << 4 | value(pair[1]).unwrap_or_default();
    }
    bytes
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
    fn a_part_knows_the_part_above_it() {
        let ours = Trace::of(Some(GIVEN.as_bytes()));
        assert_eq!(ours.trace_id()[..3], [0x4b, 0xf9, 0x2f]);
        assert_eq!(ours.above(), Some([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
        let child = ours.child();
        assert_eq!((child.trace_id(), child.above()), (ours.trace_id(), Some(ours.span_id())));
        assert_ne!(child.span_id(), ours.span_id());
        assert_eq!(Trace::of(Some(child.parent().as_bytes())).above(), Some(child.span_id()));
        assert_eq!(Trace::of(None).above(), None);
    }

    #[test]
    fn those_behind_us_are_told_whether_we_record() {
        let trace = Trace::of(Some(GIVEN.as_bytes()));
        assert!(trace.recorded(true).parent().ends_with("-01"));
        assert!(trace.recorded(true).recorded(false).parent().ends_with("-00"));
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
