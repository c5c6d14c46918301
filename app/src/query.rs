//! Decides what a query string says: named parameters, each once, each known, all problems at once.
//!
//! What an endpoint takes is a table of [`Spec`]s, which the reader, the cache's keys and the API's own
//! documentation are made from.

use std::fmt::Write as _;

/// The most parameters that are looked at.
const MAX_PARAMETERS: usize = 32;
/// The longest name that is repeated in a message, in characters.
const SHOWN: usize = 64;
/// The largest id of a row.
const LARGEST_ID: u64 = i64::MAX.unsigned_abs();

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// A text of so many characters, ends included.
    Text(usize, usize),
    /// A whole number within these bounds, ends included.
    Number(u64, u64),
    /// The id of a row.
    Id,
    /// A yes or no, in the usual words.
    Flag,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A place in a list, as a page of it has named it; judged by whoever reads it.
    Cursor,
    /// Some of these names, with commas between them; which there are is judged by whoever reads them.
    List(fn() -> Vec<String>),
}

/// The most names in a list.
pub const NAMES: usize = 30;
/// The longest list of names that is looked at, in characters.
const LIST: usize = 1000;

/// One parameter that an endpoint takes.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub rule: Rule,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

impl Spec {
    /// A parameter of this name.
    pub const fn new(name: &'static str, rule: Rule, about: &'static str) -> Self {
        Self { name, rule, about, required: false }
    }

    /// The same, when it must be there.
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// The words of a table of words and what they stand for.
pub const fn words<T: Copy, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

impl Rule {
    /// The value as it is written everywhere, or what is wrong with it.
    fn normal(self, value: &str) -> Result<String, String> {
        match self {
            Self::Text(least, most) => {
                let length = value.chars().count();
                let fits = (least..=most).contains(&length);
                fits.then(|| value.to_owned())
                    .ok_or_else(|| format!("must have between {least} and {most} characters"))
            }
            Self::Cursor => Self::Text(1, usize::MAX).normal(value),
            Self::List(_) if value.split(',').count() > NAMES => {
                Err(format!("must have at most {NAMES} names"))
            }
            Self::List(_) => Self::Text(1, LIST).normal(value),
            Self::Number(least, most) => number(value, least, most),
            Self::Id => number(value, 1, LARGEST_ID),
            Self::Flag => {
                flag(value).map(|is| is.to_string()).ok_or_else(|| "must be true or false".to_owned())
            }
            Self::Word(words) if words.contains(&value) => Ok(value.to_owned()),
            Self::Word(words) => Err(format!("must be one of: {}", words.join(", "))),
        }
    }
}

fn number(value: &str, least: u64, most: u64) -> Result<String, String> {
    let number = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.filter(|number: &u64| (least..=most).contains(number));
    number
        .map(|number| number.to_string())
        .ok_or_else(|| format!("must be a whole number between {least} and {most}"))
}

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// What is wrong with the parameters of a request: name and message, in the order of discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<(String, String)>);

impl Problems {
    /// Notes a problem with the parameter `name`.
    pub fn push(&mut self, name: &str, message: impl Into<String>) {
        self.0.push((shown(name), message.into()));
    }
}

/// The parameters of one request: decoded, checked, each value in its normal form, in the order of the table.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(&'static str, String)>,
    problems: Problems,
}

