//! Runs it all: looks at the metrics at each interval, asks the rules, and lets every channel tell what is due there.

#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::channel::{Channel, Outcome, Post};
use super::config::Settings;
use super::engine;
use super::fleet::{Fleet, Happened, Standing, Unreachable, Word};
use super::history::{History, Sample};
use super::message::{self, Message};
use super::metrics::AlertMetrics;
use super::notice::{Log, Muted, Notice, Scene, Told, Why};
use super::outbox::Outbox;
use super::raise::Alerts;
use super::rule::{Rule, Tier};
use super::silence::{self, Silence, Wanted};
use super::{Alert, Labels, Millis, Severity, millis, now};
pub use turn::samples;

/// Where metrics come from: the values of these names, now.
pub trait Source: Debug + Send + Sync + 'static {
    /// Looks. It may ask others, like a database, for a bounded time.
    fn look<'a>(&'a self, names: &'a BTreeSet<String>) -> super::fleet::Pending<'a, Vec<Sample>>;
}

/// The alerting of one process.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    tier: Tier,
    instance: String,
    metrics: AlertMetrics,
    fleet: Arc<dyn Fleet>,
    pub(super) alerts: Alerts,
    pub(super) state: Mutex<State>,
    /// Rung when there may be something to tell.
    pub(super) bell: watch::Sender<u64>,
}

/// What is known now.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Arc<Settings>,
    pub(super) history: History,
    pub(super) engine: engine::State,
    pub(super) scene: Scene,
    pub(super) log: Log,
    pub(super) silences: Vec<Silence>,
    pub(super) standing: Standing,
    /// Until when the others are asked before anything is told: nobody knew who leads, a moment ago.
    doubt: Millis,
    /// What the others could not be told to be told.
    unshared: Vec<Told>,
    /// Which channels have said for good that they take nothing, and why.
    disabled: BTreeMap<&'static str, String>,
}

/// An alert as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its fingerprint.
    pub fingerprint: String,
    /// `pending`, `firing` or `muted`.
    pub state: &'static str,
    /// Why it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<Muted>,
    /// The rule.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// For which labels.
    pub labels: Labels,
    /// In a sentence.
    pub summary: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// A channel as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct ListedChannel {
    /// Its name.
    pub name: &'static str,
    /// The least severity that is told there.
    pub min_severity: Severity,
    /// Why it is not asked any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<String>,
}

/// Everything that is listed.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// `leads`, `follows` or `in_line`.
    pub standing: &'static str,
    /// Pending and firing, the worst first.
    pub alerts: Vec<Listed>,
    /// Where they are told.
    pub channels: Vec<ListedChannel>,
    /// The rules that hold.
    pub rules: Vec<String>,
    /// What is not told for a while.
    pub silences: Vec<Silence>,
}

