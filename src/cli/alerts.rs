//! `cirque alerts …`: what is wrong, where it is told, and what is silenced; asks a running edge or node.

use std::time::Duration;

use anyhow::Context as _;
use cirque_shared::alert::rule::{self, Tier, prometheus};
use cirque_shared::config::units::parse_duration;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::proxy::remote::Remote;
use super::{Failure, say};
use crate::ask;

/// Commands about alerts.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what fires and what may soon, the channels, and the silences.
    #[command(after_help = "Example:\n  cirque alerts list --app 127.0.0.1:8001")]
    List(Whom),
    /// Send a message that says that it is a test, to one channel or to all; fails when one does not take it.
    #[command(after_help = "Example:\n  cirque alerts test --channel slack")]
    Test {
        /// One channel, like slack.
        #[arg(long)]
        channel: Option<String>,
        #[command(flatten)]
        whom: Whom,
    },
    /// Tell nothing about a rule for a while; what fires is still listed and logged.
    #[command(
        after_help = "Example:\n  cirque alerts silence BackendDown --label backend=app-1 --for 2h --reason \"new disk\""
    )]
    Silence {
        /// A rule's name; * is any, with labels.
        rule: String,
        /// Only alerts with this label, like backend=app-1; may be given several times.
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// For how long, up to 90 days (2160h).
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasting: Duration,
        /// Why, for whoever wonders later.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who says so; without it, your login name or the token's.
        #[arg(long, value_name = "NAME")]
        author: Option<String>,
        #[command(flatten)]
        whom: Whom,
    },
    /// End a silence now.
    #[command(after_help = "Example:\n  cirque alerts unsilence 1f2e3d4c")]
    Unsilence {
        /// The silence's id, from the list.
        id: String,
        #[command(flatten)]
        whom: Whom,
    },
    /// List what happened lately: what fired, what was told, what was silenced.
    #[command(after_help = "Example:\n  cirque alerts history")]
    History(Whom),
    /// Print the built-in rules: as they are, or as a tier's rules for Prometheus.
    #[command(after_help = "Example:\n  cirque alerts rules edge > monitoring/alerts/edge.yml")]
    Rules {
        /// As Prometheus reads them.
        #[arg(value_parser = ["app", "edge"])]
        tier: Option<String>,
    },
}

/// Which edge or node is asked.
#[derive(Debug, Args)]
pub(super) struct Whom {
    #[command(flatten)]
    edge: Remote,
    /// Ask an app node at this address instead of the edge; --token is then a token of an admin's.
    #[arg(long, value_name = "ADDR")]
    app: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be like \"30m\" or \"2h\", up to \"2160h\" (90 days)".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "must be like backend=app-1".to_owned())
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(whom) => list(&whom),
        Command::Test { channel, whom } => test(channel.as_deref(), &whom),
        Command::Silence { rule, labels, lasting, reason, author, whom } => {
            let labels: serde_json::Map<String, Value> =
                labels.into_iter().map(|(name, value)| (name, value.into())).collect();
            let author = author.unwrap_or_default();
            let wanted = json!({ "rule": rule, "labels": labels, "author": author, "reason": reason, "seconds": lasting.as_secs() });
            let silence = whom.ask("POST", "/silences", &wanted)?;
            whom.tell(&silence, |silence| {
                vec![format!(
                    "silence {} holds until it ends by itself",
                    silence["id"].as_str().unwrap_or_default()
                )]
            });
            Ok(())
        }
        Command::Unsilence { id, whom } => {
            whom.ask("DELETE", &format!("/silences/{id}"), &Value::Null)?;
            say(&format!("silence {id} has ended"));
            Ok(())
        }
        Command::History(whom) => {
            let history = whom.ask("GET", "/history", &Value::Null)?;
            whom.tell(&history, |history| {
                history["history"].as_array().into_iter().flatten().map(happened).collect()
            });
            Ok(())
        }
        Command::Rules { tier } => {
            let text = match tier.as_deref() {
                None => rule::BUILT_IN.to_owned(),
                Some("app") => prometheus::file(&rule::built_in(), Tier::App),
                Some(_) => prometheus::file(&rule::built_in(), Tier::Edge),
            };
            say(text.trim_end());
            Ok(())
        }
    }
}

