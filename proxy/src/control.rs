//! How the running edge is changed: a change is checked whole, put to work whole, or refused and nothing happens.
//!
//! One change at a time. What stays the same keeps its connections, its health and its counts.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cirque_shared::config::Invalid;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::edge::Edge;
use crate::operator::Book;

/// Whoever may change the edge.
#[derive(Debug)]
pub(crate) struct Control {
    edge: Arc<Edge>,
    /// The configuration file: it is the truth.
    path: PathBuf,
    book: Book,
    /// Held during a change.
    turn: Mutex<()>,
}

/// Why a change did not happen. Everything is as it was.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file has problems.
    Invalid(Invalid),
    /// These keys are only read at the start.
    NeedsRestart(Vec<&'static str>),
    /// A file could not be written.
    Io(&'static str, PathBuf, io::Error),
}

impl Control {
    pub(crate) fn new(edge: Arc<Edge>, path: PathBuf, book: Book) -> Self {
        Self { edge, path, book, turn: Mutex::new(()) }
    }

    /// Puts the file as it is now to work.
    pub(crate) async fn reload(&self) -> Result<(), Refused> {
        let _turn = self.turn.lock().await;
        let outcome = self.put_to_work().await;
        self.edge.metrics.reloads.count(outcome.is_ok());
        outcome
    }

    async fn put_to_work(&self) -> Result<(), Refused> {
        let path = self.path.clone();
        // Names are looked up, and a resolver may take its time.
        let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
        let config =
            loaded.map_err(|error| Refused::Io("reading", self.path.clone(), io::Error::other(error)))?;
        let config = config.map_err(Refused::Invalid)?;
        let site = self.edge.site();
        let fixed = only_at_start(&site.config, &config);
        if !fixed.is_empty() {
            return Err(Refused::NeedsRestart(fixed));
        }
        let mut orders = site.orders.clone();
        orders.keep(|upstream, backend| has(&config, upstream, backend));
        if orders != site.orders {
            let keep = |error| Refused::Io("writing", self.book.path().to_owned(), error);
            self.book.write(&orders).map_err(keep)?;
        }
        drop(site);
        self.edge.replace(config, orders);
        Ok(())
    }
}

/// What differs between two configurations and is only read at the start of the process.
fn only_at_start(running: &Config, wanted: &Config) -> Vec<&'static str> {
    let differs = [
        ("server.threads", running.threads != wanted.threads),
        ("server.admin", running.admin != wanted.admin),
        ("server.state_dir", running.state_dir != wanted.state_dir),
        ("server.http1", running.http1 != wanted.http1),
        ("log.level", running.log_level != wanted.log_level),
        ("log.format", running.log_format != wanted.log_format),
        ("access_log.output", running.access_log != wanted.access_log),
        ("listeners", running.listeners != wanted.listeners),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn has(config: &Config, upstream: &str, backend: &str) -> bool {
    let mut upstreams = config.upstreams.iter().filter(|found| found.name == upstream);
    upstreams.any(|upstream| upstream.backends.iter().any(|found| found.id == backend))
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => write!(f, "{invalid}"),
            Self::NeedsRestart(keys) => {
                write!(f, "{} changed, which is only read at the start: restart the edge", keys.join(", "))
            }
            Self::Io(doing, path, error) => write!(f, "{doing} {} failed: {error}", path.display()),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::REFERENCE;

    #[test]
    fn what_is_only_read_at_the_start_is_named_and_nothing_else() {
        let config = |text: &str| Config::from_text("test", text).unwrap();
        let base = config(REFERENCE);
        for (from, to, expected) in [
            ("threads = 0", "threads = 7", &["server.threads"][..]),
            ("127.0.0.1:9901", "127.0.0.1:9902", &["server.admin"][..]),
            ("address = \"127.0.0.1:8080\"", "address = \"127.0.0.1:8088\"", &["listeners"][..]),
            ("output = \"stdout\"", "output = \"off\"", &["access_log.output"][..]),
            ("weight = 1", "weight = 5", &[][..]),
            ("keepalive_requests = 1000", "keepalive_requests = 10", &[][..]),
            ("grace_period = \"30s\"", "grace_period = \"1s\"", &[][..]),
        ] {
            let changed = config(&REFERENCE.replace(from, to));
            assert_eq!(only_at_start(&base, &changed), expected, "{from} -> {to}");
        }
    }
}
