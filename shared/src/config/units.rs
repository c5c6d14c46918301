//! Decides how durations, sizes and shares are written in a file: `5s`, `64KiB`, `20%`.

use std::fmt;
use std::time::Duration;

use super::{Problems, Read, Shown, Value, wrong_type};

/// A number of bytes: `512`, `64KiB`, `1MiB`, `2GiB` (powers of 1024; `k`, `m`, `g` as nginx writes them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A share between 0 % and 100 %, written `20%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl ByteSize {
    /// The size in bytes, capped to what this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let whole = UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Percent {
    /// So many percent, 0.0 to 100.0.
    pub fn of(percent: f64) -> Self {
        Self(percent.clamp(0.0, 100.0))
    }

    /// The share as a fraction from 0.0 to 1.0.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// The longest duration that can be written, in milliseconds: a year. More would overflow a clock some day.
const LONGEST: u64 = 365 * 24 * 3_600_000;

/// `1h30m`, `5s`, `250ms`: whole numbers with the units h, m, s, ms, largest first.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = text.trim();
    let mut total: u64 = 0;
    let mut previous = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let letters = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[digits..digits + letters])?;
        if *factor >= previous {
            return None;
        }
        previous = *factor;
        let number: u64 = rest[..digits].parse().ok()?;
        total = total.checked_add(number.checked_mul(*factor)?)?;
        rest = &rest[digits + letters..];
    }
    (previous != u64::MAX && total <= LONGEST).then(|| Duration::from_millis(total))
}

/// A size that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a size like \"64KiB\" or \"1MiB\"")]
pub struct NoSize;

impl std::str::FromStr for ByteSize {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        parse_size(text).map(Self).ok_or(NoSize)
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "KiB" | "k" | "K" => 1 << 10,
        "MiB" | "m" | "M" => 1 << 20,
        "GiB" | "g" | "G" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

impl Read for Duration {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let duration = value.get_ref().as_str().and_then(parse_duration);
        if duration.is_none() {
            wrong_type(value, "a duration like \"30s\", \"250ms\" or \"1h30m\"", at, problems);
        }
        duration
    }
}

impl Read for ByteSize {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let bytes = match value.get_ref().as_integer() {
            Some(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            None => value.get_ref().as_str().and_then(parse_size),
        };
        if bytes.is_none() {
            wrong_type(value, "a size like \"64KiB\" or \"1MiB\"", at, problems);
        }
        bytes.map(ByteSize)
    }

    fn show(&self, at: &str, out: &mut Shown) {
        out.value(at, &self.to_string());
    }
}

impl Read for Percent {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let number = value.get_ref().as_str().and_then(|text| text.trim().strip_suffix('%'));
        let percent = number.and_then(|number| number.trim().parse::<f64>().ok());
        match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
            Some(percent) => Some(Self(percent)),
            None => {
                wrong_type(value, "a share between \"0%\" and \"100%\"", at, problems);
                None
            }
        }
    }

    fn show(&self, at: &str, out: &mut Shown) {
        out.value(at, &self.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_with_units() {
        let ms = |text| parse_duration(text).map(|d| u64::try_from(d.as_millis()).unwrap());
        for (text, expected) in [
            ("5s", Some(5_000)),
            ("250ms", Some(250)),
            ("1h30m", Some(5_400_000)),
            ("1m 30s", None),
            ("0s", Some(0)),
            ("30", None),
            ("", None),
            ("s", None),
            ("5 s", None),
            ("5s5s", None),
            ("1s2m", None),
            ("-5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("5µs", None),
            ("8760h", Some(31_536_000_000)),
            ("8761h", None),
        ] {
            assert_eq!(ms(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("512", Some(512)),
            ("64KiB", Some(65_536)),
            ("8k", Some(8_192)),
            ("1 MiB", Some(1_048_576)),
            ("2GiB", Some(2_147_483_648)),
            ("64KB", None),
            ("-1", None),
            ("", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text:?}");
        }
    }
}
