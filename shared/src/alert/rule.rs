//! Reads rules from data: what is asked, from which value on it is a problem, and what is said then.
//!
//! The rules that hold by default are `monitoring/alerts/rules.toml`, compiled in; a file of an operator's replaces them.

pub mod prometheus;
pub mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::expr::Expr;
use super::{Labels, Millis, Severity, millis};
use crate::config::{Invalid, Problems, read_file, read_text};

/// The rules that hold by default.
pub const BUILT_IN: &str = include_str!("../../../monitoring/alerts/rules.toml");

/// Rules in one file.
const MOST_RULES: usize = 200;

/// Which tier a rule is about: the job of its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The app's nodes.
    App,
    /// The edges.
    Edge,
}

impl Tier {
    /// What it is called, in rules and as the label `job`.
    pub fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Edge => "edge",
        }
    }
}

/// From which value on it is a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// More than this.
    Above(f64),
    /// Less than this.
    Below(f64),
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, as in `docs/runbooks/`.
    pub name: String,
    /// Whose metrics it asks.
    pub tier: Tier,
    /// How bad it is.
    pub severity: Severity,
    /// The first words of a message.
    pub title: String,
    /// A sentence with `{value}`, `{threshold}` and labels in braces.
    pub summary: String,
    /// What is shown beside it, name and value, with the same placeholders.
    pub facts: Vec<(String, String)>,
    /// What is asked.
    pub expr: Expr,
    /// The same as written.
    pub text: String,
    /// From which value on it is a problem.
    pub bound: Bound,
    /// How long it must hold before it is told.
    pub hold: Millis,
    /// How long it must have ended before that is told.
    pub keep: Millis,
    /// Labels that its alerts have beside those of their series.
    pub labels: Labels,
    /// It is not told while one of these rules is.
    pub inhibited_by: Vec<String>,
    /// Only while these labels have the same values.
    pub inhibited_equal: Vec<String>,
    /// Which dashboard shows it.
    pub dashboard: String,
}

impl Bound {
    /// The number.
    pub fn threshold(self) -> f64 {
        match self {
            Self::Above(threshold) | Self::Below(threshold) => threshold,
        }
    }

    /// Whether this value is a problem.
    pub fn is_broken_by(self, value: f64) -> bool {
        match self {
            Self::Above(threshold) => value > threshold,
            Self::Below(threshold) => value < threshold,
        }
    }

    fn with(self, threshold: f64) -> Self {
        match self {
            Self::Above(_) => Self::Above(threshold),
            Self::Below(_) => Self::Below(threshold),
        }
    }
}

impl Rule {
    /// A text of the rule with its placeholders filled in.
    pub fn fill(&self, text: &str, labels: &Labels, value: f64) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                out.push('{');
                rest = after;
                continue;
            };
            match name {
                "value" => out.push_str(&number(value)),
                "threshold" => out.push_str(&number(self.bound.threshold())),
                name => out.push_str(labels.get(name).map_or("", String::as_str)),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// A number for people: whole where it is, else with as many digits as tell something.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || (value - value.round()).abs() < 1e-9 => 0,
        size if size >= 1.0 => 1,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Reads the rules of a tier: the built-in ones, or a file's.
///
/// # Errors
///
/// [`Invalid`] with every problem of the file.
pub fn load(path: Option<&Path>, tier: Tier) -> Result<Vec<Rule>, Invalid> {
    let mut rules = match path {
        Some(path) => read_file(path, parse)?,
        None => built_in(),
    };
    rules.retain(|rule| rule.tier == tier);
    Ok(rules)
}

/// The rules that hold by default, of both tiers.
pub fn built_in() -> Vec<Rule> {
    read_text("monitoring/alerts/rules.toml", BUILT_IN, parse)
        .expect("the built-in rules are checked by a test")
}

/// Puts other thresholds in place; those that name no rule are handed back.
pub fn adjust(rules: &mut [Rule], thresholds: &BTreeMap<String, f64>) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, threshold) in thresholds {
        match rules.iter_mut().find(|rule| rule.name == *name) {
            Some(rule) => rule.bound = rule.bound.with(*threshold),
            None => unknown.push(name.clone()),
        }
    }
    unknown
}

fn parse(file: raw::File, problems: &mut Problems) -> Vec<Rule> {
    let mut names = BTreeSet::new();
    let rows = file.rules.unwrap_or_default();
    if rows.len() > MOST_RULES {
        problems.push("rules", format!("must be at most {MOST_RULES}"));
    }
    let all: BTreeSet<String> = rows.iter().filter_map(|row| row.name.clone()).collect();
    let mut rules = Vec::new();
    for (index, row) in rows.into_iter().take(MOST_RULES).enumerate() {
        let at = format!("rules[{index}]");
        if let Some(rule) = one(&at, row, &all, problems) {
            if !names.insert(rule.name.clone()) {
                problems.push(&format!("{at}.name"), format!("there is another rule {:?}", rule.name));
            }
            rules.push(rule);
        }
    }
    rules
}

