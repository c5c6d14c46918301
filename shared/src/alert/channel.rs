//! Decides how a message reaches a channel, what its answer means, and how often it may be asked.

mod alertmanager;
mod discord;
mod mail;
mod pace;
mod pagerduty;
mod slack;
mod webhook;

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::message::Message;
use super::notice::Timing;
use super::{Millis, Severity, millis, now};
use crate::config::secret::Secret;
pub use mail::Mail;
pub use pace::{Pace, Rate};

/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest pause that a channel may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How many messages Discord takes now, and in how many seconds it takes all again.
const LEFT: &str = "x-ratelimit-remaining";
const RESET_AFTER: &str = "x-ratelimit-reset-after";

/// The most bytes of an answer that are read, for the pause that it asks for.
const MOST_ANSWER: usize = 4096;

/// Somewhere that alerts are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// What it is called: in the configuration, in metrics and in the log of what was told.
    pub name: &'static str,
    /// What is less bad is not told there.
    pub least: Severity,
    /// Where it leads.
    pub to: To,
}

/// Where a channel leads.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// An incoming webhook of Slack's.
    Slack(Secret),
    /// A webhook of Discord's.
    Discord(Secret),
    /// E-mail.
    Mail(Mail),
    /// Anybody who reads what Alertmanager sends; the key signs it.
    Webhook {
        /// Where to.
        url: Secret,
        /// May be empty: then nothing is signed.
        key: Secret,
    },
    /// PagerDuty's events, version 2.
    PagerDuty {
        /// Where to.
        url: String,
        /// Which service.
        key: Secret,
    },
    /// An Alertmanager, which groups and silences by itself.
    Alertmanager(String),
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Sent,
    /// Not now: it is tried again, no sooner than after the pause that the channel asked for.
    Later {
        /// The pause, where it asked for one.
        after: Option<Duration>,
        /// What happened.
        why: String,
    },
    /// This message will never be taken; the next one may be.
    Refused(String),
    /// No message will be taken: the address or the key is wrong.
    Gone(String),
}

impl Outcome {
    /// What it is called in metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Later { .. } => "later",
            Self::Refused(_) => "refused",
            Self::Gone(_) => "gone",
        }
    }

    /// All of them.
    pub const WORDS: [&'static str; 4] = ["sent", "later", "refused", "gone"];

    fn later(why: impl Into<String>) -> Self {
        Self::Later { after: None, why: why.into() }
    }
}

/// What a channel answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What came of the message.
    pub outcome: Outcome,
    /// For how long it takes no other, taken or not: Discord says so once its bucket is empty.
    pub rest: Option<Duration>,
}

impl From<Outcome> for Answered {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, rest: None }
    }
}

/// What sends messages over HTTP.
#[derive(Clone, Debug)]
pub struct Post(reqwest::Client);

impl Post {
    /// A client without redirects: an address that moves is the operator's to change.
    ///
    /// # Errors
    ///
    /// When the machine has no certificates to check others with.
    pub fn new() -> Result<Self, reqwest::Error> {
        // Whoever was first has set the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .user_agent(concat!("cirque/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self(client))
    }

    /// Sends JSON.
    pub async fn json(&self, url: &str, headers: &[(&str, String)], body: String) -> Answered {
        let mut request = self.0.post(url).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Ok(answer) => judge(answer).await,
            Err(error) => Outcome::later(trouble(error)).into(),
        }
    }

    /// The text at an address, for a question to a peer.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn get(&self, url: &str, headers: &[(&str, String)]) -> Result<String, String> {
        let mut request = self.0.get(url).timeout(Duration::from_secs(3));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.map_err(trouble)?;
        if !answer.status().is_success() {
            return Err(format!("answered {}", answer.status().as_u16()));
        }
        bounded(answer, 4 * 1024 * 1024).await.ok_or_else(|| "the answer is too long or was cut".to_owned())
    }
}

/// What went wrong, without the address: it may be a secret.
fn trouble(error: reqwest::Error) -> String {
    crate::report::chain(&error.without_url())
}

async fn bounded(mut answer: reqwest::Response, most: usize) -> Option<String> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.ok()? {
        if body.len() + piece.len() > most {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    String::from_utf8(body).ok()
}

async fn judge(answer: reqwest::Response) -> Answered {
    let status = answer.status().as_u16();
    let text = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    let (asked, left, reset) = (text(RETRY_AFTER.as_str()), text(LEFT), text(RESET_AFTER));
    let rest = rest(left.as_deref(), reset.as_deref());
    let body = if status == 429 { bounded(answer, MOST_ANSWER).await } else { None };
    Answered { outcome: verdict(status, asked.as_deref(), body.as_deref(), now()), rest }
}

/// How long nothing more is taken, when nothing is left of what may be sent.
fn rest(left: Option<&str>, reset_after: Option<&str>) -> Option<Duration> {
    if left?.trim() != "0" {
        return None;
    }
    seconds(reset_after?.trim().parse().ok()?)
}

/// A pause in seconds, as long as anybody may ask for; `None` for what is no time.
fn seconds(pause: f64) -> Option<Duration> {
    let is_time = pause.is_finite() && pause >= 0.0;
    is_time.then(|| Duration::try_from_secs_f64(pause).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE))
}

