//! Decides whether an answer is compressed, and how, and what its head says then.

pub(crate) mod encoder;

use crate::config::policy::{Coding, Compress};

/// What an answer's head says, as far as compressing depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) status: u16,
    /// Its length, where that is known.
    pub(crate) length: Option<u64>,
    pub(crate) content_type: &'a [u8],
    /// Whether it is encoded already, or a part of something, or says that its bytes must stay as they are.
    pub(crate) is_fixed: bool,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: it is not one that is ever compressed.
    AsIs,
    /// Nothing, for this client; caches must know that others get it compressed.
    Varies,
    /// It is compressed.
    Coded(Coding),
}

impl Plan {
    /// The coding, if there is one.
    pub(crate) fn coding(self) -> Option<Coding> {
        match self {
            Self::Coded(coding) => Some(coding),
            Self::AsIs | Self::Varies => None,
        }
    }

    /// The plan for an answer to a client with these `Accept-Encoding` fields.
    pub(crate) fn of<'f>(
        rule: &Compress,
        facts: &Facts<'_>,
        accepts: impl Iterator<Item = &'f [u8]>,
    ) -> Self {
        if rule.encodings.is_empty() || facts.is_fixed || !has_content(facts.status) {
            return Self::AsIs;
        }
        if facts.length.is_some_and(|length| length == 0 || length < rule.min_size)
            || !is_listed(rule, facts.content_type)
        {
            return Self::AsIs;
        }
        choose(&rule.encodings, accepts).map_or(Self::Varies, Self::Coded)
    }
}

/// Whether a field of an answer means that its bytes must stay as they are (RFC 9110 §8.4, §14.4, RFC 9111 §5.2.2.6,
/// RFC 9530).
pub(crate) fn fixes(name: &[u8], value: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        16 if is("content-encoding") => !value.eq_ignore_ascii_case(b"identity"),
        13 if is("content-range") => true,
        13 if is("cache-control") => {
            words(value).any(|(directive, _)| directive.eq_ignore_ascii_case(b"no-transform"))
        }
        11 if is("content-md5") || is("repr-digest") => true,
        14 if is("content-digest") => true,
        6 if is("digest") => true,
        _ => false,
    }
}

/// Whether a field of an answer cannot stay as it is when the answer is compressed: how it is then.
pub(crate) fn changed(name: &[u8], value: &[u8]) -> Option<Changed> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        // What a range of the plain bytes would be is not what a client could put together.
        13 if is("accept-ranges") => Some(Changed::Gone),
        16 if is("content-encoding") => Some(Changed::Gone),
        4 if is("etag") && value.starts_with(b"\"") => Some(Changed::Weak),
        _ => None,
    }
}

/// How a field changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Gone,
    /// A strong validator names bytes, and these are others (RFC 9110 §8.8.1).
    Weak,
}

/// Whether a `Vary` field says already that the answer depends on Accept-Encoding.
pub(crate) fn varies(value: &[u8]) -> bool {
    words(value).any(|(name, _)| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// A 206 is a part, and what has no content has nothing to compress.
fn has_content(status: u16) -> bool {
    !matches!(status, 100..200 | 204 | 205 | 206 | 304)
}

fn is_listed(rule: &Compress, content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let written = content_type[..end].trim_ascii();
    rule.types.iter().any(|listed| match listed.strip_suffix("/*") {
        Some(main) => {
            written.get(..main.len()).is_some_and(|start| start.eq_ignore_ascii_case(main.as_bytes()))
                && written.get(main.len()) == Some(&b'/')
        }
        None => written.eq_ignore_ascii_case(listed.as_bytes()),
    })
}

/// The coding that a client likes best; among equals the one that the operator lists first (RFC 9110 §12.5.3).
fn choose<'f>(offered: &[Coding], accepts: impl Iterator<Item = &'f [u8]>) -> Option<Coding> {
    let (mut weights, mut others, mut plain) = ([None; Coding::COUNT], None, None);
    for (name, weight) in accepts.flat_map(words) {
        let place = if name == b"*" {
            &mut others
        } else if name.eq_ignore_ascii_case(b"identity") {
            &mut plain
        } else if let Some(coding) = Coding::named(name) {
            &mut weights[coding as usize]
        } else {
            continue;
        };
        *place = Some(weight);
    }
    let weight = |coding: Coding| weights[coding as usize].or(others).unwrap_or(0);
    let best = offered.iter().copied().max_by_key(|coding| {
        let place = offered.iter().position(|other| other == coding).unwrap_or_default();
        (weight(*coding), std::cmp::Reverse(place))
    })?;
    // Somebody who would rather have it plain gets it plain.
    (weight(best) > 0 && weight(best) >= plain.unwrap_or(0)).then_some(best)
}

/// The members of a list, each with its weight in thousandths.
fn words(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    value.split(|byte| *byte == b',').map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| match part {
            [b'q' | b'Q', b'=', weight @ ..] => Some(thousandths(weight)),
            _ => None,
        });
        (name, weight.unwrap_or(1000))
    })
}

