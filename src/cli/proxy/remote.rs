//! Commands that talk to a running edge: where it is, who asks, and how its answers are told.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cirque_proxy::config::Config;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{Failure, block_on, say};
use crate::ask::{Answer, Asked};

/// Where the edge of an untouched configuration listens.
const USUAL: &str = "127.0.0.1:9901";

/// How long a change may take: names are looked up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a draining backend.
const LOOK: Duration = Duration::from_millis(200);

/// Which edge.
#[derive(Debug, Args)]
pub(in super::super) struct Remote {
    /// Admin address of the running edge, or unix:PATH. Without it the configuration file's own.
    #[arg(long, value_name = "ADDR", env = "CIRQUE_ADMIN")]
    admin: Option<String>,
    /// A token of its server.admin_tokens.
    #[arg(long, value_name = "TOKEN", env = "CIRQUE_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The configuration file that names the admin address.
    #[arg(short, long, value_name = "FILE", default_value = "conf/proxy.toml")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A backend of an upstream.
#[derive(Debug, Args)]
pub(in super::super) struct Which {
    /// The upstream's name.
    upstream: String,
    /// The backend's id.
    backend: String,
}

/// Why something is done: kept in the history and shown to the next operator.
#[derive(Debug, Args)]
pub(in super::super) struct Why {
    /// Why, for the next operator.
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

impl Remote {
    pub(in super::super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(in super::super) fn is_json(&self) -> bool {
        self.json
    }

    fn address(&self) -> String {
        let from_file = || Some(Config::load(&self.config).ok()?.admin.to_string());
        self.admin.clone().or_else(from_file).unwrap_or_else(|| USUAL.to_owned())
    }

    /// Asks, and gives the answer's body when it is a good one.
    pub(in super::super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        why: &str,
    ) -> Result<String, Failure> {
        let address = self.address();
        let user = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let mut headers = vec![("Cirque-By", user.unwrap_or_default()), ("Cirque-Why", why.to_owned())];
        if let Some(token) = &self.token {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let asked = Asked { method, path, headers: &headers, body: &body, patience: PATIENCE };
        let answer = asked.send(&address).with_context(|| {
            format!("could not ask the edge at {address}; is it running, and is this its [server] admin?")
        })?;
        told(answer)
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        let body = self.ask("GET", path, &Value::Null, "")?;
        Ok(serde_json::from_str(&body).context("the edge's answer was not JSON")?)
    }

    /// Asks for a change and says what it changed.
    fn change(&self, method: &str, path: &str, body: &Value, why: &str) -> Result<(), Failure> {
        let answer = self.ask(method, path, body, why)?;
        if self.json {
            say(answer.trim_end());
            return Ok(());
        }
        let answer: Value = serde_json::from_str(&answer).context("the edge's answer was not JSON")?;
        say_changes(&answer, "nothing changed");
        Ok(())
    }

    /// `cirque proxy reload`.
    pub(super) fn reload(&self, why: &Why) -> Result<(), Failure> {
        self.change("POST", "/v1/reload", &Value::Null, &why.comment)
    }

    /// `cirque proxy diff`.
    pub(super) fn diff(&self) -> Result<(), Failure> {
        let changes = self.get("/v1/config/diff")?;
        if self.json {
            say(&changes.to_string());
        } else {
            say_changes(&changes, "the file says what is at work");
        }
        Ok(())
    }

    /// `cirque proxy history`.
    pub(super) fn history(&self) -> Result<(), Failure> {
        let history = self.get("/v1/history")?;
        if self.json {
            say(&history.to_string());
            return Ok(());
        }
        for version in history["versions"].as_array().into_iter().flatten() {
            let text = |key: &str| version[key].as_str().unwrap_or_default();
            let mark = if version["number"] == history["at_work"] { '*' } else { ' ' };
            say(&format!("{mark}{:>5}  {}  {}  {}", version["number"], text("at"), text("by"), text("why")));
            for change in version["changes"].as_array().into_iter().flatten() {
                say(&format!("          {}", change.as_str().unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// `cirque proxy rollback`: to a version, or to the one before what is at work.
    pub(super) fn rollback(&self, version: Option<u64>, why: &Why) -> Result<(), Failure> {
        let version = match version {
            Some(version) => version,
            None => self.previous()?,
        };
        self.change("POST", "/v1/rollback", &json!({ "version": version }), &why.comment)?;
        if !self.json {
            say(&format!("version {version} is at work again"));
        }
        Ok(())
    }

    fn previous(&self) -> Result<u64, Failure> {
        let history = self.get("/v1/history")?;
        let at_work = history["at_work"].as_u64().unwrap_or_default();
        let numbers = history["versions"].as_array().into_iter().flatten();
        let numbers = numbers.filter_map(|version| version["number"].as_u64());
        let before = numbers.filter(|number| *number < at_work).max();
        Ok(before.context("there is no earlier version; `cirque proxy history` lists them")?)
    }

    /// `cirque proxy upstreams`.
    pub(super) fn upstreams(&self) -> Result<(), Failure> {
        let state = self.get("/v1/upstreams")?;
        if self.json {
            say(&serde_json::to_string_pretty(&state).unwrap_or_default());
            return Ok(());
        }
        say(&format!(
            "{:<16} {:<16} {:<28} {:>6} {:>9} {:>9} {:>7} {:>9}  STATE",
            "UPSTREAM", "BACKEND", "ADDRESS", "WEIGHT", "IN FLIGHT", "ANSWERS/S", "FAILS/S", "P99"
        ));
        for upstream in state["upstreams"].as_array().into_iter().flatten() {
            for backend in upstream["backends"].as_array().into_iter().flatten() {
                say(&row(upstream["name"].as_str().unwrap_or_default(), backend));
            }
        }
        Ok(())
    }

    /// `drain`, `undrain` and `maintain`; with `wait`, until nothing is in flight.
    pub(super) fn order(
        &self,
        which: &Which,
        state: &str,
        why: &Why,
        wait: Option<Duration>,
    ) -> Result<(), Failure> {
        let body = json!({ "state": state, "comment": why.comment });
        self.change("PUT", &which.path(), &body, &why.comment)?;
        match wait {
            Some(wait) => block_on(self.wait_until_idle(which, state, wait))?,
            None => Ok(()),
        }
    }

    async fn wait_until_idle(&self, which: &Which, state: &str, wait: Duration) -> Result<(), Failure> {
        let until = Instant::now() + wait;
        loop {
            let backend = self.get(&which.path())?;
            match backend["in_flight"].as_u64() {
                Some(0) => {
                    say(&format!("{} has nothing in flight", which.backend));
                    return Ok(());
                }
                left if Instant::now() >= until => {
                    let left = left.unwrap_or_default();
                    let said = format!("{} still has {left} in flight; it stays {state}", which.backend);
                    return Err(anyhow::Error::msg(said).into());
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// `cirque proxy weight`; `None` goes back to the configuration's.
    pub(super) fn weight(&self, which: &Which, weight: Option<u32>, why: &Why) -> Result<(), Failure> {
        self.change("PUT", &which.path(), &json!({ "weight": weight, "comment": why.comment }), &why.comment)
    }

    /// `cirque proxy add`.
    pub(super) fn add(
        &self,
        upstream: &str,
        address: &str,
        id: Option<&str>,
        weight: Option<u32>,
        why: &Why,
    ) -> Result<(), Failure> {
        let body = json!({ "address": address, "id": id, "weight": weight });
        self.change("POST", &format!("/v1/upstreams/{upstream}/backends"), &body, &why.comment)
    }

    /// `cirque proxy remove`.
    pub(super) fn remove(&self, which: &Which, why: &Why) -> Result<(), Failure> {
        self.change("DELETE", &which.path(), &Value::Null, &why.comment)
    }

    /// `cirque proxy upgrade`.
    pub(super) fn upgrade(&self, why: &Why) -> Result<(), Failure> {
        let answer = self.ask("POST", "/v1/upgrade", &Value::Null, &why.comment)?;
        if self.json {
            say(answer.trim_end());
            return Ok(());
        }
        let answer: Value = serde_json::from_str(&answer).context("the edge's answer was not JSON")?;
        say(&format!("process {} serves now; the old one leaves when it has finished", answer["pid"]));
        Ok(())
    }

    /// `cirque proxy explain`.
    pub(super) fn explain(&self, asked: &[(&str, &String)], headers: &[String]) -> Result<(), Failure> {
        let asked = asked.iter().map(|(name, value)| format!("&{name}={}", encoded(value)));
        let query = asked.collect::<String>();
        let headers = headers.iter().map(|header| format!("&header={}", encoded(header)));
        let query = query + &headers.collect::<String>();
        let explained = self.get(&format!("/v1/explain?{}", query.trim_start_matches('&')))?;
        if self.json {
            say(&serde_json::to_string_pretty(&explained).unwrap_or_default());
            return Ok(());
        }
        say(explained["request"].as_str().unwrap_or_default());
        for line in explained["because"].as_array().into_iter().flatten() {
            say(&format!("  {}", line.as_str().unwrap_or_default()));
        }
        for candidate in explained["candidates"].as_array().into_iter().flatten() {
            let standing = match candidate["out_because"].as_str() {
                Some(why) => format!("out: {why}"),
                None => format!("score {}", candidate["score"]),
            };
            say(&format!(
                "    {:<16} in flight {:>5}  weight {:>4}  {standing}",
                candidate["backend"].as_str().unwrap_or_default(),
                number(candidate, "in_flight"),
                number(candidate, "weight"),
            ));
        }
        Ok(())
    }
}

impl Which {
    fn path(&self) -> String {
        format!("/v1/upstreams/{}/backends/{}", encoded(&self.upstream), encoded(&self.backend))
    }
}

/// The body of a good answer, or what the edge says is wrong.
fn told(answer: Answer) -> Result<String, Failure> {
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let message = problem["message"].as_str().unwrap_or(answer.body.trim()).to_owned();
    if answer.status == 422 {
        return Err(Failure::Refused(message));
    }
    Err(anyhow::Error::msg(format!("the edge refused ({}): {message}", answer.status)).into())
}

fn say_changes(answer: &Value, none: &str) {
    let changes: Vec<&str> =
        answer["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if changes.is_empty() {
        say(none);
    }
    for change in changes {
        say(change);
    }
}

fn row(upstream: &str, backend: &Value) -> String {
    let text = |key: &str| backend[key].as_str().unwrap_or_default();
    let mut state = match backend["reason"].as_str() {
        None => "available".to_owned(),
        Some(reason) => format!("{reason} (probe {}, {})", text("probe"), text("outlier")),
    };
    if !text("comment").is_empty() {
        state += &format!(" \"{}\"", text("comment"));
    }
    let recent = &backend["recent"];
    let p99 = recent["p99_ms"].as_f64().map_or_else(|| "-".to_owned(), |p99| format!("{p99:.1} ms"));
    if let Some(newest) = backend["last_errors"].get(0) {
        state += &format!("; last error {} at {}", newest["reason"], newest["at"]).replace('"', "");
    }
    format!(
        "{upstream:<16} {:<16} {:<28} {:>6} {:>9} {:>9.1} {:>7.1} {p99:>9}  {state}",
        text("id"),
        text("address"),
        number(backend, "weight"),
        number(backend, "in_flight"),
        recent["answers_per_second"].as_f64().unwrap_or_default(),
        recent["failures_per_second"].as_f64().unwrap_or_default(),
    )
}

/// JSON's own numbers take no notice of the width of a column.
fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_default()
}

/// A value for a path or a query.
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().fold(String::new(), |mut out, byte| {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
        out
    })
}
