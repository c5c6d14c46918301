//! Decides which alerts are not told for a while, because somebody said so, with a name, a reason and an end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rule::{Rule, Tier, built_in};
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
    #[serde(deserialize_with = "crate::whole::number")]
    pub seconds: u64,
}

/// Why there is no such silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody could ask them later.
    #[error("a silence needs an author: say who you are")]
    NoAuthor,
    /// Nobody would know later.
    #[error("a silence needs a reason, like \"disk is being replaced\"")]
    NoReason,
    /// Nothing would be silent.
    #[error("there is no rule {rule:?}; {hint}")]
    NoRule {
        /// What was asked for.
        rule: String,
        /// What there is.
        hint: String,
    },
    /// Everything would be silent.
    #[error("`*` is every rule: say with labels what it is about, like backend=app-1")]
    Everything,
    /// Nothing would be silent, either.
    #[error("no alert of {rule} has the label {label:?}; {has}")]
    NoLabel {
        /// The rule.
        rule: String,
        /// What was asked for.
        label: String,
        /// What they have.
        has: String,
    },
    /// It would never end, or has ended.
    #[error("a silence lasts from 1 second to 90 days")]
    Time,
    /// A text is longer than anybody reads.
    #[error("author and reason may have 200 characters each")]
    TooLong,
    /// It could not be shown in a line.
    #[error("author, reason and labels must not contain control characters")]
    Unreadable,
    /// There are too many.
    #[error("there are 500 silences: end some first")]
    TooMany,
}

