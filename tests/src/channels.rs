//! Decides what Slack, Discord, PagerDuty and readers of Alertmanager's webhooks take, and notes what they would refuse.

mod shapes;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::backend::{Backend, Received, Reply};
use crate::eventually::eventually;
use crate::sync::lock;

/// Those that are there, with the path and what they answer when they take a message.
const ALL: [(&str, u16, &str); 4] = [
    ("slack", 200, "ok"),
    ("discord", 204, ""),
    ("pagerduty", 202, "{\"status\":\"success\",\"message\":\"Event processed\",\"dedup_key\":\"x\"}"),
    ("webhook", 200, ""),
];

/// Of a service of PagerDuty's: 32 characters.
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";
const SIGNING_KEY: &str = "signed with this";

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// As it begins, without signs: `High Error Rate Detected`.
    pub title: String,
    pub is_resolved: bool,
}

/// What is answered: first what was planned, then that it was taken.
#[derive(Debug, Default)]
struct Script {
    planned: BTreeMap<String, VecDeque<Reply>>,
    /// Which requests were taken.
    taken: Vec<(u64, Instant)>,
    /// How long Discord takes nothing after a message, and since when.
    bucket: Option<(Duration, Option<Instant>)>,
    /// What was asked while it took nothing.
    hasty: Vec<String>,
}

impl Script {
    /// What Discord answers while one message at a time fits into its bucket.
    fn of_a_bucket(&mut self, at: Instant) -> Option<Reply> {
        let (lasting, since) = self.bucket.as_mut()?;
        let left = since.map_or(Duration::ZERO, |since| lasting.saturating_sub(at - since));
        if left.is_zero() {
            *since = Some(at);
            return None;
        }
        self.hasty.push(format!("asked {left:?} before its bucket was full again"));
        let body =
            format!("{{\"message\":\"You are being rate limited.\",\"retry_after\":{}}}", left.as_secs_f64());
        Some(Reply::status(429).body(body))
    }
}

/// The four of them on one address.
#[derive(Debug)]
pub struct Channels {
    backend: Backend,
    script: Arc<Mutex<Script>>,
}

impl Channels {
    pub fn open() -> Channels {
        let backend = Backend::named("channels");
        let script = Arc::<Mutex<Script>>::default();
        let shared = Arc::clone(&script);
        backend.script(move |request| {
            let mut script = lock(&shared);
            let name = request.path().trim_start_matches('/').to_owned();
            if let Some(reply) = script.planned.get_mut(&name).and_then(VecDeque::pop_front) {
                return reply;
            }
            let Some((_, status, body)) = ALL.iter().find(|(known, _, _)| *known == name) else {
                return Reply::status(404);
            };
            let is_discord = name == "discord" && script.bucket.is_some();
            if is_discord && let Some(refusal) = script.of_a_bucket(request.at) {
                return refusal;
            }
            script.taken.push((request.connection, request.at));
            let reply = Reply::status(*status).body(*body);
            let Some((lasting, _)) = script.bucket.filter(|_| is_discord) else { return reply };
            reply
                .header("X-RateLimit-Limit", "1")
                .header("X-RateLimit-Remaining", "0")
                .header("X-RateLimit-Reset-After", &lasting.as_secs_f64().to_string())
        });
        Channels { backend, script }
    }

    /// What switches all of them on, as parts of the table `alerts`.
    pub fn toml(&self) -> String {
        let at = |path: &str| format!("http://{}/{path}", self.backend.address());
        format!(
            "slack = {{ enabled = true, webhook_url = '{}' }}, discord = {{ enabled = true, webhook_url = '{}' }}, \
             pagerduty = {{ enabled = true, url = '{}', routing_key = '{ROUTING_KEY}', min_severity = 'info' }}, \
             webhook = {{ enabled = true, url = '{}', key = '{SIGNING_KEY}' }}",
            at("slack"),
            at("discord"),
            at("pagerduty"),
            at("webhook"),
        )
    }

