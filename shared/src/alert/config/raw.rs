//! What `[alerts]` may say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::secret::Secret;
use crate::config::{Problems, Read, Value};

/// Thresholds by the names of rules: a setting as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds(pub BTreeMap<String, f64>);

impl Read for Thresholds {
    fn key_paths(at: &str, out: &mut BTreeSet<String>) {
        out.insert(at.to_owned());
    }

    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        BTreeMap::read(value, at, problems).map(Self)
    }
}

crate::raw! {
    /// `[alerts]`.
    pub struct Alerts {
        /// Whether rules are looked at.
        pub enabled: bool,
        /// 1s to 1m.
        pub interval: Duration,
        /// A file of rules; "" for the built-in ones.
        pub rules: String,
        /// Thresholds by rule.
        pub thresholds: Thresholds,
        /// Rules that do not hold.
        pub off: Vec<String>,
        /// 0s to 1h.
        pub group_wait: Duration,
        /// 0s to 24h.
        pub group_interval: Duration,
        /// 1s to 30 days.
        pub repeat_interval: Duration,
        /// 0s to 10m.
        pub line_wait: Duration,
        /// Who speaks.
        pub sender: String,
        /// What a runbook's address begins with.
        pub runbook_url: String,
        /// What a dashboard's address begins with.
        pub dashboard_url: String,
        /// Slack.
        pub slack: Slack,
        /// Discord.
        pub discord: Discord,
        /// E-mail.
        pub mail: Mail,
        /// A webhook.
        pub webhook: Webhook,
        /// PagerDuty.
        pub pagerduty: PagerDuty,
        /// An Alertmanager.
        pub alertmanager: Alertmanager,
        /// A sign of life.
        pub heartbeat: Heartbeat,
    }

    /// `[alerts.slack]`.
    pub struct Slack {
        /// Whether it is told.
        pub enabled: bool,
        /// Where to.
        pub webhook_url: Secret,
        /// The least severity.
        pub min_severity: String,
    }

    /// `[alerts.discord]`.
    pub struct Discord {
        /// Whether it is told.
        pub enabled: bool,
        /// Where to.
        pub webhook_url: Secret,
        /// The least severity.
        pub min_severity: String,
    }

    /// `[alerts.mail]`.
    pub struct Mail {
        /// Whether it is told.
        pub enabled: bool,
        /// `smtp://` or `smtps://`.
        pub server: String,
        /// Who signs in.
        pub username: String,
        /// With what.
        pub password: Secret,
        /// Who writes.
        pub from: String,
        /// Who reads.
        pub to: Vec<String>,
        /// Letters an hour.
        pub max_per_hour: u32,
        /// The least severity.
        pub min_severity: String,
    }

    /// `[alerts.webhook]`.
    pub struct Webhook {
        /// Whether it is told.
        pub enabled: bool,
        /// Where to.
        pub url: Secret,
        /// What signs it.
        pub key: Secret,
        /// The least severity.
        pub min_severity: String,
    }

    /// `[alerts.pagerduty]`.
    pub struct PagerDuty {
        /// Whether it is told.
        pub enabled: bool,
        /// Where to.
        pub url: String,
        /// Which service.
        pub routing_key: Secret,
        /// The least severity.
        pub min_severity: String,
    }

    /// `[alerts.alertmanager]`.
    pub struct Alertmanager {
        /// Whether it is told.
        pub enabled: bool,
        /// Where to.
        pub url: String,
        /// The least severity.
        pub min_severity: String,
    }

    /// `[alerts.heartbeat]`.
    pub struct Heartbeat {
        /// Where to; "" for nowhere.
        pub url: Secret,
        /// 1s to 24h.
        pub interval: Duration,
    }
}
