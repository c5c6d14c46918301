//! The command line: which commands there are, and how a failure is told.

mod alerts;
mod app;
mod log;
mod proxy;

use std::future::Future;
use std::io::Write as _;

use cirque_shared::config::Invalid;
use cirque_shared::report::Exit;
use clap::{Parser, Subcommand};

use crate::up;

/// An edge that takes nginx's place and a content API behind it, in one binary.
#[derive(Debug, Parser)]
#[command(name = "cirque", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Example:\n  cirque up            # a whole site on this machine, Ctrl-C stops it\n\n\
Exit codes: 0 done, 1 failed, 2 usage, 3 invalid configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    /// The edge: run it, check its configuration, ask and change it while it runs.
    #[command(subcommand)]
    Proxy(proxy::Command),
    /// The app tier: serve the API, prepare its database.
    #[command(subcommand)]
    App(app::Command),
    /// Alerts: what is wrong, where it is told, and what is silenced.
    #[command(subcommand)]
    Alerts(alerts::Command),
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A configuration file is not valid.
    Config(Invalid),
    /// The running edge finds a configuration not valid, in its words.
    Refused(String),
    /// Everything else, with its chain of causes.
    Other(anyhow::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(invalid) => write!(f, "{invalid}"),
            Self::Refused(message) => write!(f, "{message}"),
            Self::Other(error) => write!(f, "{}", cirque_shared::report::chain(error.as_ref())),
        }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Config(invalid)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Runs the command of this process.
pub(crate) fn run() -> Exit {
    let outcome = match Cli::parse().command {
        Command::Up(args) => up::run(&args),
        Command::Proxy(command) => proxy::run(command),
        Command::App(command) => app::run(command),
        Command::Alerts(command) => alerts::run(command),
    };
    let Err(failure) = outcome else { return Exit::Ok };
    complain(&failure.to_string());
    match failure {
        Failure::Config(_) | Failure::Refused(_) => Exit::InvalidConfig,
        Failure::Other(_) => Exit::Failed,
    }
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| anyhow::Error::new(error).context("could not start a runtime"))?;
    Ok(runtime.block_on(future))
}

/// Writes a line to standard output; a reader that went away is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes an error to standard error.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "error: {message}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_commands_help_ends_with_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let is_group = command.has_subcommands();
            assert!(is_group || help.starts_with("Example:\n  cirque "), "{}: {help:?}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
