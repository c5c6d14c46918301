//! Decides which messages are due in a channel: what is firing, less what is muted, less what was told already.
//!
//! Alerts of one rule are one group, and one message. A group is told when it begins (critical ones at once, others
//! after `group_wait`), when more of it fires or some of it is over (after `group_interval`), again after
//! `repeat_interval`, and once when all of it is over. Nothing is told to be over that was not told to be there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use super::silence::Silence;
use super::{Alert, Millis, Severity};

/// What was told of a group in a channel, last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Which channel.
    pub channel: String,
    /// Which group: the rule's name.
    pub group: String,
    /// The alerts that were told to be there; none: all of them were told to be over.
    pub alerts: Vec<Alert>,
    /// When.
    pub at: Millis,
}

/// What was told, by channel and group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log(BTreeMap<(String, String), Told>);

/// Why an alert is firing and is not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Muted {
    /// Somebody silenced it: which silence.
    Silenced(String),
    /// A worse alert explains it: which rule.
    Inhibited(String),
}

/// How long messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The first one of a group that is not critical.
    pub wait: Millis,
    /// The next one, when the group has changed.
    pub interval: Millis,
    /// The next one, when it has not.
    pub repeat: Millis,
    /// All of them: for whoever comes first in line.
    pub patience: Millis,
}

/// Why a message is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The group was not told yet.
    New,
    /// More of it is firing, or some is over.
    Changed,
    /// It is still there.
    Repeat,
    /// All of it is over.
    Resolved,
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The rule's name.
    pub group: String,
    /// Why.
    pub why: Why,
    /// What is there.
    pub firing: Vec<Alert>,
    /// What was told to be there, and is over.
    pub resolved: Vec<Alert>,
}

/// What is going on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// Every alert that fires, told or not.
    pub firing: Vec<Alert>,
    /// Why some of them are not told, by fingerprint.
    pub muted: BTreeMap<String, Muted>,
    /// Since when they are to be told, by fingerprint: later than since when they hold.
    pub fired: BTreeMap<String, Millis>,
    /// When others were over, by fingerprint.
    pub ended: BTreeMap<String, Millis>,
}

impl Log {
    /// Notes what was told; an older word does not replace a newer one.
    pub fn note(&mut self, told: Told) {
        let key = (told.channel.clone(), told.group.clone());
        match self.0.get(&key) {
            Some(known) if known.at > told.at => {}
            _ => {
                self.0.insert(key, told);
            }
        }
    }

    /// What was told of a group in a channel.
    pub fn of(&self, channel: &str, group: &str) -> Option<&Told> {
        self.0.get(&(channel.to_owned(), group.to_owned()))
    }

    /// Everything.
    pub fn all(&self) -> impl Iterator<Item = &Told> {
        self.0.values()
    }

    /// Forgets what was told to be over before `oldest`.
    pub fn forget(&mut self, oldest: Millis) {
        self.0.retain(|_, told| !told.alerts.is_empty() || told.at >= oldest);
    }
}

impl Notice {
    /// How bad the worst of it is.
    pub fn severity(&self) -> Severity {
        let all = self.firing.iter().chain(&self.resolved);
        all.map(|alert| alert.severity).max().unwrap_or_default()
    }

    /// What the log says once it was told in this channel; `known` is what the log says now.
    pub fn told(&self, channel: &str, known: Option<&Told>, now: Millis) -> Told {
        let mut alerts = self.firing.clone();
        // What is muted since it was told is still there.
        let rest = known.map_or(&[][..], |told| &told.alerts).iter().filter(|alert| {
            let key = alert.fingerprint();
            let has = |alerts: &[Alert]| alerts.iter().any(|alert| alert.fingerprint() == key);
            !has(&self.firing) && !has(&self.resolved)
        });
        alerts.extend(rest.cloned());
        Told { channel: channel.to_owned(), group: self.group.clone(), alerts, at: now }
    }
}

