//! `cirque app …`: serves the API and prepares its database.

mod accounts;
mod queue;
mod serve;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cirque_app::config::Config;
use cirque_app::queue::Queue;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Failure, block_on, log, say};
use crate::ask::Asked;

/// Commands of the app tier.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the API in the foreground; SIGTERM or Ctrl-C stops it once nothing is in flight.
    #[command(
        after_help = "Example:\n  cirque app serve --port 8001 --database sqlite:var/app.db\n  cirque app serve --workers 4 --max-requests 50000 --max-memory 512MiB"
    )]
    Serve(serve::Serve),
    /// Bring the database's schema up to date; safe to run from many nodes at once.
    #[command(after_help = "Example:\n  cirque app migrate --dry-run --database sqlite:var/app.db")]
    Migrate(Migrate),
    /// Fill an empty database with demo articles, the same ones for the same number.
    #[command(after_help = "Example:\n  cirque app seed --posts 500 --database sqlite:var/app.db")]
    Seed(Seed),
    /// Do jobs in the foreground, beside or instead of the nodes; SIGTERM or Ctrl-C stops it once nothing is in hand.
    #[command(after_help = "Example:\n  cirque app work --queue mail --jobs 4 --database sqlite:var/app.db")]
    Work(Work),
    /// Jobs: see them and steer them.
    #[command(subcommand)]
    Queue(queue::Command),
    /// Webhooks: whose servers are told of events.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Accounts: who may sign in, and as what.
    #[command(subcommand)]
    User(accounts::User),
    /// Tokens: what programs get in with.
    #[command(subcommand)]
    Token(accounts::Token),
    /// Show which lines a running node writes to its log, or let it write others for a while; for admins.
    #[command(
        after_help = "Example:\n  cirque app log cirque_app::queue=debug --for 5m --app 127.0.0.1:8001"
    )]
    Log(log::NodeLog),
    /// Check the configuration, the database and its schema; or, with --live, a node that runs.
    #[command(
        after_help = "Example:\n  cirque app check --database sqlite:var/app.db\n  cirque app check --live http://127.0.0.1:8001"
    )]
    Check {
        #[command(flatten)]
        place: Where,
        /// Ask a running node how it is instead: 0 when it serves, 1 when it does not or does not answer.
        #[arg(long, value_name = "URL", value_parser = node)]
        live: Option<String>,
    },
}

/// Which configuration, and which database.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The configuration file; without one the compiled-in defaults (conf/app.toml) hold.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database to use instead of the file's, like `sqlite:var/app.db` or `postgres://user@host/name`.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
}

/// How to migrate.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    place: Where,
    /// Only say what would be applied.
    #[arg(long)]
    dry_run: bool,
    /// Only list every migration, and whether it was applied.
    #[arg(long, conflicts_with = "dry_run")]
    status: bool,
    /// With --status: one JSON object per line.
    #[arg(long, requires = "status")]
    json: bool,
}

/// What to work at.
#[derive(Debug, Args)]
pub(super) struct Work {
    #[command(flatten)]
    place: Where,
    /// Only this queue (default, mail or webhooks); may be given several times.
    #[arg(long = "queue", value_parser = queue::queue)]
    queues: Vec<Queue>,
    /// Jobs at once instead of the file's.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: Option<u16>,
    /// Answer /livez, /readyz and /api/metrics here, instead of at the file's queue.listen.
    #[arg(long, value_name = "ADDR")]
    listen: Option<std::net::SocketAddr>,
}

/// What to fill in.
#[derive(Debug, Args)]
pub(super) struct Seed {
    #[command(flatten)]
    place: Where,
    /// How many posts.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    posts: u64,
}

impl Migrate {
    fn run(&self) -> Result<(), Failure> {
        let config = self.place.load()?;
        if !self.dry_run && !self.status {
            let outcome = block_on(cirque_app::migrate::run(&config))??;
            say(&outcome.to_string());
            return Ok(());
        }
        let standing = block_on(cirque_app::migrate::standing(&config))??;
        if self.dry_run {
            say(&standing.to_string());
            return Ok(());
        }
        for (migration, is_applied) in &standing.migrations {
            if self.json {
                let line = serde_json::json!({
                    "version": migration.version, "name": migration.name, "applied": is_applied,
                });
                say(&line.to_string());
            } else {
                let word = if *is_applied { "applied" } else { "missing" };
                say(&format!("{word}  {migration}"));
            }
        }
        Ok(())
    }
}

impl Where {
    fn load(&self) -> Result<Config, Failure> {
        let config = Config::load(self.config.as_deref())?;
        match &self.database {
            Some(url) => Ok(config.with_database(url).context("--database")?),
            None => Ok(config),
        }
    }
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Migrate(migrate) => migrate.run(),
        Command::Seed(seed) => {
            let outcome = block_on(cirque_app::seed::run(&seed.place.load()?, seed.posts))??;
            say(&outcome.to_string());
            outcome.login().iter().for_each(|login| say(login));
            Ok(())
        }
        Command::Work(work) => {
            let mut config = work.place.load()?;
            // Who says `work` means it, whatever the nodes are told.
            config.queue.workers = work.jobs.map_or(config.queue.workers.max(1), usize::from);
            config.queue.listen = work.listen.or(config.queue.listen);
            cirque_shared::telemetry::init(config.log.level, config.log.format, &["sqlx", "hyper"], &[]);
            let queues = if work.queues.is_empty() { Queue::ALL.to_vec() } else { work.queues };
            Ok(block_on(cirque_app::work::run(config, queues))??)
        }
        Command::Queue(command) => queue::run(&command),
        Command::Webhook(command) => webhook::run(&command),
        Command::Log(asked) => log::node(&asked),
        Command::User(command) => accounts::user(&command),
        Command::Token(command) => accounts::token(&command),
        Command::Check { live: Some(address), .. } => live(&address),
        Command::Check { place, live: None } => {
            let findings = block_on(cirque_app::check::run(&place.load()?))?;
            for finding in &findings {
                say(&finding.to_string());
            }
            if findings.iter().any(|finding| finding.verdict == cirque_app::check::Verdict::Bad) {
                return Err(anyhow::anyhow!("the app is not ready to serve").into());
            }
            Ok(())
        }
    }
}

/// Host and port of a node's address.
fn node(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if rest.contains('/') || !rest.contains(':') {
        return Err("must be like http://127.0.0.1:8001".to_owned());
    }
    Ok(rest.to_owned())
}

/// What a node says of itself, a line for each service.
fn live(address: &str) -> Result<(), Failure> {
    let answer = Asked { patience: Duration::from_secs(10), ..Asked::get("/api/health") }.send(address);
    let answer = answer.with_context(|| format!("could not ask the node at {address}; is it running?"))?;
    let report: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    for (service, word) in report["services"].as_object().into_iter().flatten() {
        say(&format!("{service:<14} {}", word.as_str().map_or_else(|| word.to_string(), str::to_owned)));
    }
    let status = report["status"].as_str().unwrap_or("no report");
    say(&format!("{:<14} {status}", "status"));
    if answer.status == 200 {
        return Ok(());
    }
    Err(anyhow::anyhow!("the node at {address} does not serve: it answered {}", answer.status).into())
}
