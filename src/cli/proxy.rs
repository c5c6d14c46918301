//! `cirque proxy …`: runs the edge, checks its configuration, asks and changes the running one.

pub(super) mod remote;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cirque_proxy::config::Config;
use cirque_proxy::handover::{Heir, Inheritance};
use cirque_shared::config::units::parse_duration;
use clap::{Args, Subcommand};

use super::{Failure, log, say};
use remote::{Remote, Which, Why};

/// Commands of the edge.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the edge in the foreground; SIGTERM or Ctrl-C stops it once nothing is in flight, SIGHUP reloads.
    #[command(after_help = "Example:\n  cirque proxy run -c conf/proxy.toml")]
    Run {
        #[command(flatten)]
        file: File,
        /// Take the place of the edge that started this process (`cirque proxy upgrade` does).
        #[arg(long, hide = true)]
        take_over: bool,
    },
    /// Check a configuration: every problem at once, with line and column.
    #[command(after_help = "Example:\n  cirque proxy check -c conf/proxy.toml")]
    Check(File),
    /// Turn a configuration of nginx into one of the edge, and name every directive that it cannot carry over.
    #[command(
        name = "import-nginx",
        after_help = "Example:\n  cirque proxy import-nginx /etc/nginx/nginx.conf > conf/site.toml\n\n\
The configuration goes to standard output; with something left out, the exit code is 3."
    )]
    ImportNginx {
        /// The file; those that it includes are read too.
        file: PathBuf,
    },
    /// Show what the file would change in the running edge, in words.
    #[command(after_help = "Example:\n  cirque proxy diff")]
    Diff(Remote),
    /// Put the file to work in the running edge: all of it, or nothing and the reason.
    #[command(after_help = "Example:\n  cirque proxy reload --comment \"two more nodes\"")]
    Reload {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// List every configuration that was put to work: when, by whom, why and what it changed.
    #[command(after_help = "Example:\n  cirque proxy history")]
    History(Remote),
    /// Go back to an earlier version: without a number, to the one before what is at work.
    #[command(after_help = "Example:\n  cirque proxy rollback 3")]
    Rollback {
        /// The version's number in the history.
        version: Option<u64>,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// Show the upstreams of the running edge and what is held against each backend.
    #[command(after_help = "Example:\n  cirque proxy upstreams --admin 127.0.0.1:9901")]
    Upstreams(Remote),
    /// Give a backend no new requests; what it has is finished.
    #[command(after_help = "Example:\n  cirque proxy drain app app-1 --wait 60s --comment \"new disk\"")]
    Drain(TakeOut),
    /// End a drain or a maintenance.
    #[command(after_help = "Example:\n  cirque proxy undrain app app-1")]
    Undrain {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// Like drain, and it is not probed meanwhile: it may be broken.
    #[command(after_help = "Example:\n  cirque proxy maintain app app-1 --comment \"kernel update\"")]
    Maintain(TakeOut),
    /// Change a backend's share for now, over restarts, without touching the file; without N, back to the file's.
    #[command(after_help = "Example:\n  cirque proxy weight app app-1 5")]
    Weight {
        #[command(flatten)]
        which: Which,
        /// 0 to 1000.
        #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
        weight: Option<u32>,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// Add a backend to an upstream, in the file and at work.
    #[command(after_help = "Example:\n  cirque proxy add app 10.0.0.4:8000 --id app-4")]
    Add {
        /// The upstream's name.
        upstream: String,
        /// Address and port.
        address: String,
        /// What it is called; without it, made from the address.
        #[arg(long)]
        id: Option<String>,
        /// Its share; without it, the default's.
        #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1000))]
        weight: Option<u32>,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// Remove a backend from an upstream, in the file and at work; what it has in flight is finished.
    #[command(after_help = "Example:\n  cirque proxy remove app app-4")]
    Remove {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// Let the binary, as it is on the disk now, take over from the running edge: nothing is refused, nothing is cut.
    #[command(after_help = "Example:\n  cirque proxy upgrade --comment \"0.2.0\"")]
    Upgrade {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        why: Why,
    },
    /// Say where a request would go and why, and why a backend is out; nothing is sent.
    #[command(after_help = "Example:\n  cirque proxy explain --host api.example.com /api/v1/posts")]
    Explain {
        /// The path of the request.
        path: String,
        /// Its Host.
        #[arg(long, default_value = "")]
        host: String,
        /// Its method.
        #[arg(long, default_value = "GET")]
        method: String,
        /// Who asks: hashes may go by it.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
        client: std::net::IpAddr,
        /// One of its headers, like "Accept: text/html"; may be given several times.
        #[arg(long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show which lines the running edge writes to its log, or let it write others for a while.
    #[command(after_help = "Example:\n  cirque proxy log cirque_proxy=debug --for 5m")]
    Log {
        #[command(flatten)]
        wish: log::Wish,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a token for the admin interface, and the line for server.admin_tokens that lets its holder in.
    #[command(after_help = "Example:\n  cirque proxy token deploy --scope change")]
    Token {
        /// Whose it is: the name in the history.
        name: String,
        /// What it allows.
        #[arg(long, default_value = "read", value_parser = ["read", "change"])]
        scope: String,
    },
}

/// Which configuration.
#[derive(Debug, Args)]
pub(super) struct File {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "conf/proxy.toml")]
    config: PathBuf,
}

/// A backend to take out of rotation.
#[derive(Debug, Args)]
pub(super) struct TakeOut {
    #[command(flatten)]
    which: Which,
    /// Wait so long until nothing is in flight any more.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    why: Why,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be like \"60s\" or \"5m\"".to_owned())
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { file, take_over } => start(&file.config, take_over),
        Command::Check(File { config }) => check(&config),
        Command::ImportNginx { file } => import_nginx(&file),
        Command::Diff(remote) => remote.diff(),
        Command::Reload { remote, why } => remote.reload(&why),
        Command::History(remote) => remote.history(),
        Command::Rollback { version, remote, why } => remote.rollback(version, &why),
        Command::Upstreams(remote) => remote.upstreams(),
        Command::Drain(out) => out.remote.order(&out.which, "draining", &out.why, out.wait),
        Command::Undrain { which, remote, why } => remote.order(&which, "active", &why, None),
        Command::Maintain(out) => out.remote.order(&out.which, "maintenance", &out.why, out.wait),
        Command::Weight { which, weight, remote, why } => remote.weight(&which, weight, &why),
        Command::Add { upstream, address, id, weight, remote, why } => {
            remote.add(&upstream, &address, id.as_deref(), weight, &why)
        }
        Command::Remove { which, remote, why } => remote.remove(&which, &why),
        Command::Explain { path, host, method, client, headers, remote } => {
            let asked =
                [("host", &host), ("method", &method), ("path", &path), ("client", &client.to_string())];
            remote.explain(&asked, &headers)
        }
        Command::Upgrade { remote, why } => remote.upgrade(&why),
        Command::Log { wish, remote } => log::edge(&wish, &remote),
        Command::Token { name, scope } => token(&name, &scope),
    }
}

fn start(path: &std::path::Path, take_over: bool) -> Result<(), Failure> {
    let predecessor = if take_over { Some(Heir::take_over().context("could not take over")?) } else { None };
    let heir = predecessor.as_ref().map(|(heir, _)| heir.clone());
    let outcome = serve(path, predecessor);
    if let (Err(failure), Some(heir)) = (&outcome, heir) {
        heir.failed(&failure.to_string());
    }
    outcome
}

fn serve(path: &std::path::Path, predecessor: Option<(Heir, Inheritance)>) -> Result<(), Failure> {
    let (text, config) = Config::read(path)?;
    // pingora's own lines repeat what the access log says, and a client could fill the log with them.
    let (quiet, silent) = (["pingora_core", "pingora_pool"], ["pingora_proxy"]);
    cirque_shared::telemetry::init(config.log_level, config.log_format, &quiet, &silent);
    Ok(cirque_proxy::server::run(path, text, &config, predecessor)?)
}

fn check(path: &std::path::Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
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

fn import_nginx(path: &std::path::Path) -> Result<(), Failure> {
    let refused =
        |what: String| Failure::Refused(format!("{what}\nWhat stands where: docs/guides/from-nginx.md"));
    let imported =
        cirque_proxy::import_nginx::import(path).map_err(|problem| refused(problem.to_string()))?;
    say(imported.toml.trim_end());
    if imported.problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = imported.problems.iter().map(ToString::to_string).collect();
    Err(refused(format!(
        "{} could not be carried over:\n{}",
        counted(problems.len(), "thing"),
        problems.join("\n")
    )))
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn token(name: &str, scope: &str) -> Result<(), Failure> {
    let made = cirque_proxy::token::generate().map_err(anyhow::Error::new)?;
    say(&format!("token   {}", made.secret));
    say("        It is shown once: give it to its holder, who sends it as CIRQUE_ADMIN_TOKEN or --token.");
    say("config  Add this to [server] admin_tokens and reload:");
    say(&format!("        \"{name}:{scope}:{}\"", made.sha256));
    Ok(())
}
