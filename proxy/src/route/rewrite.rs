//! Decides which target a backend is asked for when a route changes the path.

use super::path;
use crate::config::policy::Rewrite;

/// The target to ask for instead of this one (path and query); `None`: it stays.
///
/// The prefix is taken away in whole segments: `/api` is part of `/api/x` and of `/api`, not of `/apix`. A path
/// that is not written plainly is changed as it is compared, and escaped anew, as nginx does.
pub(crate) fn target(rule: &Rewrite, target: &[u8]) -> Option<Vec<u8>> {
    if rule.is_nothing() || !target.starts_with(b"/") {
        return None;
    }
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (written, query) = target.split_at(end);
    let normal = path::normal(written);
    let rest = match normal.strip_prefix(rule.strip.as_bytes()) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => &normal[..],
    };
    let mut out = Vec::with_capacity(rule.add.len() + rest.len() + query.len() + 1);
    out.extend_from_slice(rule.add.as_bytes());
    // A place below a prefix that is gone begins at the root.
    if rest.is_empty() && out.is_empty() {
        out.push(b'/');
    }
    if matches!(normal, std::borrow::Cow::Borrowed(_)) {
        out.extend_from_slice(rest)
    } else {
        escape(rest, &mut out)
    }
    out.extend_from_slice(query);
    Some(out)
}

/// Appends a decoded path as it is written in a target (RFC 3986 §3.3).
fn escape(path: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(strip: &str, add: &str, written: &str, expected: Option<&str>) {
        let rule = Rewrite { strip: strip.into(), add: add.into() };
        let target = target(&rule, written.as_bytes()).map(|target| String::from_utf8(target).unwrap());
        assert_eq!(target.as_deref(), expected, "{strip} {add} {written}");
    }

    #[test]
    fn a_prefix_is_stripped_in_whole_segments_and_another_put_before() {
        check("", "", "/a", None);
        check("/api", "", "*", None);
        check("/api", "", "/api/x?y=/api/", Some("/x?y=/api/"));
        check("/api", "", "/api", Some("/"));
        check("/api", "", "/api?x", Some("/?x"));
        check("/api", "", "/apix", Some("/apix"));
        check("/api", "/v2", "/api/x", Some("/v2/x"));
        check("/api", "/v2", "/api", Some("/v2"));
        check("", "/site", "/", Some("/site/"));
    }

    #[test]
    fn no_spelling_leads_out_of_what_is_left() {
        check("/api", "", "/api/../admin", Some("/admin"));
        check("/api", "/v2", "/api/%2e%2e/api/x", Some("/v2/x"));
        check("/api", "", "/api//evil.example/", Some("/evil.example/"));
        check("/api", "", "/%61pi/caf%C3%A9 %3f", Some("/caf%C3%A9%20%3F"));
    }
}