impl Silence {
    /// A silence from now on; `rules` are those that there are.
    ///
    /// # Errors
    ///
    /// [`Refused`] says what is missing.
    pub fn new(wanted: Wanted, rules: &[Rule], now: Millis) -> Result<Self, Refused> {
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
        if [&author, &reason].into_iter().chain(labels.values()).any(|text| text.contains(char::is_control)) {
            return Err(Refused::Unreadable);
        }
        if rule == "*" && labels.is_empty() {
            return Err(Refused::Everything);
        }
        let mut meant = rules.iter().filter(|known| rule == "*" || known.name == rule).peekable();
        if meant.peek().is_none() {
            return Err(Refused::NoRule { hint: hint(&rule, rules), rule });
        }
        fits_some(&rule, &labels, meant)?;
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

/// The labels that alerts of a rule can have; `None` where its series say so themselves.
pub fn labels_of(rule: &Rule) -> Option<BTreeSet<&str>> {
    let mut labels = rule.expr.labels()?;
    labels.extend(rule.labels.keys().map(String::as_str));
    Some(labels)
}

/// What somebody may have meant who named a rule that there is not.
fn hint(rule: &str, rules: &[Rule]) -> String {
    if let Some(other) = built_in().into_iter().find(|known| known.name == rule) {
        return match other.tier {
            Tier::App => "it is one of the app's nodes: silence it there, with --app ADDR".to_owned(),
            Tier::Edge => "it is one of the edge's: silence it there, without --app".to_owned(),
        };
    }
    let near = rules.iter().map(|known| (strsim::damerau_levenshtein(&known.name, rule), &known.name));
    let near = near.min().filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    let near = near.map_or_else(String::new, |(_, name)| format!("did you mean {name}? "));
    let names: Vec<&str> = rules.iter().map(|known| known.name.as_str()).collect();
    format!("{near}there are {}, and `*` for any, with labels", names.join(", "))
}

/// Refuses labels that no alert of these rules can have.
fn fits_some<'r>(rule: &str, labels: &Labels, rules: impl Iterator<Item = &'r Rule>) -> Result<(), Refused> {
    let mut known = BTreeSet::new();
    for rule in rules {
        // Some rules ask for series as they are: then it is not known before.
        let Some(of_rule) = labels_of(rule) else { return Ok(()) };
        known.extend(of_rule);
    }
    let Some(label) = labels.keys().find(|label| !known.contains(label.as_str())) else { return Ok(()) };
    let has = match known.len() {
        0 => "there is one alert of it, without labels".to_owned(),
        _ => format!("they have {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let rule = if rule == "*" { "any rule" } else { rule };
    Err(Refused::NoLabel { rule: rule.to_owned(), label: label.clone(), has })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges() -> Vec<Rule> {
        built_in().into_iter().filter(|rule| rule.tier == Tier::Edge).collect()
    }

    fn wanted(rule: &str, labels: &[(&str, &str)], author: &str, reason: &str, seconds: u64) -> Wanted {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Wanted { rule: rule.into(), labels, author: author.into(), reason: reason.into(), seconds }
    }

    #[test]
    fn a_silence_has_an_author_a_reason_and_an_end() {
        let long = "x".repeat(201);
        for (wanted, expected) in [
            (wanted("BackendDown", &[], "ada", "disk", 60), Ok(())),
            (wanted("*", &[("backend", "a")], "ada", "disk", 60), Ok(())),
            (wanted("*", &[], "ada", "disk", 60), Err(Refused::Everything)),
            (wanted("BackendDown", &[], " ", "disk", 60), Err(Refused::NoAuthor)),
            (wanted("BackendDown", &[], "ada", "", 60), Err(Refused::NoReason)),
            (wanted("BackendDown", &[], "ada", &long, 60), Err(Refused::TooLong)),
            (wanted("BackendDown", &[], "ada", "a\0b", 60), Err(Refused::Unreadable)),
            (wanted("BackendDown", &[], "a\nda", "disk", 60), Err(Refused::Unreadable)),
            (wanted("BackendDown", &[("backend", "a\0")], "ada", "disk", 60), Err(Refused::Unreadable)),
            (wanted("BackendDown", &[], "ada", "disk", 0), Err(Refused::Time)),
            (wanted("BackendDown", &[], "ada", "disk", u64::MAX), Err(Refused::Time)),
        ] {
            let shown = format!("{wanted:?}");
            assert_eq!(Silence::new(wanted, &edges(), 1_000).map(drop), expected, "{shown}");
        }
    }

    #[test]
    fn a_silence_of_nothing_is_refused_with_what_there_is() {
        for (rule, labels, expected) in [
            (
                "BackendDwon",
                &[][..],
                "there is no rule \"BackendDwon\"; did you mean BackendDown? there are BackendDown, ",
            ),
            ("Volcano", &[], "there is no rule \"Volcano\"; there are BackendDown, "),
            (
                "HighErrorRate",
                &[],
                "there is no rule \"HighErrorRate\"; it is one of the app's nodes: silence it there, with --app ADDR",
            ),
            (
                "BackendDown",
                &[("backnd", "a")],
                "no alert of BackendDown has the label \"backnd\"; they have backend, upstream",
            ),
            (
                "EdgeErrors",
                &[("backend", "a")],
                "no alert of EdgeErrors has the label \"backend\"; there is one alert of it, without labels",
            ),
            (
                "*",
                &[("node", "a")],
                "no alert of any rule has the label \"node\"; they have backend, certificate, listener, upstream",
            ),
        ] {
            let refused = Silence::new(wanted(rule, labels, "ada", "disk", 60), &edges(), 0).unwrap_err();
            assert!(refused.to_string().starts_with(expected), "{refused}");
        }
    }

    #[test]
    fn it_fits_by_rule_and_labels_and_ends() {
        let silence =
            Silence::new(wanted("BackendDown", &[("backend", "1")], "ada", "disk", 60), &edges(), 1_000)
                .unwrap();
        let alert = |rule: &str, b: &str| Alert {
            rule: rule.into(),
            labels: [("upstream".to_owned(), "0".to_owned()), ("backend".to_owned(), b.to_owned())].into(),
            severity: crate::alert::Severity::Info,
            title: String::new(),
            summary: String::new(),
            facts: vec![],
            since: 0,
        };
        assert!(silence.fits(&alert("BackendDown", "1")));
        assert!(!silence.fits(&alert("BackendDown", "2")) && !silence.fits(&alert("Up", "1")));
        assert!(silence.is_on(1_000) && silence.is_on(60_999) && !silence.is_on(61_000));
    }
}
