//! Applies an operator's header rules to a head as it is written, byte for byte or through pingora.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::config::policy::HeaderRules;
use crate::config::template::Facts;

/// Rules, and the request that fills them in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) rules: &'a HeaderRules,
    pub(crate) facts: Facts<'a>,
}

impl<'a> Edit<'a> {
    /// Nothing where no rule asks for anything.
    pub(crate) fn of(rules: &'a HeaderRules, facts: impl FnOnce() -> Facts<'a>) -> Option<Self> {
        (!rules.is_empty()).then(|| Self { rules, facts: facts() })
    }

    /// Whether a field of this name that was there stays.
    pub(crate) fn keeps(&self, name: &[u8]) -> bool {
        !self.rules.replaces(name)
    }

    /// Appends the fields to write. One that comes out empty is not written, as in nginx.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        for (name, value) in self.rules.written() {
            let start = out.len();
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            let before = out.len();
            value.fill(&self.facts, out);
            if out.len() == before {
                out.truncate(start);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The names that go, and the fields to put in their place or beside others.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.rules.written().filter_map(|(name, value)| {
            let mut text = Vec::new();
            value.fill(&self.facts, &mut text);
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(&text).ok()?)).filter(|_| !text.is_empty())
        })
    }

    /// The names of the fields that are there and go.
    pub(crate) fn gone(&self, present: &HeaderMap) -> Vec<HeaderName> {
        present.keys().filter(|name| !self.keeps(name.as_str().as_bytes())).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template::Template;

    fn rules() -> HeaderRules {
        let field = |name: &str, value: &str| (name.into(), Template::parse(value).unwrap());
        HeaderRules {
            set: vec![field("X-Host", "{host}"), field("X-Gone", "")],
            add: vec![field("X-More", "one")],
            remove: vec!["Server".into()],
        }
    }

    #[test]
    fn what_is_set_replaces_what_is_added_stands_beside_and_what_is_removed_goes() {
        let rules = rules();
        let edit = Edit::of(&rules, || Facts { path: b"/", ..Facts::example() }).unwrap();
        for (name, stays) in
            [("x-host", false), ("X-GONE", false), ("server", false), ("X-More", true), ("Other", true)]
        {
            assert_eq!(edit.keeps(name.as_bytes()), stays, "{name}");
        }
        let mut out = Vec::new();
        edit.append(&mut out);
        assert_eq!(out, b"X-Host: api.example.com\r\nX-More: one\r\n");
        let fields: Vec<_> = edit.fields().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(fields, ["x-host=\"api.example.com\"", "x-more=\"one\""]);
    }

    #[test]
    fn no_rules_cost_nothing() {
        assert!(Edit::of(&HeaderRules::default(), || unreachable!("nothing is looked up")).is_none());
    }
}
