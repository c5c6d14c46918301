//! Decides which request targets and hosts mean the same to every server that reads them.

use std::ops::Range;

use super::head::Rule;

/// What a target means.
pub(super) struct Form {
    /// Path and query, or `*`.
    pub(super) target: Range<usize>,
    /// The host of an absolute-form target.
    pub(super) authority: Option<Range<usize>>,
}

/// Reads the target of a request line (RFC 9112 §3.2).
pub(super) fn target_form(method: &str, range: Range<usize>, bytes: &[u8]) -> Result<Form, Rule> {
    let target = &bytes[range.clone()];
    // RFC 3986: visible ASCII; a fragment is never sent.
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Rule::Target);
    }
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Rule::Method);
    }
    // As nginx reads methods: other tokens are more likely an attack than an extension.
    if !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_') {
        return Err(Rule::RequestLine);
    }
    match target {
        [b'/', ..] if is_path(&bytes[path_of(range.clone(), bytes)]) => {
            return Ok(Form { target: range, authority: None });
        }
        [b'/', ..] => return Err(Rule::Target),
        b"*" if method == "OPTIONS" => return Ok(Form { target: range, authority: None }),
        _ => {}
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let after = scheme.ok_or(Rule::Target)?.len();
    let rest = &target[after..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = range.start + after..range.start + after + end;
    // A path must follow: an empty one would have to be made up (RFC 9112 §3.2.1).
    let target = authority.end..range.end;
    if !is_host(&bytes[authority.clone()])
        || rest.get(end) != Some(&b'/')
        || !is_path(&bytes[path_of(target.clone(), bytes)])
    {
        return Err(Rule::Target);
    }
    Ok(Form { target, authority: Some(authority) })
}

/// The target without its query.
pub(super) fn path_of(target: Range<usize>, bytes: &[u8]) -> Range<usize> {
    let query = memchr::memchr(b'?', &bytes[target.clone()]);
    target.start..query.map_or(target.end, |at| target.start + at)
}

/// Whether a path says the same to everyone: escapes are whole and none is NUL, and it does not climb above its
/// root (nginx refuses these too).
fn is_path(path: &[u8]) -> bool {
    let mut depth = 0_usize;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        let mut dots = Some(0);
        let mut rest = segment;
        while let [first, after @ ..] = rest {
            let (byte, after) = match (first, after) {
                (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) if high << 4 | low != 0 => (high << 4 | low, after),
                    _ => return false,
                },
                (b'%', _) => return false,
                (byte, after) => (*byte, after),
            };
            dots = dots.filter(|_| byte == b'.').map(|dots| dots + 1);
            rest = after;
        }
        match dots {
            Some(2) => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            Some(0 | 1) => {}
            _ => depth += 1,
        }
    }
    true
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether a host is a name or address with an optional port, and nothing that another server would read as
/// something else (RFC 9110 §7.2, RFC 3986 §3.2.2).
pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if !host.ends_with(b"]") => (&host[..at], Some(&host[at + 1..])),
        _ => (host, None),
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let name_is_good = match name {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => !name.is_empty() && name.len() <= 255 && name.iter().all(plain),
    };
    let digits = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    name_is_good && port.is_none_or(digits)
}
