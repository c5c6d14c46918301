//! Decides who may be answered from memory, and what they hold already.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderValue, header};

/// What the cache must know of a request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    has_credentials: bool,
    if_none_match: Vec<HeaderValue>,
}

impl Caller {
    /// Whether it came without credentials: only such requests are answered from memory.
    pub fn is_anonymous(&self) -> bool {
        !self.has_credentials
    }

    /// Whether the client has the answer with this tag: by the weak comparison of RFC 9110 section 13.1.2.
    pub(super) fn has(&self, etag: &HeaderValue) -> bool {
        let etag = etag.as_bytes();
        self.if_none_match.iter().any(|list| {
            let tags = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.into_iter().any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        Ok(Self {
            has_credentials: headers.contains_key(header::AUTHORIZATION),
            if_none_match: headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_not() {
        let etag = HeaderValue::from_static("\"abc\"");
        for (list, expected) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\", \"abc\" ,\"y\"", true),
            ("*", true),
            ("\"ab\"", false),
            ("abc", false),
            ("", false),
        ] {
            let caller = Caller { if_none_match: vec![HeaderValue::from_static(list)], ..Caller::default() };
            assert_eq!(caller.has(&etag), expected, "{list}");
        }
    }
}
