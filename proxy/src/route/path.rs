//! Decides which path is meant, however it is written: routes are compared with this, as nginx's locations are.
//!
//! Escapes are decoded, `.` and `..` resolved and repeated slashes merged, so that no spelling leads past the
//! route of a place. What is forwarded stays as it was written.

use std::borrow::Cow;

/// The path to compare with; borrowed where nothing had to change.
pub(crate) fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    let is_normal = memchr::memchr(b'%', path).is_none()
        && !path.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'));
    if is_normal {
        return Cow::Borrowed(path);
    }
    let decoded = decoded(path);
    let mut normal = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|byte| *byte == b'/').peekable();
    // What stands before the first slash is nothing.
    segments.next();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." | b"" => {}
            b".." => normal.truncate(memchr::memrchr(b'/', &normal).unwrap_or(0)),
            name => {
                normal.push(b'/');
                normal.extend_from_slice(name);
                continue;
            }
        }
        if is_last {
            normal.push(b'/');
        }
    }
    Cow::Owned(normal)
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = after;
            }
            (byte, _) => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_place_has_one_name() {
        for (written, meant) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/./b/.", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/%61dmin", "/admin"),
            ("/public/%2e%2e/admin", "/admin"),
            ("/public%2f..%2Fadmin", "/admin"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a%2", "/a%2"),
            ("/.hidden", "/.hidden"),
            ("/a/...", "/a/..."),
            ("/a%20b", "/a b"),
        ] {
            assert_eq!(normal(written.as_bytes()), meant.as_bytes(), "{written}");
        }
    }

    proptest! {
        #[test]
        fn what_is_compared_starts_at_the_root_and_names_no_way_up(path in "/[a./%2eF]{0,12}") {
            let normal = normal(path.as_bytes()).into_owned();
            prop_assert_eq!(normal.first(), Some(&b'/'));
            let climbs = normal.split(|byte| *byte == b'/').any(|segment| segment == b".." || segment == b".");
            prop_assert!(!climbs);
        }
    }
}
