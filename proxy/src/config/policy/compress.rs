//! Which answers are compressed, and how.

/// A content coding (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// The spellings of [`Coding`], in a file and on the wire.
pub const CODING: [(&str, Coding); 3] =
    [("gzip", Coding::Gzip), ("br", Coding::Brotli), ("zstd", Coding::Zstd)];

impl Coding {
    /// How many there are.
    pub const COUNT: usize = CODING.len();

    /// The coding of this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        let is = |(known, _): &&(&str, Self)| name.eq_ignore_ascii_case(known.as_bytes());
        CODING.iter().find(is).map(|(_, coding)| *coding)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        CODING.iter().find(|(_, coding)| *coding == self).map_or("", |(name, _)| name)
    }
}

/// Which answers are compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compress {
    /// How, best first; empty: never.
    pub encodings: Vec<Coding>,
    /// Media types, `text/*` for all of a kind.
    pub types: Vec<Box<str>>,
    /// The smallest, in bytes, where the size is known.
    pub min_size: u64,
}
