//! Decides what "as far as" means between servers: a place in the log of changes, comparable on one timeline only.

use std::fmt;
use std::str::FromStr;

/// How far a database had come when it was asked. In PostgreSQL a place in its write-ahead log (an LSN) on a timeline,
/// which is another one after each promotion; where one server is all there is, always [`Position::START`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    timeline: u32,
    lsn: u64,
}

impl Position {
    /// Before every change: every server has come so far.
    pub const START: Self = Self { timeline: 0, lsn: 0 };

    /// The place `lsn` (bytes from the beginning of the log) on `timeline`, which is 1 for a server's first.
    pub const fn new(timeline: u32, lsn: u64) -> Self {
        Self { timeline, lsn }
    }

    /// Which timeline it is on; 0 for [`Position::START`] alone.
    pub const fn timeline(self) -> u32 {
        self.timeline
    }

    /// Bytes from the beginning of the log.
    pub const fn lsn(self) -> u64 {
        self.lsn
    }

    /// Whether a server that has come so far surely has what was there at `other`. Places on different timelines say
    /// nothing about each other: what was written last before a promotion may have been lost by it.
    pub const fn includes(self, other: Self) -> bool {
        other.timeline == 0 || (self.timeline == other.timeline && self.lsn >= other.lsn)
    }

    /// The one of both that is further: a later timeline wins over any place.
    #[must_use]
    pub fn furthest(self, other: Self) -> Self {
        if (other.timeline, other.lsn) > (self.timeline, self.lsn) { other } else { self }
    }

    /// The bytes that a server at this place lacks of `ahead`; 0 when it lacks none, `None` across timelines.
    pub fn behind(self, ahead: Self) -> Option<u64> {
        (self.timeline == ahead.timeline).then(|| ahead.lsn.saturating_sub(self.lsn))
    }
}

/// As PostgreSQL writes an LSN, with the timeline before it: `2:0/16B3748`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:X}/{:X}", self.timeline, self.lsn >> 32, self.lsn & 0xffff_ffff)
    }
}

/// Not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a position like 2:0/16B3748")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (timeline, lsn) = text.split_once(':').ok_or(NoPosition)?;
        let (high, low) = lsn.split_once('/').ok_or(NoPosition)?;
        let half = |text: &str| u32::from_str_radix(text, 16).map(u64::from).map_err(|_| NoPosition);
        let lsn = half(high)? << 32 | half(low)?;
        Ok(Self { timeline: timeline.parse().map_err(|_| NoPosition)?, lsn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_place_includes_those_before_it_on_its_own_timeline() {
        let at = Position::new;
        for (here, there, expected) in [
            (at(1, 100), at(1, 99), true),
            (at(1, 100), at(1, 100), true),
            (at(1, 100), at(1, 101), false),
            // What was acknowledged last before a promotion may not be on the new timeline.
            (at(2, 500), at(1, 100), false),
            (at(1, 500), at(2, 100), false),
            (at(1, 0), Position::START, true),
            (Position::START, Position::START, true),
            (Position::START, at(1, 0), false),
        ] {
            assert_eq!(here.includes(there), expected, "{here} {there}");
        }
        assert_eq!(at(1, 60).behind(at(1, 100)), Some(40));
        assert_eq!(at(1, 110).behind(at(1, 100)), Some(0));
        assert_eq!(at(1, 60).behind(at(2, 100)), None);
        assert_eq!(at(1, 500).furthest(at(2, 100)), at(2, 100));
    }

    proptest! {
        #[test]
        fn a_position_survives_being_written(timeline: u32, lsn: u64) {
            let position = Position::new(timeline, lsn);
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}") {
            let _ = text.parse::<Position>();
        }
    }
}
