//! `cirque proxy log` and `cirque app log`: which lines a running edge or node writes, changed for a while.

use std::time::Duration;

use anyhow::Context as _;
use cirque_shared::config::units::parse_duration;
use cirque_shared::telemetry::levels::Wanted;
use clap::Args;
use serde_json::{Value, json};

use super::proxy::remote::Remote;
use super::{Failure, say};
use crate::ask;

/// What is wanted of the log; nothing shows what holds.
#[derive(Debug, Args)]
pub(super) struct Wish {
    /// Like `debug`, or `info,cirque_app::queue=debug`; without it, what holds is shown.
    #[arg(conflicts_with = "reset")]
    level: Option<String>,
    /// For so long, up to 24h; then the configuration's level holds again.
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "15m")]
    lasting: Duration,
    /// Let the configuration's level hold again now.
    #[arg(long)]
    reset: bool,
}

/// Which node.
#[derive(Debug, Args)]
pub(super) struct NodeLog {
    #[command(flatten)]
    wish: Wish,
    /// The node's address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    app: String,
    /// A token of an admin's.
    #[arg(long, value_name = "TOKEN", env = "CIRQUE_APP_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be like \"15m\" or \"2h\"".to_owned())
}

impl Wish {
    /// Method and body of the request that asks for it.
    fn request(&self) -> (&'static str, Value) {
        match &self.level {
            Some(level) => {
                ("PUT", json!(Wanted { level: level.clone(), seconds: Some(self.lasting.as_secs()) }))
            }
            None if self.reset => ("DELETE", Value::Null),
            None => ("GET", Value::Null),
        }
    }
}

/// `cirque proxy log`.
pub(super) fn edge(wish: &Wish, remote: &Remote) -> Result<(), Failure> {
    let (method, body) = wish.request();
    let answer = remote.ask(method, "/v1/log", &body, "")?;
    tell(&serde_json::from_str(&answer).context("the edge's answer was not JSON")?, remote.is_json());
    Ok(())
}

/// `cirque app log`.
pub(super) fn node(asked: &NodeLog) -> Result<(), Failure> {
    let (method, body) = asked.wish.request();
    tell(&ask::node(&asked.app, asked.token.as_deref(), method, "/api/admin/log", &body)?, asked.json);
    Ok(())
}

fn tell(shown: &Value, is_json: bool) {
    if is_json {
        return say(&shown.to_string());
    }
    let text = |key: &str| shown[key].as_str().unwrap_or_default();
    match shown["seconds"].as_u64() {
        Some(left) => say(&format!(
            "{} for {left} more seconds, asked for by {}; configured is {}",
            text("level"),
            text("by"),
            text("configured")
        )),
        None => say(&format!("{}, as configured", text("level"))),
    }
}