fn one(at: &str, row: raw::Rule, all: &BTreeSet<String>, problems: &mut Problems) -> Option<Rule> {
    let key = |name: &str| format!("{at}.{name}");
    let name = problems.require(&key("name"), row.name);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        problems.push(&key("name"), "must be letters and digits, like \"HighErrorRate\"");
    }
    let tier = match problems.require(&key("tier"), row.tier).as_str() {
        "app" => Tier::App,
        "edge" => Tier::Edge,
        other => {
            problems.push(&key("tier"), format!("must be \"app\" or \"edge\", got {other:?}"));
            Tier::App
        }
    };
    let severity = row.severity.unwrap_or_else(|| Severity::Warning.word().to_owned());
    let severity = Severity::parse(&severity).unwrap_or_else(|| {
        problems.push(&key("severity"), format!("must be one of {}, got {severity:?}", severities()));
        Severity::Warning
    });
    let text = problems.require(&key("expr"), row.expr);
    let bound = match (row.above, row.below) {
        (Some(above), None) => Bound::Above(above),
        (None, Some(below)) => Bound::Below(below),
        _ => {
            problems
                .push(&key("above"), "either `above` or `below` says from which value on it is a problem");
            Bound::Above(0.0)
        }
    };
    let facts = row.facts.unwrap_or_default();
    let facts = facts.into_iter().filter_map(|fact| match fact.split_once(':') {
        Some((name, value)) => Some((name.trim().to_owned(), value.trim().to_owned())),
        None => {
            problems.push(&key("facts"), format!("must be like \"error_count: {{value}}\", got {fact:?}"));
            None
        }
    });
    let facts: Vec<_> = facts.collect();
    let inhibited_by = row.inhibited_by.unwrap_or_default();
    for other in inhibited_by.iter().filter(|other| !all.contains(*other)) {
        problems.push(&key("inhibited_by"), format!("there is no rule {other:?}"));
    }
    let expr = match Expr::parse(&text) {
        Ok(expr) => expr,
        Err(error) => {
            problems.push(&key("expr"), error.to_string());
            return None;
        }
    };
    Some(Rule {
        name,
        tier,
        severity,
        title: problems.require(&key("title"), row.title),
        summary: problems.require(&key("summary"), row.summary),
        facts,
        expr,
        text,
        bound,
        hold: row.hold.map_or(0, millis),
        keep: row.keep_firing.map_or(0, millis),
        labels: row.labels.unwrap_or_default(),
        inhibited_by,
        inhibited_equal: row.inhibited_equal.unwrap_or_default(),
        dashboard: row.dashboard.unwrap_or_default(),
    })
}

/// The names of all severities, for messages.
pub(crate) fn severities() -> String {
    Severity::WORDS.map(|(word, _)| format!("{word:?}")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_are_valid_and_each_tier_has_its_own() {
        let names = |tier| {
            let rules = load(None, tier).unwrap();
            rules.into_iter().map(|rule| rule.name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Tier::App),
            ["HighErrorRate", "SlowResponses", "HighQueueSize", "DatabaseUnreachable"]
        );
        assert_eq!(
            names(Tier::Edge),
            [
                "BackendDown",
                "UpstreamUnavailable",
                "RetryBudgetExhausted",
                "EdgeErrors",
                "ReloadFailed",
                "CertificateExpiring"
            ]
        );
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once() {
        let text = "[[rules]]\nname = 'a b'\ntier = 'moon'\nseverity = 'bad'\nexpr = 'sum('\ntitle = 't'\nsummary = 's'\n\
                    above = 1\nbelow = 2\nfacts = ['x']\ninhibited_by = ['Nobody']\nholt = '1s'\n";
        let invalid = read_text("rules.toml", text, parse).unwrap_err();
        let keys: BTreeSet<&str> = invalid.problems().iter().map(|problem| problem.key.as_str()).collect();
        let expected = ["name", "tier", "severity", "expr", "above", "facts", "inhibited_by", "holt"];
        assert_eq!(keys, expected.map(|key| format!("rules[0].{key}")).iter().map(String::as_str).collect());
        assert!(invalid.to_string().contains("did you mean `hold`?"), "{invalid}");
    }

    #[test]
    fn a_text_is_filled_with_the_value_the_threshold_and_labels() {
        let rule = built_in().into_iter().find(|rule| rule.name == "BackendDown").unwrap();
        let labels = [("backend".to_owned(), "app-1".to_owned())].into();
        let filled = rule.fill("{backend} of {nobody}: {value} > {threshold} {", &labels, 2.5);
        assert_eq!(filled, "app-1 of : 2.5 > 0 {");
    }

    #[test]
    fn a_number_is_as_long_as_it_tells_something() {
        for (value, expected) in
            [(3.0, "3"), (1234.56, "1235"), (2.54, "2.5"), (0.123_45, "0.123"), (0.0, "0")]
        {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn thresholds_are_adjusted_by_name_and_unknown_names_are_told() {
        let mut rules = built_in();
        let unknown = adjust(&mut rules, &[("HighErrorRate".into(), 3.0), ("Nothing".into(), 1.0)].into());
        assert_eq!(unknown, ["Nothing"]);
        assert_eq!(rules[0].bound, Bound::Above(3.0));
    }
}
