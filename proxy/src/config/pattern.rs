//! Decides how hosts and paths are written in a route.

use std::fmt;

/// Which hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name, in lower case.
    Exact(String),
    /// Every name that ends in this, which starts with a dot: `.example.com`.
    Below(String),
    /// Every name, and requests without one.
    Any,
}

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    /// This path only.
    Exact(String),
    /// Every path that starts with this.
    Prefix(String),
}

impl HostPattern {
    /// Reads `*`, `*.example.com` or `api.example.com`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let name = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
            !name.is_empty() && name.bytes().all(plain)
        };
        match lower.strip_prefix('*') {
            Some("") => Ok(Self::Any),
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') && name(suffix) => {
                Ok(Self::Below(suffix.to_owned()))
            }
            None if name(&lower) && host_of(&lower) == lower => Ok(Self::Exact(lower)),
            _ => Err(format!("must be a name without a port, \"*.example.com\" or \"*\", got {text:?}")),
        }
    }
}

impl PathPattern {
    /// Reads `/exact` or `/prefix*`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (path, is_prefix) = text.strip_suffix('*').map_or((text, false), |path| (path, true));
        if !path.starts_with('/') || path.contains(['*', '?', '#', ' ']) {
            return Err(format!("must start with / and may end with *, got {text:?}"));
        }
        let is_dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
        if path.contains(['%', '\\']) || path.contains("//") || is_dots {
            return Err(format!(
                "must be written decoded, without // and dots: so are paths compared, got {text:?}"
            ));
        }
        Ok(if is_prefix { Self::Prefix(path.to_owned()) } else { Self::Exact(path.to_owned()) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

/// The name in a Host header: without port and final dot.
pub(crate) fn host_of(header: &str) -> &str {
    let name = if header.starts_with('[') {
        header.find(']').map_or(header, |end| &header[..=end])
    } else {
        header.split_once(':').map_or(header, |(name, _)| name)
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for text in ["", "*x", "*.", "a b", "https://a", "example.com:80", "a/b"] {
            assert!(HostPattern::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "a", "*", "/a*b", "/a?b", "/a b", "/%61", "/a//b", "/a/../b", "/./*"] {
            assert!(PathPattern::parse(text).is_err(), "{text:?}");
        }
    }
}
