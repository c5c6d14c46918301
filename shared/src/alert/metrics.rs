//! The metrics of alerting itself, declared once for both tiers.

use std::time::Duration;

use super::Alert;
use super::channel::Outcome;
use super::rule::Rule;
use crate::metrics::{CounterFamily, Gauge, GaugeFamily, Histogram, Registry};

/// How long a message may take to arrive.
const LATENCY: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// What alerting counts.
#[derive(Clone, Debug)]
pub struct AlertMetrics {
    firing: GaugeFamily,
    notifications: CounterFamily,
    latency: Histogram,
    disabled: GaugeFamily,
    /// Whether this process tells: 1 or 0.
    pub leader: Gauge,
    /// Processes whose metrics are seen here.
    pub instances: Gauge,
    /// Samples and alerts that were not followed because there were too many.
    pub dropped: Gauge,
}

impl AlertMetrics {
    /// Declares them.
    pub fn new(registry: &Registry) -> Self {
        Self {
            firing: registry.gauges(
                "alerts_firing",
                "Alerts that fire, told or not, by rule and severity.",
                &["rule", "severity"],
            ),
            notifications: registry.counters(
                "alert_notifications_total",
                "Messages about alerts, by channel and by what came of them.",
                &["channel", "outcome"],
            ),
            latency: registry
                .histograms(
                    "alert_notification_latency_seconds",
                    "Time from when there was something to tell a channel until it took it, pauses and further tries included.",
                    &[],
                    LATENCY,
                )
                .with(&[]),
            disabled: registry.gauges(
                "alert_channel_disabled",
                "Whether a channel has said for good that it takes nothing: 1 or 0.",
                &["channel"],
            ),
            leader: registry.gauge("alert_leader", "Whether this process tells alerts: 1 or 0."),
            instances: registry
                .gauge("alert_instances", "Processes whose metrics this process sees, itself included."),
            dropped: registry
                .gauge("alert_dropped", "Series and alerts not followed because there were too many."),
        }
    }

    /// Shows a channel's series from zero.
    pub fn channel(&self, channel: &str) {
        for outcome in Outcome::WORDS {
            self.notifications.with(&[channel, outcome]);
        }
        self.disabled.with(&[channel]).set(0);
    }

    /// Notes what came of a message.
    pub fn notified(&self, channel: &str, outcome: &Outcome) {
        self.notifications.with(&[channel, outcome.word()]).inc();
        if *outcome == Outcome::Sent {
            self.disabled.with(&[channel]).set(0);
        }
    }

    /// Shows that a channel takes nothing any more.
    pub fn disabled(&self, channel: &str) {
        self.disabled.with(&[channel]).set(1);
    }

    /// Notes how long a message took.
    pub fn took(&self, time: Duration) {
        self.latency.observe(time);
    }

    /// Shows a series for each rule, from zero, and none for those that were `before` and are no more.
    pub fn rules(&self, before: &[Rule], rules: &[Rule]) {
        let series = |rule: &Rule| (rule.name.clone(), rule.severity.word());
        for (name, word) in before.iter().map(series) {
            if !rules.iter().any(|rule| series(rule) == (name.clone(), word)) {
                self.firing.remove(&[&name, word]);
            }
        }
        for (name, word) in rules.iter().map(series) {
            self.firing.with(&[&name, word]);
        }
    }

    /// Shows how many alerts of each of these rules fire.
    pub fn firing(&self, rules: &[Rule], firing: &[Alert]) {
        for rule in rules {
            let count = firing.iter().filter(|alert| alert.rule == rule.name).count();
            let series = self.firing.with(&[&rule.name, rule.severity.word()]);
            series.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
