//! Decides which alerts there are: a rule that holds is pending, then firing, then over; a function of what was seen.
//!
//! Whoever flaps is told less often: each time a problem comes back within an hour of its end, the time that it must
//! stay away before it counts as over doubles, from a minute to half an hour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::history::History;
use super::rule::Rule;
use super::{Alert, Labels, Millis};

/// Alerts that are followed at once; of more, the later ones are not.
const MOST: usize = 2_000;

/// How long an end is remembered.
const MEMORY: Millis = 3_600_000;

/// The first time that a flapping alert must stay away, and the longest.
const CALM: (Millis, Millis) = (60_000, 1_800_000);

/// A series that broke the bound of a rule, or a problem that code has raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which rule.
    pub rule: String,
    /// For which labels.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// What is known of alerts between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    tracked: BTreeMap<String, Tracked>,
    dropped: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Tracked {
    alert: Alert,
    phase: Phase,
    /// Since when it fires.
    fired: Millis,
    /// When it was over, the oldest first.
    ends: VecDeque<Millis>,
    keep: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Pending,
    /// It is told; away since, if it is.
    Firing(Option<Millis>),
    Over,
}

/// What changed in a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It holds, and will be told if that lasts.
    Pending(Alert),
    /// It is to be told.
    Firing(Alert),
    /// It is over.
    Resolved(Alert),
}

/// Asks every rule.
pub fn find(rules: &[Rule], history: &History, now: Millis) -> Vec<Found> {
    let mut found = Vec::new();
    for rule in rules {
        let broken =
            rule.expr.eval(history, now).into_iter().filter(|(_, value)| rule.bound.is_broken_by(*value));
        found.extend(broken.map(|(labels, value)| Found { rule: rule.name.clone(), labels, value }));
    }
    found
}

/// The next state, and what changed: of what was found now, and of what was known.
pub fn step(mut state: State, rules: &[Rule], found: &[Found], now: Millis) -> (State, Vec<Change>) {
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    for finding in found {
        let Some(rule) = rules.iter().find(|rule| rule.name == finding.rule) else { continue };
        let alert = alert(rule, finding, now);
        let key = alert.fingerprint();
        if !state.tracked.contains_key(&key) && state.tracked.len() >= MOST {
            state.dropped += 1;
            continue;
        }
        let tracked = state.tracked.entry(key.clone()).or_insert_with(|| Tracked {
            alert: alert.clone(),
            phase: Phase::Over,
            fired: now,
            ends: VecDeque::new(),
            keep: rule.keep,
        });
        // Several series of one alert: the first tells its value.
        if seen.insert(key) {
            tracked.see(alert, rule, now, &mut changes);
        }
    }
    state.tracked.retain(|key, tracked| {
        if !seen.contains(key) {
            tracked.miss(now, &mut changes);
        }
        // While it is there it is not over: what flaps for hours does not get away with it.
        if !matches!(tracked.phase, Phase::Firing(_)) {
            tracked.ends.retain(|end| end + MEMORY > now);
        }
        tracked.phase != Phase::Over || !tracked.ends.is_empty()
    });
    (state, changes)
}

fn alert(rule: &Rule, finding: &Found, now: Millis) -> Alert {
    let mut labels = finding.labels.clone();
    labels.extend(rule.labels.clone());
    let fill = |text: &str| rule.fill(text, &labels, finding.value);
    Alert {
        rule: rule.name.clone(),
        severity: rule.severity,
        title: fill(&rule.title),
        summary: fill(&rule.summary),
        facts: rule.facts.iter().map(|(name, value)| (name.clone(), fill(value))).collect(),
        since: now,
        labels,
    }
}

impl Tracked {
    fn see(&mut self, alert: Alert, rule: &Rule, now: Millis, changes: &mut Vec<Change>) {
        let since = self.alert.since;
        self.keep = rule.keep;
        self.alert = alert;
        match self.phase {
            Phase::Firing(_) => {
                self.alert.since = since;
                self.phase = Phase::Firing(None);
            }
            Phase::Pending if now >= since + rule.hold => {
                self.alert.since = since;
                self.phase = Phase::Firing(None);
                self.fired = now;
                changes.push(Change::Firing(self.alert.clone()));
            }
            Phase::Pending => self.alert.since = since,
            Phase::Over if rule.hold == 0 => {
                self.phase = Phase::Firing(None);
                self.fired = now;
                changes.push(Change::Firing(self.alert.clone()));
            }
            Phase::Over => {
                self.phase = Phase::Pending;
                changes.push(Change::Pending(self.alert.clone()));
            }
        }
    }

    fn miss(&mut self, now: Millis, changes: &mut Vec<Change>) {
        match self.phase {
            Phase::Over => {}
            Phase::Pending => self.phase = Phase::Over,
            Phase::Firing(away) => {
                let away = away.unwrap_or(now);
                if now >= away + self.calm() {
                    self.phase = Phase::Over;
                    self.ends.push_back(now);
                    changes.push(Change::Resolved(self.alert.clone()));
                } else {
                    self.phase = Phase::Firing(Some(away));
                }
            }
        }
    }

    /// How long it must be away to count as over.
    fn calm(&self) -> Millis {
        let (first, longest) = CALM;
        match u32::try_from(self.ends.len()).unwrap_or(u32::MAX) {
            0 => self.keep,
            times => self.keep.max(first << (times - 1).min(16)).min(longest.max(self.keep)),
        }
    }
}

impl State {
    /// The alerts that are to be told, the worst first.
    pub fn firing(&self) -> Vec<Alert> {
        self.in_phase(|phase| matches!(phase, Phase::Firing(_)))
    }

    /// The alerts that may become so.
    pub fn pending(&self) -> Vec<Alert> {
        self.in_phase(|phase| phase == Phase::Pending)
    }

    fn in_phase(&self, is_wanted: impl Fn(Phase) -> bool) -> Vec<Alert> {
        let wanted = self.tracked.values().filter(|tracked| is_wanted(tracked.phase));
        let mut alerts: Vec<Alert> = wanted.map(|tracked| tracked.alert.clone()).collect();
        alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)));
        alerts
    }

    /// Since when alerts fire, by their fingerprints.
    pub fn fired(&self) -> BTreeMap<String, Millis> {
        let firing = self.tracked.iter().filter(|(_, tracked)| matches!(tracked.phase, Phase::Firing(_)));
        firing.map(|(key, tracked)| (key.clone(), tracked.fired)).collect()
    }

    /// When an alert was last over, by its fingerprint.
    pub fn ended(&self) -> BTreeMap<String, Millis> {
        let ends = self.tracked.iter().filter(|(_, tracked)| tracked.phase == Phase::Over);
        ends.filter_map(|(key, tracked)| Some((key.clone(), *tracked.ends.back()?))).collect()
    }

    /// What was not followed because there was too much of it.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes over an alert that somebody has told, and that is not known here: it is over when it is not found for the
    /// time that its rule asks for, and not at once.
    pub fn adopt(&mut self, alert: &Alert, keep: Millis, now: Millis) {
        let key = alert.fingerprint();
        if self.tracked.contains_key(&key) || self.tracked.len() >= MOST {
            return;
        }
        let phase = Phase::Firing(Some(now));
        self.tracked
            .insert(key, Tracked { alert: alert.clone(), phase, fired: now, ends: VecDeque::new(), keep });
    }
}

#[cfg(test)]
mod tests;