/// What a status means, with the pause that the answer asks for: in its head, or in a body as Discord's.
fn verdict(status: u16, retry_after: Option<&str>, body: Option<&str>, now: Millis) -> Outcome {
    let why = format!("answered {status}");
    match status {
        200..300 => Outcome::Sent,
        408 | 429 | 500.. => {
            let in_body = || serde_json::from_str::<serde_json::Value>(body?).ok()?["retry_after"].as_f64();
            let asked = retry_after.and_then(|text| pause(text, now)).or_else(in_body);
            Outcome::Later { after: asked.and_then(seconds), why }
        }
        // An address that has moved is the operator's to change.
        300..=399 | 401 | 403 | 404 | 405 | 410 => Outcome::Gone(why),
        _ => Outcome::Refused(why),
    }
}

/// The seconds that `Retry-After` asks for: a number, or a date (RFC 9110, section 10.2.3).
fn pause(text: &str, now: Millis) -> Option<f64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let until = OffsetDateTime::parse(text, &Rfc2822).ok()?.unix_timestamp();
        Some((until as f64 - now as f64 / 1000.0).max(0.0))
    })
}

impl Channel {
    /// Whether people read it: then many messages are one.
    pub fn is_for_people(&self) -> bool {
        matches!(self.to, To::Slack(_) | To::Discord(_) | To::Mail(_))
    }

    /// How often it may be asked.
    pub fn rate(&self) -> Rate {
        match &self.to {
            To::Slack(_) => Rate { burst: 1, each: 1_000 },
            // It allows 5 in 2 seconds, and 30 in any minute.
            To::Discord(_) => Rate { burst: 5, each: 2_400 },
            To::Mail(mail) => {
                Rate { burst: mail.per_hour, each: 3_600_000 / u64::from(mail.per_hour.max(1)) }
            }
            // It allows 120 in any minute.
            To::PagerDuty { .. } => Rate { burst: 10, each: 600 },
            To::Webhook { .. } | To::Alertmanager(_) => Rate { burst: 20, each: 100 },
        }
    }

    /// How long its messages wait. An Alertmanager groups by itself, and forgets what it is not told again.
    pub fn timing(&self, usual: Timing) -> Timing {
        match self.to {
            To::Alertmanager(_) => {
                Timing { wait: 0, interval: 0, repeat: millis(alertmanager::AGAIN), ..usual }
            }
            _ => usual,
        }
    }

    /// Sends a message. `is_first`: nothing was told of this problem yet.
    pub async fn send(&self, post: &Post, message: &Message, is_first: bool) -> Answered {
        match &self.to {
            To::Slack(url) => post.json(url.expose(), &[], slack::body(message).to_string()).await,
            To::Discord(url) => post.json(url.expose(), &[], discord::body(message).to_string()).await,
            To::Mail(mail) => mail.send(message, is_first).await.into(),
            To::Webhook { url, key } => {
                let body = webhook::body(message).to_string();
                let headers = webhook::signed(key, &body, message.at);
                post.json(url.expose(), &headers, body).await
            }
            To::PagerDuty { url, key } => {
                post.json(url, &[], pagerduty::body(message, key.expose()).to_string()).await
            }
            To::Alertmanager(url) => {
                let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
                post.json(&url, &[], alertmanager::body(message).to_string()).await
            }
        }
    }
}

/// Labels as others name them: with the rule as `alertname`, and the severity.
fn labels(alert: &super::Alert) -> super::Labels {
    let mut labels = alert.labels.clone();
    labels.insert("alertname".to_owned(), alert.rule.clone());
    labels.insert("severity".to_owned(), alert.severity.word().to_owned());
    labels
}

/// What is written beside an alert for those who read Alertmanager's format.
fn annotations(alert: &super::Alert, message: &Message) -> super::Labels {
    let mut notes = super::Labels::new();
    notes.insert("title".to_owned(), alert.title.clone());
    notes.insert("summary".to_owned(), alert.summary.clone());
    if !message.runbook.is_empty() {
        notes.insert("runbook_url".to_owned(), message.runbook.clone());
    }
    if !message.dashboard.is_empty() {
        notes.insert("dashboard_url".to_owned(), message.dashboard.clone());
    }
    notes
}

/// What a field is called for people: `error_count` is `Error count`.
fn spoken(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
