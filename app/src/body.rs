//! Decides what a JSON body says: an object of known fields, each once, each of its type, all problems at once.
//!
//! What an endpoint takes is a table of [`Field`]s, which the reader and the API's own documentation are made from.

mod strict;

use axum::extract::Request;
use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ApiError, Code};
use crate::moment::Moment;
use crate::query::Problems;

/// What a field may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A text of so many characters, ends included, without control characters other than tab and line ends.
    Text(usize, usize),
    /// A text of 1 to so many characters that is more than blanks.
    Line(usize),
    /// HTML of 1 to so many characters; something must be left of it when it is cleaned.
    Html(usize),
    /// A name in addresses of 1 to so many characters: small letters, digits and hyphens, with no hyphen at its ends.
    Slug(usize),
    /// An address of 1 to so many characters: on the web, or a path of this site.
    Address(usize),
    /// The id of a row.
    Id,
    /// So many ids of rows at most, each once.
    Ids(usize),
    /// `true` or `false`.
    Flag,
    /// A moment: ISO 8601 with an offset, or a date, which begins at midnight UTC.
    Moment,
    /// One of a few words.
    Word(&'static [&'static str]),
}

/// One field that an endpoint takes.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub rule: Rule,
    /// Whether it may be left out or be `null`.
    pub presence: Presence,
    /// What it does, in a sentence.
    pub about: &'static str,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there, and not `null`.
    Required,
    /// It may be left out, not `null`.
    Optional,
    /// It may be left out; `null` empties it.
    Clearable,
}

impl Field {
    /// A field of this name.
    pub const fn new(name: &'static str, rule: Rule, presence: Presence, about: &'static str) -> Self {
        Self { name, rule, presence, about }
    }
}

/// What a client says of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing.
    #[default]
    Absent,
    /// That it is empty.
    Null,
    /// This.
    Is(T),
}

impl<T> Given<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// What it is from now on, when it was `before`.
    pub fn or(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Null => None,
            Self::Absent => before,
        }
    }

    /// Whether the client says anything.
    pub fn is_given(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// The fields of one body, checked.
#[derive(Debug, Default)]
pub struct Body {
    members: Map<String, Value>,
    problems: Problems,
}

/// The most unknown fields that are named.
const UNKNOWN: usize = 20;

/// Reads the whole body of a request that says it is JSON.
///
/// # Errors
///
/// 415 for another media type, 413 above the limit, 400 when the client stops sending.
pub async fn bytes(request: Request) -> Result<Bytes, ApiError> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::new(
            Code::UnsupportedMediaType,
            "The body must be JSON, with the header Content-Type: application/json.",
        ));
    }
    whole(request.into_body()).await
}

/// Reads a body of JSON that is known as a type of ours.
///
/// # Errors
///
/// As [`bytes()`]; 422 for JSON of another shape.
pub async fn read<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    serde_json::from_slice(&bytes(request).await?)
        .map_err(|error| ApiError::new(Code::InvalidFields, format!("The body cannot be used: {error}.")))
}

/// The whole of a body, within its limit.
///
/// # Errors
///
/// 413 above the limit, 400 when the client stops sending.
pub async fn whole(body: axum::body::Body) -> Result<Bytes, ApiError> {
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error)
            if std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>()) =>
        {
            Err(ApiError::new(Code::BodyTooLarge, "The body is larger than allowed."))
        }
        Err(_) => Err(ApiError::bad_request("The body did not arrive as a whole.")),
    }
}

impl Body {
    /// Reads an object of which only the fields in `known` may occur.
    ///
    /// # Errors
    ///
    /// 400 for what is not a JSON object. What is wrong with its fields is said by [`Body::finish`].
    pub fn parse(bytes: &[u8], known: &[Field]) -> Result<Self, ApiError> {
        let strict::Object { members, repeated } = strict::object(bytes)?;
        let mut body = Self { members: Map::new(), problems: Problems::default() };
        for name in repeated {
            body.problems.push(&name, "must be given only once");
        }
        let mut unknown = 0;
        for (name, value) in members {
            match known.iter().find(|field| field.name == name) {
                Some(field) => body.keep(field, value),
                None if unknown == UNKNOWN => {
                    body.problems.push("body", "has even more fields that are not known");
                    break;
                }
                None => {
                    unknown += 1;
                    let known: Vec<&str> = known.iter().map(|field| field.name).collect();
                    body.problems.push(&name, format!("is not a field here; known: {}", known.join(", ")));
                }
            }
        }
        for field in known.iter().filter(|field| field.presence == Presence::Required) {
            let is_noted = body.problems.0.iter().any(|(name, _)| name == field.name);
            if !body.members.contains_key(field.name) && !is_noted {
                body.problems.push(field.name, "is required");
            }
        }
        Ok(body)
    }