    /// The next requests to a channel are answered so; what follows is taken again.
    pub fn plan(&self, channel: &str, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.script).planned.entry(channel.to_owned()).or_default().extend(replies);
    }

    /// From now on Discord takes one message, and the next one so much later: it says so in the head of its answers.
    pub fn bucket(&self, lasting: Duration) {
        lock(&self.script).bucket = Some((lasting, None));
    }

    /// When each request to a channel came, taken or not.
    pub fn asked(&self, channel: &str) -> Vec<Instant> {
        self.requests(channel).iter().map(|request| request.at).collect()
    }

    /// What was sent to a channel, taken or not.
    pub fn bodies(&self, channel: &str) -> Vec<Value> {
        let requests = self.requests(channel);
        requests.iter().filter_map(|request| serde_json::from_slice(&request.body).ok()).collect()
    }

    /// What a channel took, in order.
    pub fn taken(&self, channel: &str) -> Vec<Taken> {
        let taken = lock(&self.script).taken.clone();
        let requests = self.requests(channel);
        let was_taken = |request: &&Received| taken.contains(&(request.connection, request.at));
        requests
            .iter()
            .filter(was_taken)
            .filter_map(|request| {
                shapes::taken(channel, &serde_json::from_slice(&request.body).unwrap_or_default())
            })
            .collect()
    }

    /// Waits until each channel took exactly this, in this order: titles of what began, and with `!` before them of what
    /// is over.
    #[track_caller]
    pub fn wait_for(&self, bound: Duration, expected: &[&str]) {
        for (channel, _, _) in ALL {
            let titles = || -> Vec<String> {
                let sign = |taken: &Taken| if taken.is_resolved { "!" } else { "" };
                self.taken(channel).iter().map(|taken| format!("{}{}", sign(taken), taken.title)).collect()
            };
            let what = format!("{channel} was told {expected:?}");
            let told = eventually(&what, bound, titles, |told| told.len() >= expected.len());
            assert_eq!(told, expected, "{channel}");
        }
    }

    /// What the services would have refused, or what they asked for and did not get.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            lock(&self.script).hasty.iter().map(|what| format!("discord: {what}")).collect();
        for (channel, _, _) in ALL {
            for request in self.requests(channel) {
                let mut fault = |what: String| faults.push(format!("{channel}: {what}"));
                if request.method != "POST" || request.header("content-type") != Some("application/json") {
                    fault(format!("{} with {:?}", request.method, request.header("content-type")));
                }
                let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
                    fault("a body that is no JSON".to_owned());
                    continue;
                };
                shapes::judge(channel, &body, request.body.len(), &mut fault);
                if channel == "pagerduty" && body["routing_key"] != ROUTING_KEY {
                    fault("another key".to_owned());
                }
                if channel == "webhook" && !is_signed(&request) {
                    fault("its signature is not of its time and body".to_owned());
                }
            }
        }
        faults
    }

    fn requests(&self, channel: &str) -> Vec<Received> {
        let path = format!("/{channel}");
        self.backend.requests_to(&path).into_iter().filter(|request| request.is_complete).collect()
    }
}

/// Asks OpenSSL whether `t=SECONDS,v1=HEX` is the HMAC-SHA256 of `SECONDS.BODY`.
fn is_signed(request: &Received) -> bool {
    let header = request.header("x-cirque-signature").unwrap_or_default();
    let Some((seconds, hex)) = header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")) else {
        return false;
    };
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-hmac", SIGNING_KEY, "-r"]);
    let Ok(mut openssl) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else { return false };
    if let Some(mut input) = openssl.stdin.take() {
        let signed = [seconds.as_bytes(), b".", &request.body].concat();
        if input.write_all(&signed).is_err() {
            return false;
        }
    }
    let Ok(output) = openssl.wait_with_output() else { return false };
    !hex.is_empty() && String::from_utf8_lossy(&output.stdout).split_whitespace().next() == Some(hex)
}

#[cfg(test)]
mod tests;
