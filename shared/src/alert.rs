//! Decides what an alert is: a rule that holds, for which labels, since when and how bad it is.
//!
//! In reading order: [`expr`] is what a rule asks, [`history`] what it asks of, [`rule`] reads rules from data,
//! [`engine`] turns answers into alerts, [`notice`] alerts into messages that are due, [`channel`] sends them, [`fleet`]
//! sees to it that one process does, and [`watch`] runs it all. [`raise`] is for code that knows of a problem itself.

pub mod channel;
pub mod config;
pub mod engine;
pub mod expr;
pub mod fleet;
pub mod history;
pub mod message;
pub mod metrics;
pub mod notice;
pub mod outbox;
pub mod raise;
pub mod rule;
pub mod silence;
pub mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A moment: milliseconds since 1970 UTC. Alerts are compared between machines, so it is the clock on the wall.
pub type Millis = u64;

/// What tells alerts of one rule apart, and samples of one metric.
pub type Labels = BTreeMap<String, String>;

/// How bad it is; the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look today.
    #[default]
    Warning,
    /// Something fails.
    Error,
    /// Somebody must look now.
    Critical,
    /// Nothing works any more.
    Emergency,
}

impl Severity {
    /// What each is called.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("info", Self::Info),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
        ("emergency", Self::Emergency),
    ];

    /// What it is called.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, severity)| *severity == self).map_or("warning", |(word, _)| word)
    }

    /// The severity of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, severity)| *severity)
    }
}

/// A problem that was found and is still there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name; alerts of one rule are told together.
    pub rule: String,
    /// What it is about: bounded sets only, never a client's words.
    pub labels: Labels,
    /// How bad it is.
    pub severity: Severity,
    /// The first words of a message.
    pub title: String,
    /// The problem in a sentence, with the value against the threshold.
    pub summary: String,
    /// What was found, and what would have been right, for people.
    pub facts: Vec<(String, String)>,
    /// Since when it is told.
    pub since: Millis,
}

impl Alert {
    /// The same for the same problem, on whatever machine: of the rule and the labels.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.rule, &self.labels)
    }
}

/// 16 hexadecimal digits that stand for a rule and its labels.
pub fn fingerprint(rule: &str, labels: &Labels) -> String {
    let mut digest = Sha256::new();
    digest.update(rule);
    for (name, value) in labels {
        for part in [name, value] {
            digest.update([0xff]);
            digest.update(part);
        }
    }
    hex(&digest.finalize()[..8])
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What time it is.
pub fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: std::time::Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as people and programs read it: RFC 3339, UTC, in seconds.
pub fn shown(at: Millis) -> String {
    let seconds = i64::try_from(at / 1000).unwrap_or(0);
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_the_rule_and_every_label() {
        let of = |rule: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            fingerprint(rule, &labels)
        };
        let one = of("A", &[("x", "1"), ("y", "2")]);
        assert_eq!(one, of("A", &[("y", "2"), ("x", "1")]));
        for other in
            [of("B", &[("x", "1"), ("y", "2")]), of("A", &[("x", "1")]), of("A", &[("x", "1y"), ("", "2")])]
        {
            assert_ne!(one, other);
        }
        assert_eq!(one.len(), 16);
    }

    #[test]
    fn severities_are_ordered_and_named() {
        assert!(Severity::Emergency > Severity::Critical && Severity::Warning > Severity::Info);
        for (word, severity) in Severity::WORDS {
            assert_eq!((Severity::parse(word), severity.word()), (Some(severity), word));
        }
    }

    #[test]
    fn a_moment_is_shown_in_utc() {
        assert_eq!(shown(1_700_000_000_123), "2023-11-14T22:13:20Z");
    }
}
