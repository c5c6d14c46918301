//! Decides what a query string says: named parameters, each once, each known, all problems at once.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// The most parameters that are looked at.
const MAX_PARAMETERS: usize = 32;
/// The longest name that is repeated in a message, in characters.
const SHOWN: usize = 64;

/// What is wrong with the parameters of a request: name and message, in the order of discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<(String, String)>);

impl Problems {
    /// Notes a problem with the parameter `name`.
    pub fn push(&mut self, name: &str, message: impl Into<String>) {
        self.0.push((shown(name), message.into()));
    }
}

/// The parameters of one request, decoded.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    problems: Problems,
}

impl Params {
    /// Reads a query string of which only the parameters in `known` may occur. An empty value is as good as none.
    pub fn parse(query: Option<&str>, known: &[&str]) -> Self {
        let mut params = Self::default();
        let raw = query.unwrap_or_default();
        for (index, pair) in raw.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if index == MAX_PARAMETERS {
                params.problems.push("query", format!("must have at most {MAX_PARAMETERS} parameters"));
                break;
            }
            params.read_pair(pair, known);
        }
        params
    }

    fn read_pair(&mut self, pair: &str, known: &[&str]) {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(raw_name) else {
            self.problems.push(raw_name, "is not valid percent-encoded UTF-8");
            return;
        };
        if !known.contains(&name.as_str()) {
            self.problems.push(&name, format!("is not a parameter here; known: {}", known.join(", ")));
            return;
        }
        if self.pairs.iter().any(|(seen, _)| *seen == name) {
            self.problems.push(&name, "must be given only once");
            return;
        }
        match decode(raw_value) {
            Some(value) => self.pairs.push((name, value)),
            None => self
                .problems
                .push(&name, "is not valid percent-encoded UTF-8, or contains control characters"),
        }
    }

    /// The parameters as given, for links to neighbours.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Notes a problem with the parameter `name`.
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(name, message);
    }

    fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(known, _)| known == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// A text of so many characters.
    pub fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<String> {
        let value = self.value(name)?.to_owned();
        if length.contains(&value.chars().count()) {
            return Some(value);
        }
        let (least, most) = (length.start(), length.end());
        self.problems.push(name, format!("must have between {least} and {most} characters"));
        None
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(name)?;
        let number = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(number) = number.filter(|number| bounds.contains(number)) {
            return Some(number);
        }
        let (least, most) = (bounds.start(), bounds.end());
        self.problems.push(name, format!("must be a whole number between {least} and {most}"));
        None
    }

    /// The id of a row.
    pub fn id(&mut self, name: &str) -> Option<i64> {
        const LARGEST: u64 = i64::MAX.unsigned_abs();
        let id = self.number(name, 1..=LARGEST)?;
        i64::try_from(id).ok()
    }

    /// A yes or no, in the usual words.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        let flag = match self.value(name)?.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        };
        if flag.is_none() {
            self.problems.push(name, "must be true or false");
        }
        flag
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.value(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.problems.push(name, format!("must be one of: {}", words.join(", ")));
        }
        chosen
    }

    /// Fails with everything that was wrong.
    ///
    /// # Errors
    ///
    /// All [`Problems`] noted so far.
    pub fn finish(&mut self) -> Result<(), Problems> {
        if self.problems.0.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.problems)) }
    }
}

/// The beginning of a text from outside, for a message.
pub fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// Undoes form encoding; `None` unless the result is UTF-8 without control characters other than tab and newline.
fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, tail @ ..] = rest else { return None };
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                rest = tail;
            }
            other => bytes.push(*other),
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let is_unwanted = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    (!text.contains(is_unwanted)).then_some(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Writes `value` so that it is one value in a query string or one segment of a path.
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b',') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["page", "search", "sort", "flag"];

    #[test]
    fn values_are_decoded() {
        let mut params = Params::parse(Some("search=caf%C3%A9+au%20lait&page=07&flag=YES&sort="), KNOWN);
        assert_eq!(params.text("search", 1..=100).as_deref(), Some("café au lait"));
        assert_eq!(params.number("page", 1..=10), Some(7));
        assert_eq!(params.flag("flag"), Some(true));
        assert_eq!(params.choice("sort", &[("a", 1)]), None);
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn every_problem_is_found_in_one_go() {
        let mut params =
            Params::parse(Some("page=0&search=%ff&per_page=3&page=2&sort=x&flag=maybe&%zz=1"), KNOWN);
        params.number("page", 1..=10);
        params.choice("sort", &[("a", 1), ("b", 2)]);
        params.flag("flag");
        let problems = params.finish().unwrap_err().0;
        let lines: Vec<String> = problems.iter().map(|(name, message)| format!("{name} {message}")).collect();
        assert_eq!(
            lines,
            [
                "search is not valid percent-encoded UTF-8, or contains control characters",
                "per_page is not a parameter here; known: page, search, sort, flag",
                "page must be given only once",
                "%zz is not valid percent-encoded UTF-8",
                "page must be a whole number between 1 and 10",
                "sort must be one of: a, b",
                "flag must be true or false",
            ]
        );
    }

    #[test]
    fn numbers_are_digits_only() {
        for value in ["+1", "-1", "1.0", "1e3", "0x1", "%201", "99999999999999999999", "١"] {
            let mut params = Params::parse(Some(&format!("page={value}")), KNOWN);
            assert_eq!(params.number("page", 0..=u64::MAX), None, "{value}");
            assert!(params.finish().is_err(), "{value}");
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for value in ["%00", "a%00b", "%1b%5b", "%7f"] {
            assert!(Params::parse(Some(&format!("search={value}")), KNOWN).finish().is_err(), "{value}");
        }
    }

    #[test]
    fn too_many_parameters_are_one_problem() {
        let query = vec!["page=1"; 40].join("&");
        let problems = Params::parse(Some(&query), KNOWN).finish().unwrap_err();
        assert_eq!(problems.0.last().unwrap().1, "must have at most 32 parameters");
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for text in ["a b&c=d/é%", "日本", ""] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }
}