    /// The same fields, with what is wrong so far.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { members: self.members.clone(), problems: self.problems.clone() }
    }

    fn keep(&mut self, field: &Field, value: Value) {
        if value.is_null() {
            match field.presence {
                Presence::Required => self.problems.push(field.name, "is required"),
                Presence::Optional => self.problems.push(field.name, "must not be null"),
                Presence::Clearable => drop(self.members.insert(field.name.to_owned(), value)),
            }
            return;
        }
        match field.rule.check(&value) {
            Ok(()) => drop(self.members.insert(field.name.to_owned(), value)),
            Err(message) => self.problems.push(field.name, message),
        }
    }

    /// Notes a problem with the field `name`.
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(name, message);
    }

    fn given<'b, T>(&'b self, name: &str, read: impl FnOnce(&'b Value) -> Option<T>) -> Given<T> {
        match self.members.get(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => read(value).map_or(Given::Absent, Given::Is),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Given<String> {
        self.given(name, |value| value.as_str().map(str::to_owned))
    }

    /// The id of a row.
    pub fn id(&self, name: &str) -> Given<i64> {
        self.given(name, id)
    }

    /// The ids of rows.
    pub fn ids(&self, name: &str) -> Given<Vec<i64>> {
        self.given(name, |value| Some(value.as_array()?.iter().filter_map(id).collect()))
    }

    /// A yes or no.
    pub fn flag(&self, name: &str) -> Given<bool> {
        self.given(name, Value::as_bool)
    }

    /// A moment.
    pub fn moment(&self, name: &str) -> Given<Moment> {
        self.given(name, |value| Moment::parse(value.as_str()?))
    }

    /// Fails with everything that was wrong.
    ///
    /// # Errors
    ///
    /// 422 with all problems noted so far.
    pub fn finish(&mut self) -> Result<(), ApiError> {
        let problems = std::mem::take(&mut self.problems);
        if problems.0.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(problems)) }
    }
}

impl Rule {
    fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Text(least, most) => text(value, least, most).map(drop),
            Self::Html(most) => text(value, 1, most).map(drop),
            Self::Line(most) => {
                let is_blank = text(value, 1, most)?.trim().is_empty();
                (!is_blank).then_some(()).ok_or_else(|| "must have more than blanks".to_owned())
            }
            Self::Slug(most) => is_slug(text(value, 1, most)?).then_some(()).ok_or_else(|| {
                "must be small letters, digits and hyphens, and begin and end with no hyphen".to_owned()
            }),
            Self::Address(most) => is_address(text(value, 1, most)?)
                .then_some(())
                .ok_or_else(|| "must begin with https://, http:// or /, and have no blanks".to_owned()),
            Self::Id => {
                is_id(value).then_some(()).ok_or_else(|| "must be an id: a whole number above 0".to_owned())
            }
            Self::Ids(most) => {
                let list = value.as_array().ok_or("must be a list of ids")?;
                if list.len() > most {
                    return Err(format!("must have at most {most} ids"));
                }
                if !list.iter().all(is_id) {
                    return Err("must be a list of ids: whole numbers above 0".to_owned());
                }
                let mut ids: Vec<i64> = list.iter().filter_map(id).collect();
                ids.sort_unstable();
                ids.dedup();
                (ids.len() == list.len()).then_some(()).ok_or_else(|| "must name each id once".to_owned())
            }
            Self::Flag => value.is_boolean().then_some(()).ok_or_else(|| "must be true or false".to_owned()),
            Self::Moment => {
                let moment = value.as_str().and_then(Moment::parse);
                moment.map(drop).ok_or_else(|| {
                    "must be a moment like \"2026-01-31T08:00:00+00:00\" or a date like \"2026-01-31\""
                        .to_owned()
                })
            }
            Self::Word(words) => {
                let is_known = value.as_str().is_some_and(|word| words.contains(&word));
                is_known.then_some(()).ok_or_else(|| format!("must be one of: {}", words.join(", ")))
            }
        }
    }
}

fn text(value: &Value, least: usize, most: usize) -> Result<&str, String> {
    let text = value.as_str().ok_or("must be a text")?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err("must not contain control characters".to_owned());
    }
    let length = text.chars().take(most.saturating_add(1)).count();
    let fits = (least..=most).contains(&length);
    fits.then_some(text).ok_or_else(|| format!("must have between {least} and {most} characters"))
}

/// Whether it can stand in an address as it is.
fn is_slug(text: &str) -> bool {
    let is_plain = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || c == '-';
    text.chars().all(is_plain) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_address(text: &str) -> bool {
    let begins = text.starts_with("https://") || text.starts_with("http://") || text.starts_with('/');
    begins && !text.starts_with("//") && !text.contains(char::is_whitespace)
}

/// An id; `7.0` is a whole number too, in JSON Schema as in JavaScript.
fn id(value: &Value) -> Option<i64> {
    /// Above it, numbers with a point do not tell neighbours apart.
    const EXACT: f64 = 9_007_199_254_740_991.0;
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (1.0..=EXACT).contains(number));
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and exact")]
    let id = value.as_i64().or(whole.map(|number| number as i64))?;
    (id > 0).then_some(id)
}

fn is_id(value: &Value) -> bool {
    id(value).is_some()
}

#[cfg(test)]
mod tests;
