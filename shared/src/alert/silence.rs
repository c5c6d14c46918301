//! Decides which alerts are not told for a while, because somebody said so, with a name, a reason and an end.

use serde::{Deserialize, Serialize};

use super::{Alert, Labels, Millis};

/// Silences at once.
pub const MOST: usize = 500;

/// The longest: 90 days.
pub const LONGEST: Millis = 90 * 24 * 3_600_000;

/// An alert that it fits is not told until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its name, for whoever ends it early.
    pub id: String,
    /// A rule's name; `*` is any.
    pub rule: String,
    /// Labels that must have these values.
    #[serde(default)]
    pub labels: Labels,
    /// Who said so.
    pub author: String,
    /// Why.
    pub reason: String,
    /// From when on.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
}

/// What somebody asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// A rule's name; `*` is any.
    pub rule: String,
    /// Labels that must have these values.
    #[serde(default)]
    pub labels: Labels,
    /// Who says so.
    #[serde(default)]
    pub author: String,
    /// Why.
    pub reason: String,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// Why there is no such silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody could ask them later.
    #[error("a silence needs an author: say who you are")]
    NoAuthor,
    /// Nobody would know later.
    #[error("a silence needs a reason, like \"disk is being replaced\"")]
    NoReason,
    /// Nothing would be silent.
    #[error("there is no rule of this name; `*` is any, with labels")]
    NoRule,
    /// It would never end, or has ended.
    #[error("a silence lasts from 1 second to 90 days")]
    Time,
    /// A text is longer than anybody reads.
    #[error("author and reason may have 200 characters each")]
    TooLong,
    /// There are too many.
    #[error("there are 500 silences: end some first")]
    TooMany,
}

impl Silence {
    /// A silence from now on; `rules` are the names that there are.
    ///
    /// # Errors
    ///
    /// [`Refused`] says what is missing.
    pub fn new(wanted: Wanted, rules: &[&str], now: Millis) -> Result<Self, Refused> {
        let Wanted { rule, labels, author, reason, seconds } = wanted;
        let (author, reason) = (author.trim().to_owned(), reason.trim().to_owned());
        if author.is_empty() {
            return Err(Refused::NoAuthor);
        }
        if reason.is_empty() {
            return Err(Refused::NoReason);
        }
        if author.chars().count() > 200 || reason.chars().count() > 200 {
            return Err(Refused::TooLong);
        }
        if (rule == "*" && labels.is_empty()) || (rule != "*" && !rules.contains(&rule.as_str())) {
            return Err(Refused::NoRule);
        }
        let lasting = seconds.saturating_mul(1000);
        if !(1000..=LONGEST).contains(&lasting) {
            return Err(Refused::Time);
        }
        let id = format!("{:08x}", crate::request_id::random() >> 32);
        Ok(Self { id, rule, labels, author, reason, from: now, until: now + lasting })
    }

    /// Whether it holds now.
    pub fn is_on(&self, now: Millis) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// Whether it is about this alert.
    pub fn fits(&self, alert: &Alert) -> bool {
        let is_rule = self.rule == "*" || self.rule == alert.rule;
        is_rule && self.labels.iter().all(|(name, value)| alert.labels.get(name) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(rule: &str, labels: &[(&str, &str)], author: &str, reason: &str, seconds: u64) -> Wanted {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Wanted { rule: rule.into(), labels, author: author.into(), reason: reason.into(), seconds }
    }

    #[test]
    fn a_silence_has_an_author_a_reason_and_an_end() {
        let long = "x".repeat(201);
        for (wanted, expected) in [
            (wanted("Down", &[], "ada", "disk", 60), Ok(())),
            (wanted("*", &[("backend", "a")], "ada", "disk", 60), Ok(())),
            (wanted("*", &[], "ada", "disk", 60), Err(Refused::NoRule)),
            (wanted("Dwon", &[], "ada", "disk", 60), Err(Refused::NoRule)),
            (wanted("Down", &[], " ", "disk", 60), Err(Refused::NoAuthor)),
            (wanted("Down", &[], "ada", "", 60), Err(Refused::NoReason)),
            (wanted("Down", &[], "ada", &long, 60), Err(Refused::TooLong)),
            (wanted("Down", &[], "ada", "disk", 0), Err(Refused::Time)),
            (wanted("Down", &[], "ada", "disk", u64::MAX), Err(Refused::Time)),
        ] {
            let shown = format!("{wanted:?}");
            assert_eq!(Silence::new(wanted, &["Down"], 1_000).map(drop), expected, "{shown}");
        }
    }

    #[test]
    fn it_fits_by_rule_and_labels_and_ends() {
        let silence =
            Silence::new(wanted("Down", &[("b", "1")], "ada", "disk", 60), &["Down"], 1_000).unwrap();
        let alert = |rule: &str, b: &str| Alert {
            rule: rule.into(),
            labels: [("a".to_owned(), "0".to_owned()), ("b".to_owned(), b.to_owned())].into(),
            severity: crate::alert::Severity::Info,
            title: String::new(),
            summary: String::new(),
            facts: vec![],
            since: 0,
        };
        assert!(silence.fits(&alert("Down", "1")));
        assert!(!silence.fits(&alert("Down", "2")) && !silence.fits(&alert("Up", "1")));
        assert!(silence.is_on(1_000) && silence.is_on(60_999) && !silence.is_on(61_000));
    }
}
