//! Walks the field lines of a head that was already checked, and knows the names that mean something to us.

/// A field name that decides about framing or forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Connection,
    ContentLength,
    Expect,
    Host,
    /// Strict-Transport-Security.
    Hsts,
    /// Meant for this connection only: never forwarded (RFC 9110 §7.6.1).
    HopByHop,
    /// Speaks for a client: believed from trusted proxies only.
    Forwarding,
    ForwardedFor,
    ForwardedProto,
    RealIp,
    RequestId,
    TraceParent,
    TraceState,
    TransferEncoding,
    Upgrade,
    /// Has an underscore: CGI and WSGI read it as a dash, so it could pass for a field that was checked.
    Ambiguous,
    Other,
}

/// What a field is called, in any case.
pub(crate) fn name(name: &[u8]) -> Name {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let found = match name.len() {
        2 if is(b"te") => Name::HopByHop,
        4 if is(b"host") => Name::Host,
        6 if is(b"expect") => Name::Expect,
        7 if is(b"upgrade") => Name::Upgrade,
        7 if is(b"trailer") => Name::HopByHop,
        9 if is(b"x-real-ip") => Name::RealIp,
        9 if is(b"forwarded") => Name::Forwarding,
        10 if is(b"connection") => Name::Connection,
        10 if is(b"keep-alive") => Name::HopByHop,
        10 if is(b"tracestate") => Name::TraceState,
        11 if is(b"traceparent") => Name::TraceParent,
        12 if is(b"x-request-id") => Name::RequestId,
        14 if is(b"content-length") => Name::ContentLength,
        14 if is(b"http2-settings") => Name::HopByHop,
        15 if is(b"x-forwarded-for") => Name::ForwardedFor,
        16 if is(b"proxy-connection") => Name::HopByHop,
        17 if is(b"transfer-encoding") => Name::TransferEncoding,
        17 if is(b"x-forwarded-proto") => Name::ForwardedProto,
        19 if is(b"proxy-authorization") => Name::HopByHop,
        25 if is(b"strict-transport-security") => Name::Hsts,
        _ => Name::Other,
    };
    match found {
        Name::Other if name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-")) => {
            Name::Forwarding
        }
        Name::Other if memchr::memchr(b'_', name).is_some() => Name::Ambiguous,
        found => found,
    }
}

/// One field of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The whole line, CRLF included.
    pub(crate) whole: &'a [u8],
    pub(crate) name: &'a [u8],
    /// Without the spaces around it.
    pub(crate) value: &'a [u8],
}

/// The fields of a head, from `fields` on to its empty line.
pub(crate) fn lines(fields: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut rest = fields;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)? + 1;
        let (whole, after) = rest.split_at(end);
        rest = after;
        let colon = memchr::memchr(b':', whole)?;
        Some(Line { whole, name: &whole[..colon], value: whole[colon + 1..].trim_ascii() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (text, expected) in [
            ("Host", Name::Host),
            ("X-FORWARDED-FOR", Name::ForwardedFor),
            ("x_forwarded_for", Name::Ambiguous),
            ("Te", Name::HopByHop),
            ("X-Forwarded-Ssl", Name::Forwarding),
            ("Accept", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(name(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn lines_end_with_the_head() {
        let found: Vec<(&[u8], &[u8])> =
            lines(b"A: 1\r\nB:\t two \r\n\r\nbody: no\r\n").map(|line| (line.name, line.value)).collect();
        assert_eq!(found, [(&b"A"[..], &b"1"[..]), (b"B", b"two")]);
    }
}
