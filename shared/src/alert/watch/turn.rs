//! One look at everything: what was seen, what the rules say of it, and what changed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inner, Source};
use crate::alert::config::Settings;
use crate::alert::engine::{self, Change};
use crate::alert::fleet::{Meeting, Snapshot, Standing, Unreachable};
use crate::alert::history::Sample;
use crate::alert::{Millis, Severity, millis, notice, now};

/// How long a meeting may take, and a look.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the others are still asked when somebody leads again.
const DOUBT: Duration = Duration::from_secs(60);

/// How long the end of a problem is known: longer than anybody waits in line.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

impl Inner {
    pub(super) async fn turn(&self, settings: &Settings, source: &dyn Source) {
        let names: BTreeSet<String> =
            settings.rules.iter().flat_map(|rule| rule.expr.names()).map(str::to_owned).collect();
        let mut samples = tokio::time::timeout(PATIENCE, source.look(&names)).await.unwrap_or_default();
        for sample in &mut samples {
            sample.labels.insert("job".to_owned(), self.tier.word().to_owned());
        }
        let at = now();
        // Said with what was seen, so that nobody sees a problem without knowing that it was told.
        let told = self.state().unshared.clone();
        let mine = Snapshot { instance: self.instance.clone(), at, samples, told };
        let meeting = tokio::time::timeout(PATIENCE, self.fleet.meet(mine.clone())).await;
        let meeting = meeting.unwrap_or_else(|_| Err(Unreachable("no answer in time".to_owned())));
        let changes = self.take(settings, &mine, meeting, at);
        self.bell.send_modify(|rung| *rung += 1);
        for change in changes {
            self.say(&change).await;
        }
    }

    /// Takes in what was seen and heard. No waiting here.
    fn take(
        &self,
        settings: &Settings,
        mine: &Snapshot,
        meeting: Result<Meeting, Unreachable>,
        at: Millis,
    ) -> Vec<Change> {
        let mut guard = self.state();
        let state = &mut *guard;
        let was = state.standing;
        match meeting {
            Ok(meeting) => {
                for snapshot in meeting.snapshots {
                    state.history.add(&snapshot.instance, snapshot.at, &snapshot.samples);
                }
                meeting.told.into_iter().for_each(|told| state.log.note(told));
                state.silences = meeting.silences;
                state.standing = meeting.standing;
                state.unshared.retain(|told| !mine.told.contains(told));
            }
            Err(error) => {
                if !matches!(was, Standing::InLine(_)) {
                    tracing::warn!(%error, "nobody knows who tells alerts, the processes take turns");
                }
                state.history.add(&mine.instance, mine.at, &mine.samples);
                state.standing = Standing::InLine(self.fleet.place());
            }
        }
        if matches!(state.standing, Standing::InLine(_)) {
            state.doubt = at + millis(DOUBT);
        }
        state.log.forget(at.saturating_sub(millis(MEMORY)));
        for told in state.log.all() {
            for alert in &told.alerts {
                if let Some(rule) = settings.rules.iter().find(|rule| rule.name == alert.rule) {
                    // Whoever has just begun has not seen enough yet to say that it is over.
                    let keep = rule.keep.max(rule.hold + 2 * millis(settings.interval));
                    state.engine.adopt(alert, keep, at);
                }
            }
        }
        let mut found = engine::find(&settings.rules, &state.history, at);
        found.extend(self.alerts.found(at));
        let (next, changes) = engine::step(std::mem::take(&mut state.engine), &settings.rules, &found, at);
        state.engine = next;
        state.scene.firing = state.engine.firing();
        state.scene.fired = state.engine.fired();
        state.scene.ended = state.engine.ended();
        state.scene.muted = notice::mute(&state.scene.firing, &settings.rules, &state.silences, at);
        self.metrics.firing(&state.settings.rules, &state.scene.firing);
        self.metrics.leader.set(i64::from(matches!(state.standing, Standing::Leads(_))));
        let seen = state.history.sources(at).len();
        self.metrics.instances.set(i64::try_from(seen).unwrap_or(i64::MAX));
        let dropped = state.history.dropped() + state.engine.dropped();
        self.metrics.dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
        changes
    }

    /// Every alert is in the log, whoever tells it.
    async fn say(&self, change: &Change) {
        let (what, alert) = match change {
            Change::Pending(_) => return,
            Change::Firing(alert) => ("firing", alert),
            Change::Resolved(alert) => ("resolved", alert),
        };
        let labels: Vec<String> =
            alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (rule, severity, labels) = (&alert.rule, alert.severity.word(), labels.join(" "));
        match change {
            Change::Firing(_) if alert.severity >= Severity::Error => {
                tracing::error!(rule, severity, labels, summary = alert.summary, "alert is firing");
            }
            Change::Firing(_) => {
                tracing::warn!(rule, severity, labels, summary = alert.summary, "alert is firing");
            }
            Change::Resolved(_) | Change::Pending(_) => {
                tracing::info!(rule, severity, labels, "alert is over");
            }
        }
        if self.speaks() {
            self.remember(what, rule, &alert.labels, &alert.summary).await;
        }
    }
}

/// The values of these names in a registry.
pub fn samples(registry: &crate::metrics::Registry, names: &BTreeSet<String>) -> Vec<Sample> {
    let found = registry.samples(|name| names.contains(name));
    found.into_iter().map(|(name, labels, value)| Sample { name, labels, value }).collect()
}
