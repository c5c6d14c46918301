//! Decides who may ask the admin interface for what.
//!
//! On loopback and on a unix socket the machine's own users are trusted, unless tokens are configured; anywhere
//! else the configuration demands tokens. Browsers are kept out: a page must not reach the operator's loopback.

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use crate::config::policy::{AdminToken, Scope};

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no token, or nobody knows it.
    Unknown,
    /// The token may look, not change.
    ReadOnly,
    /// It came from a web page, or was sent to a name that is not ours.
    FromBrowser,
}

/// Who asks: the token's name, `None` on a trusted transport without tokens.
pub(super) fn judge<'t>(
    tokens: &'t [AdminToken],
    needed: Scope,
    headers: &HeaderMap,
) -> Result<Option<&'t str>, Denied> {
    if headers.contains_key(header::ORIGIN) || !names_us(headers) {
        return Err(Denied::FromBrowser);
    }
    if tokens.is_empty() {
        return Ok(None);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Denied::Unknown)?;
    let digest: [u8; 32] = Sha256::digest(given.trim()).into();
    let token = tokens.iter().find(|token| token.sha256 == digest).ok_or(Denied::Unknown)?;
    if needed == Scope::Change && token.scope == Scope::Read {
        return Err(Denied::ReadOnly);
    }
    Ok(Some(&token.name))
}

/// Whether the Host is an address, `localhost`, or missing: a name that somebody bound to our address (DNS
/// rebinding) is neither.
fn names_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or("?").to_ascii_lowercase();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.is_empty() || name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn token(name: &str, secret: &str, scope: Scope) -> AdminToken {
        AdminToken { name: name.to_owned(), sha256: Sha256::digest(secret).into(), scope }
    }

    #[test]
    fn a_token_is_known_by_its_digest_and_bound_to_its_scope() {
        let tokens = [token("watch", "aaa", Scope::Read), token("deploy", "bbb", Scope::Change)];
        for (authorization, needed, expected) in [
            ("Bearer aaa", Scope::Read, Ok(Some("watch"))),
            ("Bearer aaa", Scope::Change, Err(Denied::ReadOnly)),
            ("Bearer bbb", Scope::Change, Ok(Some("deploy"))),
            ("Bearer ccc", Scope::Read, Err(Denied::Unknown)),
            ("Basic aaa", Scope::Read, Err(Denied::Unknown)),
            ("Bearer ", Scope::Read, Err(Denied::Unknown)),
        ] {
            let headers = headers(&[("authorization", authorization)]);
            assert_eq!(judge(&tokens, needed, &headers), expected, "{authorization}");
        }
        assert_eq!(judge(&tokens, Scope::Read, &HeaderMap::new()), Err(Denied::Unknown));
        assert_eq!(judge(&[], Scope::Change, &HeaderMap::new()), Ok(None));
    }

    #[test]
    fn pages_and_rebound_names_are_kept_out() {
        for (pairs, expected) in [
            (&[("host", "127.0.0.1:9901")][..], Ok(None)),
            (&[("host", "[::1]:9901")][..], Ok(None)),
            (&[("host", "LocalHost:9901")][..], Ok(None)),
            (&[("host", "evil.example.com")][..], Err(Denied::FromBrowser)),
            (&[("host", "127.0.0.1"), ("origin", "https://evil.example.com")][..], Err(Denied::FromBrowser)),
        ] {
            assert_eq!(judge(&[], Scope::Change, &headers(pairs)), expected, "{pairs:?}");
        }
    }
}
