//! Decides which certificates are for a name: those that say it, then those with a wildcard for it.

use std::collections::HashMap;

/// Which certificates are good for which names, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<String, Vec<usize>>,
    /// By what follows the first label: `*.example.com` is kept as `example.com`.
    below: HashMap<String, Vec<usize>>,
}

impl Names {
    /// The names of these certificates, in their order.
    pub(super) fn new<'a>(certificates: impl Iterator<Item = &'a [String]>) -> Self {
        let mut names = Self::default();
        for (number, certificate) in certificates.enumerate() {
            for name in certificate {
                let numbers = match name.strip_prefix("*.") {
                    Some(parent) => names.below.entry(parent.to_owned()).or_default(),
                    None => names.exact.entry(name.clone()).or_default(),
                };
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        names
    }

    /// The certificates for a name, in their order; `None`: none is good for it.
    ///
    /// A wildcard stands for one label (RFC 6125 §6.4.3).
    pub(super) fn find(&self, name: &str) -> Option<&[usize]> {
        let lower;
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        let parent = || name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
        self.exact.get(name).or_else(|| self.below.get(parent()?)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_a_wildcard_is_one_label() {
        let certificates: [&[&str]; 4] = [
            &["example.com", "www.example.com"],
            &["*.example.com"],
            &["api.example.com"],
            &["api.example.com", "api.example.com"],
        ];
        let certificates: Vec<Vec<String>> =
            certificates.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect();
        let names = Names::new(certificates.iter().map(Vec::as_slice));
        for (name, expected) in [
            ("example.com", Some(&[0][..])),
            ("WWW.Example.COM", Some(&[0])),
            ("www.example.com.", Some(&[0])),
            ("other.example.com", Some(&[1])),
            ("api.example.com", Some(&[2, 3])),
            ("a.b.example.com", None),
            (".example.com", None),
            ("example.org", None),
            ("com", None),
            ("", None),
        ] {
            assert_eq!(names.find(name), expected, "{name}");
        }
    }
}
