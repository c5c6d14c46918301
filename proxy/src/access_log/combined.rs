//! How a line looks in nginx's `combined` format, so that what reads nginx's logs reads these.
//!
//! `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`,
//! with nginx's escapes. The time is given in UTC.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::macros::format_description;

use super::line::{Line, address};

/// What only this format asks of a request's head, as it came; empty: it was not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Method, target and version.
    pub(crate) request: Vec<u8>,
    pub(crate) referer: Vec<u8>,
    pub(crate) user_agent: Vec<u8>,
    /// Whoever `Authorization: Basic` names; never the password.
    pub(crate) user: Vec<u8>,
}

impl Said {
    /// What a head says; `header` finds the value of a field.
    pub(crate) fn of<'h>(request: &[u8], header: impl Fn(&str) -> Option<&'h [u8]>) -> Self {
        let text = |name| header(name).unwrap_or_default().to_vec();
        Self {
            request: request.to_vec(),
            referer: text("referer"),
            user_agent: text("user-agent"),
            user: header("authorization").and_then(user).unwrap_or_default(),
        }
    }
}

fn user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    let mut decoded =
        STANDARD.decode(rest.trim_ascii()).ok().filter(|_| scheme.eq_ignore_ascii_case(b"basic "))?;
    decoded.truncate(memchr::memchr(b':', &decoded)?);
    Some(decoded)
}

/// Appends the line and its end.
pub(super) fn append(line: &Line<'_>, out: &mut Vec<u8>) {
    let none = Said::default();
    let said = line.said.unwrap_or(&none);
    address(line.client, out);
    out.extend_from_slice(b" - ");
    escaped(&said.user, out);
    out.extend_from_slice(b" [");
    time_local(line.arrived, out);
    out.extend_from_slice(b"] \"");
    // A request that was not understood has an empty line, in nginx too.
    escaped_or_nothing(&said.request, out);
    out.extend_from_slice(b"\" ");
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(line.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(line.bytes_out).as_bytes());
    out.extend_from_slice(b" \"");
    escaped(&said.referer, out);
    out.extend_from_slice(b"\" \"");
    escaped(&said.user_agent, out);
    out.extend_from_slice(b"\"\n");
}

fn escaped(value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() { out.push(b'-') } else { escaped_or_nothing(value, out) }
}

/// nginx's default escape: quotes, backslashes, control characters and what is not ASCII become `\xXX`.
fn escaped_or_nothing(value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value {
        if matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\') {
            out.push(*byte);
        } else {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            out.extend_from_slice(&[b'\\', b'x', digits[0], digits[1]]);
        }
    }
}

/// `10/Oct/2000:13:55:36 +0000`, formatted once a second.
fn time_local(at: OffsetDateTime, out: &mut Vec<u8>) {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != at.unix_timestamp() {
            let format =
                format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
            (*second, *text) = (at.unix_timestamp(), at.format(format).unwrap_or_default());
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(said: &Said) -> String {
        let mut out = Vec::new();
        append(&Line { said: Some(said), ..Line::example() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_nginxs_byte_for_byte() {
        let header = |name: &str| match name {
            "referer" => Some(&b"https://example.com/"[..]),
            "user-agent" => Some(&b"curl/8.0 \"x\" \\ \xc3\xa9"[..]),
            "authorization" => Some(&b"Basic YWxpY2U6c2VjcmV0"[..]),
            _ => None,
        };
        assert_eq!(
            written(&Said::of(b"GET /a?b HTTP/1.1", header)),
            "192.0.2.1 - alice [14/Nov/2023:22:13:20 +0000] \"GET /a?b HTTP/1.1\" 200 2 \"https://example.com/\" \
             \"curl/8.0 \\x22x\\x22 \\x5C \\xC3\\xA9\"\n"
        );
        let bare = "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] \"\" 200 2 \"-\" \"-\"\n";
        assert_eq!(written(&Said::default()), bare);
    }

    #[test]
    fn only_a_name_is_taken_from_credentials() {
        for (field, expected) in [
            (&b"basic YWxpY2U6c2VjcmV0"[..], Some(&b"alice"[..])),
            (b"Bearer YWxpY2U6c2VjcmV0", None),
            (b"Basic c2VjcmV0", None),
            (b"Basic ???", None),
            (b"", None),
        ] {
            assert_eq!(user(field).as_deref(), expected, "{field:?}");
        }
    }
}
