//! `cirque proxy …`: runs the edge, checks its configuration, asks the running one.

use std::path::PathBuf;

use anyhow::Context as _;
use cirque_proxy::config::Config;
use clap::{Args, Subcommand};

use super::{Failure, say};
use crate::up::http;

/// Commands of the edge.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the edge in the foreground; SIGTERM or Ctrl-C stops it once nothing is in flight.
    #[command(after_help = "Example:\n  cirque proxy run -c conf/proxy.toml")]
    Run(File),
    /// Check a configuration: every problem at once, with line and column.
    #[command(after_help = "Example:\n  cirque proxy check -c conf/proxy.toml")]
    Check(File),
    /// Show the upstreams of the running edge and what is held against each backend.
    #[command(after_help = "Example:\n  cirque proxy upstreams --admin 127.0.0.1:9901")]
    Upstreams(Ask),
}

/// Which configuration.
#[derive(Debug, Args)]
pub(super) struct File {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "conf/proxy.toml")]
    config: PathBuf,
}

/// Which edge.
#[derive(Debug, Args)]
pub(super) struct Ask {
    /// Admin address of the running edge.
    #[arg(long, value_name = "ADDR", env = "CIRQUE_ADMIN", default_value = "127.0.0.1:9901")]
    admin: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(File { config: path }) => {
            let config = Config::load(&path)?;
            // pingora's own lines repeat what the access log says, and a client could fill the log with them.
            let (quiet, silent) = (["pingora_core", "pingora_pool"], ["pingora_proxy"]);
            cirque_shared::telemetry::init(config.log_level, config.log_format, &quiet, &silent);
            Ok(cirque_proxy::server::run(&path, &config)?)
        }
        Command::Check(File { config: path }) => {
            let config = Config::load(&path)?;
            let backends: usize = config.upstreams.iter().map(|upstream| upstream.backends.len()).sum();
            say(&format!(
                "{} is valid: {}, {}, {}, {}",
                path.display(),
                counted(config.listeners.len(), "listener"),
                counted(config.routes.len(), "route"),
                counted(config.upstreams.len(), "upstream"),
                counted(backends, "backend"),
            ));
            Ok(())
        }
        Command::Upstreams(ask) => upstreams(&ask),
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn upstreams(ask: &Ask) -> Result<(), Failure> {
    let body = http::get(&ask.admin, "/v1/upstreams").with_context(|| {
        format!("could not ask the edge at {}; is it running, and is this its [server] admin?", ask.admin)
    })?;
    if ask.json {
        say(body.trim_end());
        return Ok(());
    }
    let state: serde_json::Value = serde_json::from_str(&body).context("the edge's answer was not JSON")?;
    say(&format!(
        "{:<16} {:<16} {:<28} {:>6} {:>9}  STATE",
        "UPSTREAM", "BACKEND", "ADDRESS", "WEIGHT", "IN FLIGHT"
    ));
    for upstream in state["upstreams"].as_array().into_iter().flatten() {
        for backend in upstream["backends"].as_array().into_iter().flatten() {
            let text = |key: &str| backend[key].as_str().unwrap_or_default().to_owned();
            let state = match backend["reason"].as_str() {
                None => "available".to_owned(),
                Some(reason) => format!("{reason} (probe {}, {})", text("probe"), text("outlier")),
            };
            say(&format!(
                "{:<16} {:<16} {:<28} {:>6} {:>9}  {state}",
                upstream["name"].as_str().unwrap_or_default(),
                text("id"),
                text("address"),
                backend["weight"],
                backend["in_flight"],
            ));
        }
    }
    Ok(())
}