/// Why some alerts are not told, by fingerprint.
pub fn mute(firing: &[Alert], rules: &[Rule], silences: &[Silence], now: Millis) -> BTreeMap<String, Muted> {
    let mut muted = BTreeMap::new();
    for alert in firing {
        if let Some(silence) = silences.iter().find(|silence| silence.is_on(now) && silence.fits(alert)) {
            muted.insert(alert.fingerprint(), Muted::Silenced(silence.id.clone()));
        } else if let Some(other) = inhibitor(alert, firing, rules) {
            muted.insert(alert.fingerprint(), Muted::Inhibited(other));
        }
    }
    muted
}

fn inhibitor(alert: &Alert, firing: &[Alert], rules: &[Rule]) -> Option<String> {
    let rule = rules.iter().find(|rule| rule.name == alert.rule)?;
    let is_same = |other: &Alert| {
        rule.inhibited_equal.iter().all(|label| alert.labels.get(label) == other.labels.get(label))
    };
    let mut others = firing.iter().filter(|other| rule.inhibited_by.contains(&other.rule));
    others.find(|other| is_same(other)).map(|other| other.rule.clone())
}

/// The messages that are due in a channel, the worst first.
pub fn due(
    scene: &Scene,
    log: &Log,
    channel: &str,
    least: Severity,
    timing: Timing,
    now: Millis,
) -> Vec<Notice> {
    let wanted = |alert: &&Alert| alert.severity >= least;
    let mut groups: BTreeSet<&str> =
        scene.firing.iter().filter(wanted).map(|alert| alert.rule.as_str()).collect();
    groups.extend(log.all().filter(|told| told.channel == channel).map(|told| told.group.as_str()));
    let mut notices: Vec<Notice> = groups
        .into_iter()
        .filter_map(|group| of_group(scene, log.of(channel, group), group, least, timing, now))
        .collect();
    notices.sort_by_key(|notice| std::cmp::Reverse(notice.severity()));
    notices
}

fn of_group(
    scene: &Scene,
    told: Option<&Told>,
    group: &str,
    least: Severity,
    timing: Timing,
    now: Millis,
) -> Option<Notice> {
    let firing: BTreeMap<String, &Alert> = scene
        .firing
        .iter()
        .filter(|alert| alert.rule == group)
        .map(|alert| (alert.fingerprint(), alert))
        .collect();
    let heard: Vec<Alert> = firing
        .iter()
        .filter(|(key, alert)| !scene.muted.contains_key(*key) && alert.severity >= least)
        .map(|(_, alert)| (*alert).clone())
        .collect();
    let known = told.map_or(&[][..], |told| &told.alerts);
    let gone: Vec<Alert> =
        known.iter().filter(|alert| !firing.contains_key(&alert.fingerprint())).cloned().collect();
    let is_known =
        |alert: &Alert| known.iter().any(|known| known.rule == alert.rule && known.labels == alert.labels);
    let has_news = heard.iter().any(|alert| !is_known(alert));
    let last = told.map_or(0, |told| told.at);
    let notice = |why, firing: Vec<Alert>, resolved: Vec<Alert>| {
        Some(Notice { group: group.to_owned(), why, firing, resolved })
    };
    if known.is_empty() {
        let since = heard.iter().map(|alert| alert.since).min()?;
        let fired = heard.iter().filter_map(|alert| scene.fired.get(&alert.fingerprint())).min();
        let is_critical = heard.iter().any(|alert| alert.severity >= Severity::Critical);
        let wait = if is_critical { 0 } else { timing.wait };
        // A group that comes back soon is not told at once again.
        let earliest = (since + wait)
            .max(fired.copied().unwrap_or(0))
            .max(if told.is_some() && !is_critical { last + timing.wait } else { 0 });
        return if now >= earliest + timing.patience { notice(Why::New, heard, gone) } else { None };
    }
    if gone.len() == known.len() && heard.is_empty() {
        let ended = gone.iter().filter_map(|alert| scene.ended.get(&alert.fingerprint())).max();
        let earliest = ended.copied().unwrap_or(0) + timing.patience;
        return if now >= earliest { notice(Why::Resolved, vec![], gone) } else { None };
    }
    if (has_news || !gone.is_empty()) && now >= last + timing.interval + timing.patience {
        return notice(Why::Changed, heard, gone);
    }
    if !heard.is_empty() && now >= last + timing.repeat + timing.patience {
        return notice(Why::Repeat, heard, gone);
    }
    None
}

#[cfg(test)]
mod tests;
