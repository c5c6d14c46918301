//! Decides how a moment is kept and shown: milliseconds since 1970 UTC inside, ISO 8601 with offset outside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// A moment, in whole milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Self(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
    }

    /// Reads ISO 8601 with an offset, or a date, which begins at midnight UTC. The years 0 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
            let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
            Some(date.midnight().assume_utc())
        })?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }

    /// So much later.
    #[must_use]
    pub fn after(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Moment {
    /// The day, like `05 Nov 2025`.
    pub fn day(self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let at = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = at.to_calendar_date();
        format!("{day:02} {} {year:04}", MONTHS[usize::from(u8::from(month)) - 1])
    }

    /// The time from `earlier` to this moment; none if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// What a node takes the time from: the system's clock, which tests may put forward. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// This moment.
    pub fn now(&self) -> Moment {
        Moment(Moment::now().0.saturating_add(self.0.load(Ordering::Relaxed)))
    }

    /// From now on, it is so much later.
    pub fn put_forward(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

/// As many letters as every moment has, shown.
const SHOWN: usize = "1970-01-01T00:00:00+00:00".len();

impl Moment {
    /// What is shown, letter by letter: a page has a hundred of these, and a format string costs ten times as much.
    fn shown(self) -> [u8; SHOWN] {
        // A moment outside the calendar's 9999 years is shown as its beginning.
        let at = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000))
            .ok()
            .filter(|at| (0..=9999).contains(&at.year()))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        let (century, year) = (year.unsigned_abs() / 100, year.unsigned_abs() % 100);
        let [century, year] = [century, year].map(|part| u8::try_from(part).unwrap_or(0));
        let mut shown = *b"0000-00-00T00:00:00+00:00";
        let parts =
            [(0, century), (2, year), (5, u8::from(month)), (8, day), (11, hour), (14, minute), (17, second)];
        for (place, part) in parts {
            shown[place] = b'0' + part / 10;
            shown[place + 1] = b'0' + part % 10;
        }
        shown
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.shown()).unwrap_or_default())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.shown()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_its_offset() {
        assert_eq!(Moment(1_762_337_106_999).to_string(), "2025-11-05T10:05:06+00:00");
        assert_eq!(Moment(1_762_337_106_999).day(), "05 Nov 2025");
        assert_eq!(Moment(-1).to_string(), "1969-12-31T23:59:59+00:00");
        assert_eq!(Moment(253_402_300_799_999).to_string(), "9999-12-31T23:59:59+00:00");
        for outside in [i64::MAX, i64::MIN, -62_200_000_000_000] {
            assert_eq!(Moment(outside).to_string(), "1970-01-01T00:00:00+00:00", "{outside}");
        }
        assert_eq!(serde_json::to_string(&Moment(-1)).unwrap(), "\"1969-12-31T23:59:59+00:00\"");
    }

    #[test]
    fn a_moment_is_read_with_its_offset() {
        for (text, expected) in [
            ("2025-11-05T10:05:06+00:00", Some(1_762_337_106_000)),
            ("2025-11-05T12:05:06.5+02:00", Some(1_762_337_106_500)),
            ("2025-11-05T10:05:06Z", Some(1_762_337_106_000)),
            ("2025-11-05", Some(1_762_300_800_000)),
            ("2025-11-05 10:05:06", None),
            ("2025-02-30", None),
            ("99999-01-01", None),
            ("now", None),
        ] {
            assert_eq!(Moment::parse(text), expected.map(Moment), "{text}");
        }
    }
}
