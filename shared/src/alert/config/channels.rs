//! Decides which channels there are and whether their addresses can be right.

use lettre::message::Mailbox;

use super::{Environment, raw};
use crate::alert::Severity;
use crate::alert::channel::{Channel, Mail, To};
use crate::alert::rule::severities;
use crate::config::Problems;
use crate::config::secret::Secret;

/// The channels that are switched on.
pub(super) fn channels(
    raw: &raw::Alerts,
    environment: Environment<'_>,
    problems: &mut Problems,
) -> Vec<Channel> {
    let mut reader = Reader { environment, problems };
    [
        reader.slack(raw.slack.clone().unwrap_or_default()),
        reader.discord(raw.discord.clone().unwrap_or_default()),
        reader.mail(raw.mail.clone().unwrap_or_default()),
        reader.webhook(raw.webhook.clone().unwrap_or_default()),
        reader.pagerduty(raw.pagerduty.clone().unwrap_or_default()),
        reader.alertmanager(raw.alertmanager.clone().unwrap_or_default()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

struct Reader<'r> {
    environment: Environment<'r>,
    problems: &'r mut Problems,
}

impl Reader<'_> {
    fn slack(&mut self, raw: raw::Slack) -> Option<Channel> {
        let least = self.least("slack", raw.min_severity);
        let is_on = self.switch("ALERTING_SLACK_ENABLED", "slack", raw.enabled)?;
        let url = self.hook("SLACK_WEBHOOK_URL", "slack", raw.webhook_url, is_on);
        is_on.then_some(Channel { name: "slack", least, to: To::Slack(url) })
    }

    fn discord(&mut self, raw: raw::Discord) -> Option<Channel> {
        let least = self.least("discord", raw.min_severity);
        let is_on = self.switch("ALERTING_DISCORD_ENABLED", "discord", raw.enabled)?;
        let url = self.hook("DISCORD_WEBHOOK_URL", "discord", raw.webhook_url, is_on);
        is_on.then_some(Channel { name: "discord", least, to: To::Discord(url) })
    }

    fn mail(&mut self, raw: raw::Mail) -> Option<Channel> {
        let least = self.least("mail", raw.min_severity);
        if !raw.enabled.unwrap_or_default() {
            return None;
        }
        let server = raw.server.unwrap_or_default();
        if !server.starts_with("smtp://") && !server.starts_with("smtps://") {
            self.problems.push(
                "alerts.mail.server",
                format!("must be like \"smtp://mail.example.com:587?tls=required\" or \"smtps://mail.example.com\", got {server:?}"),
            );
        }
        let password = resolved("alerts.mail.password", raw.password, self.environment, self.problems);
        let from = self.mailbox("alerts.mail.from", &raw.from.unwrap_or_default());
        let readers = raw.to.unwrap_or_default();
        if readers.is_empty() {
            self.problems.push("alerts.mail.to", "must name at least one reader");
        }
        let to = readers
            .iter()
            .enumerate()
            .filter_map(|(index, reader)| self.mailbox(&format!("alerts.mail.to[{index}]"), reader))
            .collect();
        let per_hour = raw.max_per_hour.unwrap_or(20);
        if !(1..=1000).contains(&per_hour) {
            self.problems.push("alerts.mail.max_per_hour", "must be between 1 and 1000");
        }
        let username = raw.username.unwrap_or_default();
        let mail = Mail { server, username, password, from: from?, to, per_hour };
        Some(Channel { name: "mail", least, to: To::Mail(mail) })
    }

    fn webhook(&mut self, raw: raw::Webhook) -> Option<Channel> {
        let least = self.least("webhook", raw.min_severity);
        let is_on = raw.enabled.unwrap_or_default();
        let url = address("alerts.webhook.url", raw.url, !is_on, self.environment, self.problems);
        let key = resolved("alerts.webhook.key", raw.key, self.environment, self.problems);
        is_on.then_some(Channel { name: "webhook", least, to: To::Webhook { url, key } })
    }

    fn pagerduty(&mut self, raw: raw::PagerDuty) -> Option<Channel> {
        let least = self.least("pagerduty", raw.min_severity);
        let is_on = raw.enabled.unwrap_or_default();
        let url = Secret::new(raw.url.unwrap_or_default());
        let url = address("alerts.pagerduty.url", Some(url), !is_on, self.environment, self.problems);
        let key = resolved("alerts.pagerduty.routing_key", raw.routing_key, self.environment, self.problems);
        if is_on && key.is_empty() {
            self.problems.push("alerts.pagerduty.routing_key", "is needed: the integration key of a service");
        }
        let to = To::PagerDuty { url: url.expose().to_owned(), key };
        is_on.then_some(Channel { name: "pagerduty", least, to })
    }

    fn alertmanager(&mut self, raw: raw::Alertmanager) -> Option<Channel> {
        let least = self.least("alertmanager", raw.min_severity);
        let is_on = raw.enabled.unwrap_or_default();
        let url = Secret::new(raw.url.unwrap_or_default());
        let url = address("alerts.alertmanager.url", Some(url), !is_on, self.environment, self.problems);
        let to = To::Alertmanager(url.expose().to_owned());
        is_on.then_some(Channel { name: "alertmanager", least, to })
    }

    fn least(&mut self, table: &str, raw: Option<String>) -> Severity {
        let word = raw.unwrap_or_else(|| "info".to_owned());
        Severity::parse(&word).unwrap_or_else(|| {
            let message = format!("must be one of {}, got {word:?}", severities());
            self.problems.push(&format!("alerts.{table}.min_severity"), message);
            Severity::Info
        })
    }

    /// A switch that the environment may turn; `None` where it says neither.
    fn switch(&mut self, variable: &str, table: &str, raw: Option<bool>) -> Option<bool> {
        match (self.environment)(variable).map(|word| word.to_ascii_lowercase()).as_deref() {
            None => Some(raw.unwrap_or_default()),
            Some("true" | "1" | "on" | "yes") => Some(true),
            Some("false" | "0" | "off" | "no") => Some(false),
            Some(word) => {
                let message =
                    format!("the environment variable {variable} must be true or false, got {word:?}");
                self.problems.push(&format!("alerts.{table}.enabled"), message);
                None
            }
        }
    }

    fn hook(&mut self, variable: &str, table: &str, raw: Option<Secret>, is_on: bool) -> Secret {
        let raw = (self.environment)(variable).map(Secret::new).or(raw);
        let key = format!("alerts.{table}.webhook_url");
        address(&key, raw, !is_on, self.environment, self.problems)
    }

    fn mailbox(&mut self, key: &str, text: &str) -> Option<Mailbox> {
        let mailbox = text.parse().ok();
        if mailbox.is_none() {
            let message = format!("must be an address like \"Site <site@example.com>\", got {text:?}");
            self.problems.push(key, message);
        }
        mailbox
    }
}

fn resolved(key: &str, raw: Option<Secret>, environment: Environment<'_>, problems: &mut Problems) -> Secret {
    raw.unwrap_or_default().resolve(environment).unwrap_or_else(|why| {
        problems.push(key, why);
        Secret::default()
    })
}

/// An address of HTTP, which may be a secret: it is not repeated.
pub(super) fn address(
    key: &str,
    raw: Option<Secret>,
    may_be_empty: bool,
    environment: Environment<'_>,
    problems: &mut Problems,
) -> Secret {
    // What is switched off need not be there.
    if may_be_empty && raw.as_ref().is_none_or(Secret::is_empty) {
        return Secret::default();
    }
    let before = problems.len();
    let url = resolved(key, raw, environment, problems);
    let is_url = reqwest::Url::parse(url.expose())
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_url && problems.len() == before {
        problems.push(key, "must be an address that begins with https:// or http://");
    }
    url
}