fn list(whom: &Whom) -> Result<(), Failure> {
    let view = whom.ask("GET", "", &Value::Null)?;
    whom.tell(&view, |view| {
        let rows = |key: &str| view[key].as_array().cloned().unwrap_or_default();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let mut lines = vec![format!("this one {} in telling", text(view, "standing").replace('_', " "))];
        for alert in rows("alerts") {
            let (state, severity) = (text(&alert, "state"), text(&alert, "severity"));
            let (since, rule, summary) =
                (text(&alert, "since"), text(&alert, "rule"), text(&alert, "summary"));
            lines.push(format!("{state:<8} {severity:<9} {since}  {rule}  {summary}"));
        }
        if rows("alerts").is_empty() {
            lines.push("nothing fires".to_owned());
        }
        for channel in rows("channels") {
            let why = channel["disabled"].as_str();
            let standing = why.map_or_else(
                || "on".to_owned(),
                |why| format!("DISABLED: {why}; `cirque alerts test` asks again"),
            );
            lines.push(format!(
                "channel  {:<12} from {:<9} {standing}",
                text(&channel, "name"),
                text(&channel, "min_severity")
            ));
        }
        if rows("channels").is_empty() {
            lines.push("no channel is switched on: alerts are in the log alone".to_owned());
        }
        for silence in rows("silences") {
            let (id, rule) = (text(&silence, "id"), text(&silence, "rule"));
            let (author, reason) = (text(&silence, "author"), text(&silence, "reason"));
            let until = cirque_shared::alert::shown(silence["until"].as_u64().unwrap_or_default());
            lines.push(format!(
                "silence  {id}  {rule} {} until {until}, {author}: {reason}",
                labels(&silence["labels"])
            ));
        }
        lines
    });
    Ok(())
}

fn test(channel: Option<&str>, whom: &Whom) -> Result<(), Failure> {
    let answer = whom.ask("POST", "/test", &json!({ "channel": channel }))?;
    let channels = answer["channels"].as_array().cloned().unwrap_or_default();
    whom.tell(&answer, |_| {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        channels
            .iter()
            .map(|row| {
                format!("{:<12} {:<8} {}", text(row, "channel"), text(row, "outcome"), text(row, "why"))
            })
            .collect()
    });
    if channels.is_empty() {
        return Err(anyhow::anyhow!(
            "there is no such channel, or none is switched on; `cirque alerts list` shows them"
        )
        .into());
    }
    if channels.iter().any(|row| row["outcome"] != "sent") {
        return Err(anyhow::anyhow!("not every channel took the message").into());
    }
    Ok(())
}

fn happened(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let at = cirque_shared::alert::shown(row["at"].as_u64().unwrap_or_default());
    format!("{at}  {:<10} {}  {}  {}", text("what"), text("rule"), labels(&row["labels"]), text("detail"))
}

fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(" ")
}

impl Whom {
    /// Asks, and gives the answer; `path` is what follows the place of alerts.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let Some(address) = &self.app else {
            let text = self.edge.ask(method, &format!("/v1/alerts{path}"), body, "")?;
            return Ok(serde_json::from_str(&text).context("the edge's answer was not JSON")?);
        };
        let path = format!("/api/alerts{path}");
        Ok(ask::node(address, self.edge.token(), method, &path, body)?)
    }

    fn tell(&self, answer: &Value, lines: impl FnOnce(&Value) -> Vec<String>) {
        if self.edge.is_json() {
            say(&answer.to_string());
        } else {
            lines(answer).iter().for_each(|line| say(line));
        }
    }
}
