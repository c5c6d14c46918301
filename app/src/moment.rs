//! Decides how a moment is kept and shown: milliseconds since 1970 UTC inside, ISO 8601 with offset outside.

use std::fmt;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// A moment, in whole milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Self(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A moment outside the calendar's 9999 years is shown as its beginning.
        let at = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00", u8::from(month))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_its_offset() {
        assert_eq!(Moment(1_762_337_106_999).to_string(), "2025-11-05T10:05:06+00:00");
        assert_eq!(Moment(-1).to_string(), "1969-12-31T23:59:59+00:00");
        assert_eq!(Moment(i64::MAX).to_string(), "1970-01-01T00:00:00+00:00");
    }
}
