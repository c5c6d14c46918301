//! `cirque app …`: serves the API and prepares its database.

mod accounts;

use std::path::PathBuf;

use anyhow::Context as _;
use cirque_app::config::Config;
use clap::{Args, Subcommand};

use super::{Failure, block_on, say};

/// Commands of the app tier.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the API in the foreground; SIGTERM or Ctrl-C stops it once nothing is in flight.
    #[command(after_help = "Example:\n  cirque app serve --port 8001 --database sqlite:var/app.db")]
    Serve(Serve),
    /// Bring the database's schema up to date; safe to run from many nodes at once.
    #[command(after_help = "Example:\n  cirque app migrate --database sqlite:var/app.db")]
    Migrate(Where),
    /// Fill an empty database with demo articles, the same ones for the same number.
    #[command(after_help = "Example:\n  cirque app seed --posts 500 --database sqlite:var/app.db")]
    Seed(Seed),
    /// Accounts: who may sign in, and as what.
    #[command(subcommand)]
    User(accounts::User),
    /// Tokens: what programs get in with.
    #[command(subcommand)]
    Token(accounts::Token),
    /// Check the configuration, the database and its schema.
    #[command(after_help = "Example:\n  cirque app check --database sqlite:var/app.db")]
    Check(Where),
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

/// How to serve.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    place: Where,
    /// Address to listen on instead of the file's.
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on instead of the file's.
    #[arg(long)]
    port: Option<u16>,
    /// The node's name in answers and logs instead of its address.
    #[arg(long)]
    node: Option<String>,
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
        Command::Serve(serve) => {
            let mut config = serve.place.load()?.with_address(serve.host.as_deref(), serve.port);
            if let Some(node) = &serve.node {
                config = config.with_node(node);
            }
            cirque_shared::telemetry::init(config.log.level, config.log.format, &["sqlx", "hyper"], &[]);
            Ok(block_on(cirque_app::serve::run(config))??)
        }
        Command::Migrate(place) => {
            let outcome = block_on(cirque_app::migrate::run(&place.load()?))??;
            say(&outcome.to_string());
            Ok(())
        }
        Command::Seed(seed) => {
            let outcome = block_on(cirque_app::seed::run(&seed.place.load()?, seed.posts))??;
            say(&outcome.to_string());
            outcome.login().iter().for_each(|login| say(login));
            Ok(())
        }
        Command::User(command) => accounts::user(&command),
        Command::Token(command) => accounts::token(&command),
        Command::Check(place) => {
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