impl Params {
    /// Reads a query string of which only the parameters in `known` may occur. An empty value is as good as none.
    pub fn parse(query: Option<&str>, known: &[Spec]) -> Self {
        let mut params = Self::default();
        let mut seen = Vec::new();
        let raw = query.unwrap_or_default();
        for (index, pair) in raw.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if index == MAX_PARAMETERS {
                params.problems.push("query", format!("must have at most {MAX_PARAMETERS} parameters"));
                break;
            }
            params.read_pair(pair, known, &mut seen);
        }
        for spec in known.iter().filter(|spec| spec.required) {
            params.require(spec.name);
        }
        params.pairs.sort_by_key(|(name, _)| known.iter().position(|spec| spec.name == *name));
        params
    }

    fn read_pair(&mut self, pair: &str, known: &[Spec], seen: &mut Vec<&'static str>) {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(raw_name) else {
            self.problems.push(raw_name, "is not valid percent-encoded UTF-8");
            return;
        };
        let Some(spec) = known.iter().find(|spec| spec.name == name) else {
            let known: Vec<&str> = known.iter().map(|spec| spec.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            self.problems.push(&name, format!("is not a parameter here; known: {known}"));
            return;
        };
        if seen.contains(&spec.name) {
            self.problems.push(&name, "must be given only once");
            return;
        }
        seen.push(spec.name);
        match decode(raw_value).map(|value| (value.is_empty(), spec.rule.normal(&value))) {
            Some((true, _)) => {}
            Some((false, Ok(value))) => self.pairs.push((spec.name, value)),
            Some((false, Err(problem))) => self.problems.push(&name, problem),
            None => self
                .problems
                .push(&name, "is not valid percent-encoded UTF-8, or contains control characters"),
        }
    }

    /// The parameters in their normal form, for links to neighbours and for the name of the answer.
    pub fn pairs(&self) -> &[(&'static str, String)] {
        &self.pairs
    }

    /// Notes a problem with the parameter `name`.
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(name, message);
    }

    /// Notes that `name` must have a value, unless something else is wrong with it.
    fn require(&mut self, name: &str) {
        if self.text(name).is_none() && !self.problems.0.iter().any(|(other, _)| other == name) {
            self.problems.push(name, "is required");
        }
    }

    /// Writes the value of `name` differently, where it has one.
    pub fn rewrite(&mut self, name: &str, normal: String) {
        if let Some((_, value)) = self.pairs.iter_mut().find(|(known, _)| *known == name) {
            *value = normal;
        }
    }

    /// The value of a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The value of an id.
    pub fn id(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The value of a yes or no.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    /// What the word that was given stands for.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.text(name)?;
        choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice)
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

/// The names in a list, each once and in one order, so that equal lists are written equally.
pub fn names(list: &str) -> Vec<String> {
    let mut names: Vec<String> =
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
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

    const KNOWN: &[Spec] = &[
        Spec::new("page", Rule::Number(1, 10), ""),
        Spec::new("search", Rule::Text(1, 100), ""),
        Spec::new("sort", Rule::Word(&["a", "b"]), ""),
        Spec::new("flag", Rule::Flag, ""),
    ];

    fn parsed(query: &str) -> Params {
        Params::parse(Some(query), KNOWN)
    }

    #[test]
    fn values_are_decoded() {
        let mut params = parsed("search=caf%C3%A9+au%20lait&page=07&flag=YES&sort=");
        assert_eq!(params.text("search"), Some("café au lait"));
        assert_eq!(params.number("page"), Some(7));
        assert_eq!(params.flag("flag"), Some(true));
        assert_eq!(params.choice("sort", &[("a", 1)]), None);
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn what_means_the_same_is_written_the_same() {
        let normal = [("page", "7".to_owned()), ("search", "a b".to_owned()), ("flag", "true".to_owned())];
        for query in [
            "page=7&search=a%20b&flag=true",
            "flag=on&search=a+b&page=007",
            "sort=&search=%61+b&flag=1&page=7",
        ] {
            assert_eq!(parsed(query).pairs(), normal, "{query}");
        }
    }

    #[test]
    fn every_problem_is_found_in_one_go() {
        let mut params = parsed("page=0&search=%ff&per_page=3&page=2&sort=x&flag=maybe&%zz=1");
        let problems = params.finish().unwrap_err().0;
        let lines: Vec<String> = problems.iter().map(|(name, message)| format!("{name} {message}")).collect();
        assert_eq!(
            lines,
            [
                "page must be a whole number between 1 and 10",
                "search is not valid percent-encoded UTF-8, or contains control characters",
                "per_page is not a parameter here; known: page, search, sort, flag",
                "page must be given only once",
                "sort must be one of: a, b",
                "flag must be true or false",
                "%zz is not valid percent-encoded UTF-8",
            ]
        );
    }

    #[test]
    fn numbers_are_digits_only() {
        for value in ["+1", "-1", "1.0", "1e3", "0x1", "%201", "99999999999999999999", "١"] {
            let mut params = parsed(&format!("page={value}"));
            assert_eq!(params.number("page"), None, "{value}");
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