/// Why a silence was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotSilenced {
    /// Something is missing.
    #[error(transparent)]
    Refused(#[from] silence::Refused),
    /// The others would not know of it.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

impl Watch {
    /// Alerting of this process, called `instance`, that has not begun yet.
    pub fn new(
        settings: Settings,
        tier: Tier,
        instance: &str,
        metrics: AlertMetrics,
        fleet: Arc<dyn Fleet>,
        alerts: Alerts,
    ) -> Self {
        settings.channels.iter().for_each(|channel| metrics.channel(channel.name));
        metrics.rules(&[], &settings.rules);
        let state = State {
            history: history(&settings),
            settings: Arc::new(settings),
            engine: engine::State::default(),
            scene: Scene::default(),
            log: Log::default(),
            silences: Vec::new(),
            // Nobody is told before the first meeting.
            standing: Standing::Follows,
            doubt: 0,
            unshared: Vec::new(),
            disabled: BTreeMap::new(),
        };
        Self(Arc::new(Inner {
            tier,
            instance: instance.to_owned(),
            metrics,
            fleet,
            alerts,
            state: Mutex::new(state),
            bell: watch::Sender::new(0),
        }))
    }

    /// Where code raises alerts itself.
    pub fn alerts(&self) -> Alerts {
        self.0.alerts.clone()
    }

    /// Puts other settings to work: from the next look on. What is known of alerts stays.
    pub fn adjust(&self, settings: Settings) {
        let mut state = self.0.state();
        if *state.settings == settings {
            return;
        }
        settings.channels.iter().for_each(|channel| self.0.metrics.channel(channel.name));
        self.0.metrics.rules(&state.settings.rules, &settings.rules);
        state.history = history(&settings);
        state.settings = Arc::new(settings);
        state.disabled.clear();
        drop(state);
        self.0.bell.send_modify(|rung| *rung += 1);
    }

    /// Looks and tells until `stopped`.
    pub async fn run(self, source: Arc<dyn Source>, stopped: impl Future<Output = ()>) {
        let outbox = Outbox::new(Arc::clone(&self.0));
        tokio::select! {
            () = stopped => {}
            () = self.look(source) => {}
            () = outbox.run() => {}
            () = self.beat() => {}
        }
    }

    async fn look(&self, source: Arc<dyn Source>) {
        loop {
            let settings = self.0.settings();
            if settings.enabled {
                self.0.turn(&settings, &*source).await;
            }
            tokio::time::sleep(settings.interval).await;
        }
    }

    /// Says that all is well with alerting itself, for whoever misses it.
    async fn beat(&self) {
        let post = Post::new().ok();
        loop {
            let settings = self.0.settings();
            let every = settings.heartbeat.as_ref().map_or(settings.interval, |(_, every)| *every);
            if let (Some((url, _)), Some(post), true) = (&settings.heartbeat, &post, self.0.speaks()) {
                let firing = self.0.state().scene.firing.len();
                let body =
                    serde_json::json!({ "status": "alive", "instance": self.0.instance, "firing": firing });
                let outcome = post.json(url.expose(), &[], body.to_string()).await.outcome;
                if outcome != Outcome::Sent {
                    tracing::warn!(outcome = outcome.word(), "heartbeat of alerting was not taken");
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Everything that is listed.
    pub fn view(&self) -> View {
        let state = self.0.state();
        let listed = |alert: &Alert, word: &'static str, muted: Option<Muted>| Listed {
            fingerprint: alert.fingerprint(),
            state: if muted.is_some() { "muted" } else { word },
            muted,
            rule: alert.rule.clone(),
            severity: alert.severity,
            labels: alert.labels.clone(),
            summary: alert.summary.clone(),
            since: super::shown(alert.since),
        };
        let muted = |alert: &Alert| state.scene.muted.get(&alert.fingerprint()).cloned();
        let firing = state.scene.firing.iter().map(|alert| listed(alert, "firing", muted(alert)));
        let pending = state.engine.pending();
        let channel = |channel: &Channel| ListedChannel {
            name: channel.name,
            min_severity: channel.least,
            disabled: state.disabled.get(channel.name).cloned(),
        };
        let time = now();
        View {
            standing: match state.standing {
                Standing::Leads(_) => "leads",
                Standing::Follows => "follows",
                Standing::InLine(_) => "in_line",
            },
            alerts: firing.chain(pending.iter().map(|alert| listed(alert, "pending", None))).collect(),
            channels: state.settings.channels.iter().map(channel).collect(),
            rules: state.settings.rules.iter().map(|rule| rule.name.clone()).collect(),
            silences: state.silences.iter().filter(|silence| silence.until > time).cloned().collect(),
        }
    }

    /// From which value on a rule sees a problem; `None` where no such rule holds.
    pub fn threshold(&self, rule: &str) -> Option<f64> {
        let settings = self.0.settings();
        settings.rules.iter().find(|known| known.name == rule).map(|rule| rule.bound.threshold())
    }

    /// The rules that hold, each with the labels that a silence of it may name; `None`: any.
    pub fn silenceable(&self) -> BTreeMap<String, Option<BTreeSet<String>>> {
        let settings = self.0.settings();
        let owned = |labels: BTreeSet<&str>| labels.into_iter().map(str::to_owned).collect();
        let of = |rule: &Rule| (rule.name.clone(), silence::labels_of(rule).map(owned));
        settings.rules.iter().map(of).collect()
    }

    /// What a peer is told when it asks.
    pub fn word(&self) -> Word {
        let state = self.0.state();
        Word { firing: state.scene.firing.clone(), told: state.log.all().cloned().collect() }
    }

    /// Makes a silence, for all processes.
    ///
    /// # Errors
    ///
    /// [`NotSilenced`] says what is missing, or that nobody would know.
    pub async fn silence(&self, wanted: Wanted) -> Result<Silence, NotSilenced> {
        let silence = {
            let state = self.0.state();
            if state.silences.len() >= silence::MOST {
                return Err(silence::Refused::TooMany.into());
            }
            Silence::new(wanted, &state.settings.rules, now())?
        };
        self.0.fleet.silence(silence.clone()).await?;
        self.0.state().silences.push(silence.clone());
        let detail = format!("{} until {}: {}", silence.author, super::shown(silence.until), silence.reason);
        self.0.remember("silenced", &silence.rule, &silence.labels, &detail).await;
        Ok(silence)
    }

    /// Ends a silence; whether there was one.
    ///
    /// # Errors
    ///
    /// When the others would not know of it.
    pub async fn unsilence(&self, id: &str, author: &str) -> Result<bool, Unreachable> {
        let was_there = self.0.fleet.unsilence(id, now()).await?;
        let ended = {
            let mut state = self.0.state();
            let ended = state.silences.iter().find(|silence| silence.id == id).cloned();
            state.silences.retain(|silence| silence.id != id);
            ended
        };
        if let Some(silence) = ended {
            self.0.remember("unsilenced", &silence.rule, &silence.labels, author).await;
        }
        Ok(was_there)
    }

    /// The last things that happened, the latest first.
    ///
    /// # Errors
    ///
    /// When they are kept where nobody can reach them now.
    pub async fn history(&self, most: usize) -> Result<Vec<Happened>, Unreachable> {
        self.0.fleet.history(most.min(1000)).await
    }

    /// Sends a message to one channel, or to all, that says that it is only a test. What came of each.
    pub async fn test(&self, only: Option<&str>) -> Vec<(&'static str, Outcome)> {
        let settings = self.0.settings();
        let Ok(post) = Post::new() else { return Vec::new() };
        let alert = Alert {
            rule: "Test".to_owned(),
            labels: Labels::new(),
            severity: Severity::Info,
            title: "Test Of Alerting".to_owned(),
            summary: "Somebody wanted to see that messages arrive here; nothing is wrong.".to_owned(),
            facts: vec![("instance".to_owned(), self.0.instance.clone())],
            since: now(),
        };
        let notice =
            Notice { group: "Test".to_owned(), why: Why::New, firing: vec![alert], resolved: Vec::new() };
        let mut outcomes = Vec::new();
        for channel in settings.channels.iter().filter(|channel| only.is_none_or(|only| only == channel.name))
        {
            let message = message::of(&notice, "", &settings.links, now());
            let outcome = channel.send(&post, &message, true).await.outcome;
            self.0.metrics.notified(channel.name, &outcome);
            match &outcome {
                // Whoever was gone is there again.
                Outcome::Sent => drop(self.0.state().disabled.remove(channel.name)),
                Outcome::Gone(why) => self.0.disable(channel.name, why),
                Outcome::Later { .. } | Outcome::Refused(_) => {}
            }
            outcomes.push((channel.name, outcome));
        }
        self.0.bell.send_modify(|rung| *rung += 1);
        outcomes
    }
}

/// How much is remembered: what the rules reach back to, and a few snapshots more.
fn history(settings: &Settings) -> History {
    let reach = settings.rules.iter().map(|rule| rule.expr.reach()).max().unwrap_or(0);
    let interval = millis(settings.interval);
    History::new(reach + 4 * interval, 3 * interval)
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    /// Whether this process tells, or would be the first to.
    fn speaks(&self) -> bool {
        match self.state().standing {
            Standing::Leads(until) => now() < until,
            Standing::InLine(place) => place == 0,
            Standing::Follows => false,
        }
    }

    async fn remember(&self, what: &str, rule: &str, labels: &Labels, detail: &str) {
        let happened = Happened {
            at: now(),
            what: what.to_owned(),
            rule: rule.to_owned(),
            labels: labels.clone(),
            detail: detail.to_owned(),
        };
        if let Err(error) = self.fleet.remember(happened).await {
            tracing::debug!(%error, "history of alerts could not be kept");
        }
    }

    /// Does not ask a channel any more, and says so as loudly as it can.
    pub(super) fn disable(&self, channel: &'static str, why: &str) {
        self.state().disabled.insert(channel, why.to_owned());
        self.metrics.disabled(channel);
        tracing::error!(
            channel,
            why,
            "channel takes no alerts any more and is not asked again until it is changed or tested"
        );
    }

    /// Whether a channel has said for good that it takes nothing.
    pub(super) fn is_disabled(&self, channel: &str) -> bool {
        self.state().disabled.contains_key(channel)
    }

    /// The messages that are due in a channel, if this process may tell them now.
    pub(super) fn due(&self, channel: &Channel, now: Millis) -> Vec<Notice> {
        let state = self.state();
        let mut timing = channel.timing(state.settings.timing);
        match state.standing {
            Standing::Follows => return Vec::new(),
            Standing::Leads(until) if now >= until => return Vec::new(),
            Standing::Leads(_) => {}
            Standing::InLine(place) => timing.patience = u64::from(place) * state.settings.line_wait,
        }
        super::notice::due(&state.scene, &state.log, channel.name, channel.least, timing, now)
    }

    /// Asks the others, where nobody leads, and takes their word.
    pub(super) async fn hear(&self) {
        if now() >= self.state().doubt {
            return;
        }
        let words = self.fleet.ask().await;
        let mut state = self.state();
        for word in words {
            word.told.into_iter().for_each(|told| state.log.note(told));
            // What another still sees is not over.
            for alert in word.firing {
                let key = alert.fingerprint();
                if !state.scene.firing.iter().any(|known| known.fingerprint() == key) {
                    // It is told by those who see it.
                    state.scene.muted.insert(key, Muted::Inhibited("peer".to_owned()));
                    state.scene.firing.push(alert);
                }
            }
        }
    }

    /// Notes that a message was taken, here and for all.
    pub(super) async fn told(&self, channel: &'static str, notices: &[Notice], at: Millis) {
        for notice in notices {
            let told = {
                let mut state = self.state();
                let told = notice.told(channel, state.log.of(channel, &notice.group), at);
                state.log.note(told.clone());
                told
            };
            if let Err(error) = self.fleet.note(told.clone()).await {
                self.state().unshared.push(told);
                tracing::warn!(channel, rule = notice.group, %error, "the others do not know that an alert was told");
            }
            let what = if notice.why == Why::Resolved { "its end" } else { "it" };
            self.remember("told", &notice.group, &Labels::new(), &format!("{channel} was told of {what}"))
                .await;
        }
    }

    pub(super) fn note(&self, channel: &'static str, outcome: &Outcome, took: std::time::Duration) {
        self.metrics.notified(channel, outcome);
        if *outcome == Outcome::Sent {
            self.metrics.took(took);
        }
    }

    /// The message of one notice, or of many at once.
    pub(super) fn message(&self, notices: &[Notice], now: Millis) -> Option<Message> {
        let settings = self.settings();
        match notices {
            [] => None,
            [one] => {
                let rule = settings.rules.iter().find(|rule| rule.name == one.group);
                let dashboard = rule.map_or("", |rule| rule.dashboard.as_str());
                Some(message::of(one, dashboard, &settings.links, now))
            }
            many => Some(message::digest(many, &settings.links, now)),
        }
    }
}
