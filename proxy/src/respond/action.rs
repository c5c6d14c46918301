//! Answers that a route itself gives: a redirect, or a fixed answer.

use bytes::Bytes;

use super::{Answer, title};
use crate::config::policy::{Redirect, Respond};
use crate::config::template::Facts;

/// Sends a client elsewhere.
pub(crate) fn redirect(redirect: &Redirect, facts: &Facts<'_>) -> Answer {
    let mut location = Vec::new();
    redirect.to.fill(facts, &mut location);
    // A reference that begins with two slashes names a host (RFC 3986 §4.2): the client's path must not.
    let slashes = location.iter().take_while(|byte| **byte == b'/').count();
    let location = String::from_utf8_lossy(&location[slashes.saturating_sub(1)..]).into_owned();
    Answer {
        status: redirect.status,
        content_type: "text/plain; charset=utf-8".into(),
        body: format!("{} {}\n", redirect.status, title(redirect.status)).into(),
        fields: vec![("Location", location)],
    }
}

/// The answer that the operator wrote.
pub(crate) fn fixed(respond: &Respond) -> Answer {
    let has_none = respond.status == 204;
    Answer {
        status: respond.status,
        content_type: if has_none { "".into() } else { respond.content_type.to_string().into() },
        body: if has_none { Bytes::new() } else { respond.body.clone() },
        fields: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template::Template;

    fn location(to: &str, path: &'static [u8], rest: &'static [u8]) -> String {
        let redirect = Redirect { status: 308, to: Template::parse(to).unwrap() };
        let facts = Facts { path, rest, ..Facts::example() };
        let answer = super::redirect(&redirect, &facts);
        assert_eq!(answer.status, 308);
        answer.fields[0].1.clone()
    }

    #[test]
    fn a_location_is_made_of_host_path_and_query() {
        for (to, expected) in [
            ("https://www.example.com{uri}", "https://www.example.com/old/a?x=1"),
            ("https://{host}{path}", "https://api.example.com/old/a"),
            ("/new/{rest}{query}", "/new/a?x=1"),
            ("/fixed", "/fixed"),
        ] {
            assert_eq!(location(to, b"/old/a", b"a"), expected, "{to}");
        }
    }

    #[test]
    fn no_path_of_a_client_makes_a_location_name_another_host() {
        for (to, path, rest, expected) in [
            ("{path}", &b"//evil.example/x"[..], &b""[..], "/evil.example/x"),
            ("{uri}", b"///evil.example", b"", "/evil.example?x=1"),
            ("/{rest}", b"/old//evil.example", b"/evil.example", "/evil.example"),
            ("{path}", b"/\\evil.example", b"", "/%5Cevil.example"),
        ] {
            assert_eq!(location(to, path, rest), expected, "{to}");
        }
    }
}
