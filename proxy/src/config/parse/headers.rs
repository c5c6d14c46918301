//! Checks header rules: which fields an operator may set, and that what they say is one line.

use cirque_shared::config::Problems;

use super::super::policy::HeaderRules;
use super::super::raw;
use super::super::template::Template;

/// Fields that belong to one connection or frame a message (RFC 9110 §7.6.1, RFC 9112 §6); the edge alone writes them.
const OURS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whose head is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

pub(super) fn rules(
    at: &str,
    raw: Option<raw::HeaderRules>,
    side: Side,
    problems: &mut Problems,
) -> HeaderRules {
    let raw = raw.unwrap_or_default();
    let mut fields = |key: &str, written: Option<Vec<String>>| {
        let mut fields: Vec<(Box<str>, Template)> = Vec::new();
        for (index, text) in written.into_iter().flatten().enumerate() {
            match field(&text).and_then(|field| allowed(field, side)) {
                Ok(field) => fields.push(field),
                Err(why) => problems.push(&format!("{at}.{key}[{index}]"), why),
            }
        }
        fields
    };
    let (set, add) = (fields("set", raw.set), fields("add", raw.add));
    let mut remove: Vec<Box<str>> = Vec::new();
    for (index, text) in raw.remove.into_iter().flatten().enumerate() {
        match checked_name(&text) {
            Ok(name) if side == Side::Request && name.eq_ignore_ascii_case("host") => problems
                .push(&format!("{at}.remove[{index}]"), "cannot remove Host: HTTP/1.1 backends need one"),
            Ok(name) => remove.push(name),
            Err(why) => problems.push(&format!("{at}.remove[{index}]"), why),
        }
    }
    HeaderRules { set, add, remove }
}

fn field(text: &str) -> Result<(Box<str>, Template), String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!("must be \"Name: value\", got {text:?}"));
    };
    Ok((checked_name(name)?, Template::parse(value.trim())?))
}

fn allowed(field: (Box<str>, Template), side: Side) -> Result<(Box<str>, Template), String> {
    if side == Side::Request && field.0.eq_ignore_ascii_case("host") && field.1.is_empty() {
        return Err("cannot empty Host: HTTP/1.1 backends need one".to_owned());
    }
    Ok(field)
}

/// A field name (RFC 9110 §5.1) that an operator may decide about.
pub(super) fn checked_name(name: &str) -> Result<Box<str>, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
        return Err(format!("must be the name of a header, got {name:?}"));
    }
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        return Err(format!(
            "{name} belongs to one connection or frames a message: the edge writes it itself"
        ));
    }
    Ok(name.into())
}
