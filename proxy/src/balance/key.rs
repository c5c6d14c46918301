//! Decides what a request is recognised by when a hash chooses its backend.

use std::net::IpAddr;

use super::Key;
use crate::config::policy::HashBy;

/// The key of a request; `values` finds a header's values, by its name in lower case.
pub(crate) fn key<'v>(
    by: &HashBy,
    client: IpAddr,
    path: &[u8],
    values: impl Fn(&str) -> Vec<&'v [u8]>,
) -> Key {
    let found = match by {
        HashBy::Client => None,
        HashBy::Path => Some(path),
        HashBy::Header(name) => values(name).first().copied(),
        HashBy::Cookie(name) => values("cookie").into_iter().find_map(|line| cookie(line, name.as_bytes())),
    };
    found.filter(|value| !value.is_empty()).map_or_else(|| Key::of_address(client), Key::of)
}

/// A cookie's value in one line of cookies (RFC 6265 §5.4).
fn cookie<'v>(line: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    line.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    fn key_of(by: &HashBy, headers: &[(&str, &'static str)]) -> Key {
        let values = |name: &str| {
            headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| value.as_bytes()).collect()
        };
        key(by, CLIENT, b"/a", values)
    }

    #[test]
    fn each_way_takes_its_part_of_the_request_and_else_the_address() {
        let client = Key::of_address(CLIENT);
        let header = || HashBy::Header("x-user".to_owned());
        let cookie = || HashBy::Cookie("sid".to_owned());
        for (by, headers, expected) in [
            (HashBy::Client, &[("x-user", "7")][..], client),
            (HashBy::Path, &[], Key::of(b"/a")),
            (header(), &[("x-user", "7"), ("x-user", "8")], Key::of(b"7")),
            (header(), &[], client),
            (header(), &[("x-user", "")], client),
            (cookie(), &[("cookie", "xsid=1; sid=abc; sid=later")], Key::of(b"abc")),
            (cookie(), &[("cookie", "a=1"), ("cookie", "sid=abc")], Key::of(b"abc")),
            (cookie(), &[("cookie", "sid=a=b")], Key::of(b"a=b")),
            (cookie(), &[("cookie", "sidx=1; xsid=2; sid")], client),
        ] {
            assert_eq!(key_of(&by, headers), expected, "{by:?} {headers:?}");
        }
    }
}
