//! What `[alerts]` of a configuration means, in both tiers: which rules hold, where they are told, and how often.
//!
//! The environment variables that the guide names say the same as their keys, and win over the file.

mod channels;
pub mod raw;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::channel::Channel;
use super::message::Links;
use super::notice::Timing;
use super::rule::{self, Rule, Tier};
use super::{Millis, millis};
use crate::config::Problems;
use crate::config::secret::Secret;
pub use crate::config::{Environment, environment};

/// What alerting is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether rules are looked at, at all.
    pub enabled: bool,
    /// How often.
    pub interval: Duration,
    /// Which rules hold.
    pub rules: Vec<Rule>,
    /// How long messages wait.
    pub timing: Timing,
    /// How long each place in line waits for the one before.
    pub line_wait: Millis,
    /// Where more is written, and who speaks.
    pub links: Links,
    /// Where alerts are told.
    pub channels: Vec<Channel>,
    /// Who is told that nothing is to be told, and how often.
    pub heartbeat: Option<(Secret, Duration)>,
}

/// The variables that set a threshold, and of which rule.
const THRESHOLDS: [(&str, &str); 3] = [
    ("MONITORING_ERROR_RATE_THRESHOLD", "HighErrorRate"),
    ("MONITORING_RESPONSE_TIME_THRESHOLD", "SlowResponses"),
    ("MONITORING_QUEUE_SIZE_THRESHOLD", "HighQueueSize"),
];

/// Reads `[alerts]`, noting everything that is wrong with it.
pub fn parse(
    raw: raw::Alerts,
    tier: Tier,
    environment: Environment<'_>,
    problems: &mut Problems,
) -> Settings {
    let channels = channels::channels(&raw, environment, problems);
    let rules = rules(&raw, tier, environment, problems);
    let mut time = |key: &str, value: Option<Duration>, least: u64, most: u64| {
        let value = problems.require(key, value);
        let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
        if value < least || value > most {
            let message = format!("must be between {} and {} seconds", least.as_secs(), most.as_secs());
            problems.push(key, message);
        }
        value
    };
    let timing = Timing {
        wait: millis(time("alerts.group_wait", raw.group_wait, 0, 3600)),
        interval: millis(time("alerts.group_interval", raw.group_interval, 0, 24 * 3600)),
        repeat: millis(time("alerts.repeat_interval", raw.repeat_interval, 1, 30 * 24 * 3600)),
        patience: 0,
    };
    let interval = time("alerts.interval", raw.interval, 1, 60);
    let line_wait = millis(time("alerts.line_wait", raw.line_wait, 0, 600));
    let heartbeat = raw.heartbeat.unwrap_or_default();
    let every = time("alerts.heartbeat.interval", heartbeat.interval, 1, 24 * 3600);
    let url = channels::address("alerts.heartbeat.url", heartbeat.url, true, environment, problems);
    Settings {
        enabled: raw.enabled.unwrap_or(true),
        interval,
        rules,
        timing,
        line_wait,
        links: Links {
            runbooks: base("alerts.runbook_url", raw.runbook_url, problems),
            dashboards: base("alerts.dashboard_url", raw.dashboard_url, problems),
            sender: raw.sender.unwrap_or_default(),
        },
        channels,
        heartbeat: (!url.is_empty()).then_some((url, every)),
    }
}

/// What an address begins with, with a slash at its end.
fn base(key: &str, raw: Option<String>, problems: &mut Problems) -> String {
    let url = raw.unwrap_or_default();
    if url.is_empty() {
        return url;
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        problems.push(key, format!("must be empty or begin with http:// or https://, got {url:?}"));
    }
    if url.ends_with('/') { url } else { url + "/" }
}

fn rules(raw: &raw::Alerts, tier: Tier, environment: Environment<'_>, problems: &mut Problems) -> Vec<Rule> {
    let path = raw.rules.as_deref().filter(|path| !path.is_empty());
    let mut rules = match rule::load(path.map(Path::new), tier) {
        Ok(rules) => rules,
        Err(invalid) => {
            problems.push("alerts.rules", invalid.to_string().replace("\n  ", "; "));
            return Vec::new();
        }
    };
    let mut thresholds: BTreeMap<String, f64> =
        raw.thresholds.clone().map(|thresholds| thresholds.0).unwrap_or_default();
    for (name, rule) in THRESHOLDS {
        let Some(text) = environment(name) else { continue };
        match text.parse::<f64>() {
            // The guide's variables are about the app alone; elsewhere they may be set as well.
            Ok(number) if number.is_finite() && rules.iter().any(|known| known.name == rule) => {
                thresholds.insert(rule.to_owned(), number);
            }
            Ok(number) if number.is_finite() => {}
            _ => problems.push(
                "alerts.thresholds",
                format!("the environment variable {name} must be a number, got {text:?}"),
            ),
        }
    }
    for unknown in rule::adjust(&mut rules, &thresholds) {
        problems.push("alerts.thresholds", no_rule(&unknown, &rules));
    }
    for (index, name) in raw.off.iter().flatten().enumerate() {
        if !rules.iter().any(|rule| rule.name == *name) {
            problems.push(&format!("alerts.off[{index}]"), no_rule(name, &rules));
        }
    }
    rules.retain(|rule| !raw.off.iter().flatten().any(|off| *off == rule.name));
    rules
}

fn no_rule(name: &str, rules: &[Rule]) -> String {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    format!("there is no rule {name:?}; there are {}", names.join(", "))
}
