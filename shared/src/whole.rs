//! Decides which numbers of a JSON body are whole: `5` is, and so is `5.0`, as in JSON Schema and in JavaScript.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// Above it, numbers with a point do not tell neighbours apart.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// A number that is not negative, for `#[serde(deserialize_with = …)]`.
///
/// # Errors
///
/// For everything else, with what it is.
pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_u64(Whole)
}

/// The same, or `null`.
///
/// # Errors
///
/// For everything else, with what it is.
pub fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    from.deserialize_option(OrNull)
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number that is not negative")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
        if number.fract() != 0.0 || !(0.0..=EXACT).contains(&number) {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and in bounds"
        )]
        Ok(number as u64)
    }
}

struct OrNull;

impl<'de> Visitor<'de> for OrNull {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number that is not negative, or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<u64>, D::Error> {
        number(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Body {
        #[serde(deserialize_with = "number")]
        must: u64,
        #[serde(default, deserialize_with = "number_or_null")]
        may: Option<u64>,
    }

    #[test]
    fn a_number_with_a_point_is_whole_when_nothing_is_behind_it() {
        for (text, expected) in [
            (r#"{"must": 5}"#, Some((5, None))),
            (r#"{"must": 5684.0, "may": 1e3}"#, Some((5684, Some(1000)))),
            (r#"{"must": 0.0, "may": null}"#, Some((0, None))),
            (r#"{"must": 18446744073709551615}"#, Some((u64::MAX, None))),
            (r#"{"must": 5.5}"#, None),
            (r#"{"must": -1}"#, None),
            (r#"{"must": -1.0}"#, None),
            (r#"{"must": 1e300}"#, None),
            (r#"{"must": "5"}"#, None),
            (r#"{"must": null}"#, None),
            (r#"{"must": 1, "may": 0.1}"#, None),
        ] {
            let read = serde_json::from_str::<Body>(text).ok().map(|body| (body.must, body.may));
            assert_eq!(read, expected, "{text}");
        }
    }
}
