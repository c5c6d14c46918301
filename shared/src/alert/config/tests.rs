//! What `[alerts]` says, and what the environment says instead.

use super::*;
use crate::alert::Severity;
use crate::alert::channel::To;
use crate::config::{Invalid, read_text};

/// The default of every key, as both reference files have it.
const REFERENCE: &str = "enabled = true\ninterval = '5s'\nrules = ''\nthresholds = {}\noff = []\ngroup_wait = '10s'\n\
    group_interval = '5m'\nrepeat_interval = '4h'\nline_wait = '15s'\nsender = 'cirque'\nheartbeat = { url = '', interval = '1m' }\n";

pub(in crate::alert) fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Invalid> {
    let base: raw::Alerts = read_text("reference", REFERENCE, |raw, _| raw).unwrap();
    let find =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    read_text("test", text, |raw: raw::Alerts, problems| parse(raw.or(base), Tier::App, &find, problems))
}

fn threshold(settings: &Settings, rule: &str) -> f64 {
    settings.rules.iter().find(|known| known.name == rule).unwrap().bound.threshold()
}

// key: app.toml alerts.thresholds, alerts.off
// key: proxy.toml alerts.thresholds, alerts.off
#[test]
fn thresholds_are_set_by_the_file_and_by_the_guides_variables() {
    let settings =
        read("thresholds = { HighErrorRate = 3, HighQueueSize = 7 }\noff = ['SlowResponses']", &[]).unwrap();
    assert_eq!((threshold(&settings, "HighErrorRate"), threshold(&settings, "HighQueueSize")), (3.0, 7.0));
    assert!(!settings.rules.iter().any(|rule| rule.name == "SlowResponses"));
    let variables = [
        ("MONITORING_ERROR_RATE_THRESHOLD", "20"),
        ("MONITORING_RESPONSE_TIME_THRESHOLD", "750"),
        ("MONITORING_QUEUE_SIZE_THRESHOLD", "50"),
    ];
    let settings = read("thresholds = { HighErrorRate = 3 }", &variables).unwrap();
    let found = ["HighErrorRate", "SlowResponses", "HighQueueSize"].map(|rule| threshold(&settings, rule));
    assert_eq!(found, [20.0, 750.0, 50.0]);
    let invalid = read(
        "thresholds = { HighErorRate = 3 }\noff = ['X']",
        &[("MONITORING_QUEUE_SIZE_THRESHOLD", "many")],
    );
    let invalid = invalid.unwrap_err().to_string();
    for expected in
        ["no rule \"HighErorRate\"", "no rule \"X\"", "MONITORING_QUEUE_SIZE_THRESHOLD must be a number"]
    {
        assert!(invalid.contains(expected), "{invalid}");
    }
}

#[test]
fn slack_and_discord_are_switched_by_the_guides_variables() {
    let variables = [
        ("ALERTING_SLACK_ENABLED", "true"),
        ("SLACK_WEBHOOK_URL", "https://hooks.example.com/s3cret"),
        ("ALERTING_DISCORD_ENABLED", "false"),
    ];
    let text = "discord = { enabled = true, webhook_url = 'https://example.com/x' }";
    let settings = read(text, &variables).unwrap();
    let names: Vec<&str> = settings.channels.iter().map(|channel| channel.name).collect();
    assert_eq!(names, ["slack"]);
    assert!(
        matches!(&settings.channels[0].to, To::Slack(url) if url.expose() == "https://hooks.example.com/s3cret")
    );
    assert!(!format!("{settings:?}").contains("s3cret"));
    let invalid = read("", &[("ALERTING_SLACK_ENABLED", "perhaps")]).unwrap_err().to_string();
    assert!(invalid.contains("ALERTING_SLACK_ENABLED must be true or false"), "{invalid}");
}

// key: app.toml alerts.slack.min_severity, alerts.discord.min_severity, alerts.webhook.min_severity
// key: app.toml alerts.pagerduty.min_severity, alerts.alertmanager.min_severity, alerts.mail.min_severity
// key: proxy.toml alerts.slack.min_severity, alerts.discord.min_severity, alerts.webhook.min_severity
// key: proxy.toml alerts.pagerduty.min_severity, alerts.alertmanager.min_severity, alerts.mail.min_severity
#[test]
fn each_channel_says_from_which_severity_on_it_is_told() {
    let text = "slack = { enabled = true, webhook_url = 'https://example.com/', min_severity = 'error' }\n\
        discord = { enabled = true, webhook_url = 'https://example.com/', min_severity = 'info' }\n\
        webhook = { enabled = true, url = 'https://example.com/', min_severity = 'emergency' }\n\
        pagerduty = { enabled = true, url = 'https://example.com/', routing_key = 'k', min_severity = 'critical' }\n\
        alertmanager = { enabled = true, url = 'http://localhost:9093', min_severity = 'warning' }\n\
        mail = { enabled = true, server = 'smtp://localhost', from = 'a@example.com', to = ['b@example.com'], min_severity = 'critical' }";
    let least: Vec<(&str, Severity)> =
        read(text, &[]).unwrap().channels.iter().map(|channel| (channel.name, channel.least)).collect();
    assert_eq!(
        least,
        [
            ("slack", Severity::Error),
            ("discord", Severity::Info),
            ("mail", Severity::Critical),
            ("webhook", Severity::Emergency),
            ("pagerduty", Severity::Critical),
            ("alertmanager", Severity::Warning),
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_no_secret_is_repeated() {
    let text = "slack = { enabled = true, webhook_url = 's3cret', min_severity = 'bad' }\n\
        discord = { enabled = true }\nwebhook = { enabled = true, url = 'env:NOT_SET', key = 'file:/nowhere' }\n\
        pagerduty = { enabled = true, url = 'https://example.com/' }\nalertmanager = { enabled = true, url = 'ftp://x' }\n\
        mail = { enabled = true, server = 'mail', from = 'nobody', to = [], max_per_hour = 0 }\n\
        interval = '0s'\nrunbook_url = 'x'\nheartbeat = { url = 's3cret', interval = '1m' }\nrules = '/nowhere.toml'";
    let invalid = read(text, &[]).unwrap_err();
    let mut keys: Vec<&str> = invalid.problems().iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "alerts.alertmanager.url",
            "alerts.discord.webhook_url",
            "alerts.heartbeat.url",
            "alerts.interval",
            "alerts.mail.from",
            "alerts.mail.max_per_hour",
            "alerts.mail.server",
            "alerts.mail.to",
            "alerts.pagerduty.routing_key",
            "alerts.rules",
            "alerts.runbook_url",
            "alerts.slack.min_severity",
            "alerts.slack.webhook_url",
            "alerts.webhook.key",
            "alerts.webhook.url",
        ]
    );
    assert!(!invalid.to_string().contains("s3cret"), "{invalid}");
}

// key: app.toml alerts.rules
// key: proxy.toml alerts.rules
#[test]
fn a_file_of_rules_replaces_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let rule =
        "[[rules]]\nname = 'Own'\ntier = 'app'\ntitle = 't'\nsummary = 's'\nexpr = 'depth'\nabove = 1\n";
    std::fs::write(&path, rule).unwrap();
    let settings = read(&format!("rules = '{}'", path.display()), &[]).unwrap();
    let names: Vec<&str> = settings.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["Own"]);
}