/// `0.5` as 500; what is no weight is none (RFC 9110 §12.4.2).
fn thousandths(weight: &[u8]) -> u16 {
    let (whole, rest) = weight.split_first().map_or((b'0', &b""[..]), |(first, rest)| (*first, rest));
    let digits = rest.strip_prefix(b".").unwrap_or(rest);
    let is_number =
        digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) && (rest.is_empty() || rest[0] == b'.');
    match whole {
        b'1' if is_number => 1000,
        b'0' if is_number => (0..3)
            .fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| u16::from(digit - b'0'))),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Compress {
        Compress {
            encodings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            types: vec!["text/*".into(), "application/json".into()],
            min_size: 100,
        }
    }

    fn page() -> Facts<'static> {
        Facts { status: 200, length: Some(1000), content_type: b"text/html; charset=utf-8", is_fixed: false }
    }

    fn plan(facts: &Facts<'_>, accepts: &str) -> Plan {
        Plan::of(&rule(), facts, std::iter::once(accepts.as_bytes()))
    }

    #[test]
    fn the_clients_weights_decide_and_then_the_operators_order() {
        for (accepts, expected) in [
            ("gzip, deflate, br, zstd", Plan::Coded(Coding::Zstd)),
            ("gzip, br", Plan::Coded(Coding::Brotli)),
            ("gzip", Plan::Coded(Coding::Gzip)),
            ("x-gzip", Plan::Coded(Coding::Gzip)),
            ("GZIP;Q=0.1", Plan::Coded(Coding::Gzip)),
            ("zstd;q=0.5, gzip;q=0.9, br;q=0.9", Plan::Coded(Coding::Brotli)),
            ("*", Plan::Coded(Coding::Zstd)),
            ("*;q=0.1, gzip", Plan::Coded(Coding::Gzip)),
            ("zstd;q=0, *;q=0.5", Plan::Coded(Coding::Brotli)),
            ("gzip;q=0.5, identity", Plan::Varies),
            ("gzip;q=0", Plan::Varies),
            ("gzip;q=2", Plan::Varies),
            ("gzip;q=0.0001", Plan::Varies),
            ("deflate, compress", Plan::Varies),
            ("identity", Plan::Varies),
            ("", Plan::Varies),
        ] {
            assert_eq!(plan(&page(), accepts), expected, "{accepts:?}");
        }
    }

    #[test]
    fn only_content_that_gains_and_may_change_is_compressed() {
        let plain = Plan::AsIs;
        for (facts, expected) in [
            (page(), Plan::Coded(Coding::Gzip)),
            (Facts { length: None, ..page() }, Plan::Coded(Coding::Gzip)),
            (Facts { status: 404, ..page() }, Plan::Coded(Coding::Gzip)),
            (Facts { content_type: b"Application/JSON", ..page() }, Plan::Coded(Coding::Gzip)),
            (Facts { length: Some(99), ..page() }, plain),
            (Facts { content_type: b"image/png", ..page() }, plain),
            (Facts { content_type: b"textual/html", ..page() }, plain),
            (Facts { content_type: b"", ..page() }, plain),
            (Facts { is_fixed: true, ..page() }, plain),
            (Facts { status: 206, ..page() }, plain),
            (Facts { status: 204, ..page() }, plain),
            (Facts { status: 304, ..page() }, plain),
        ] {
            assert_eq!(plan(&facts, "gzip"), expected, "{facts:?}");
        }
        let off = Compress { encodings: Vec::new(), ..rule() };
        assert_eq!(Plan::of(&off, &page(), std::iter::once(&b"gzip"[..])), plain);
    }

    #[test]
    fn fields_that_speak_of_the_bytes_are_heard() {
        for (name, value, expected) in [
            ("Content-Encoding", "gzip", true),
            ("Content-Encoding", "identity", false),
            ("Content-Range", "bytes 0-1/2", true),
            ("Cache-Control", "private, no-transform", true),
            ("Cache-Control", "max-age=1", false),
            ("Content-Digest", "sha-256=:x:", true),
            ("Content-MD5", "x", true),
            ("Repr-Digest", "sha-256=:x:", true),
            ("Content-Type", "text/html", false),
        ] {
            assert_eq!(fixes(name.as_bytes(), value.as_bytes()), expected, "{name}: {value}");
        }
        assert_eq!(changed(b"ETag", b"\"a\""), Some(Changed::Weak));
        assert_eq!(changed(b"ETag", b"W/\"a\""), None);
        assert_eq!(changed(b"Accept-Ranges", b"bytes"), Some(Changed::Gone));
        assert!(varies(b"Origin, accept-encoding") && varies(b"*") && !varies(b"Origin"));
    }
}
