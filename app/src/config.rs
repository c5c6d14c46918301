//! What the app tier is told: domain values only, which cannot be invalid.

pub mod parse;
pub mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cirque_shared::config::Invalid;
use cirque_shared::telemetry::{Format, Level};

/// Everything a node is told. Every key, its range and its default: `conf/app.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[database]`.
    pub database: Database,
    /// `[health]`.
    pub health: Health,
    /// `[log]`.
    pub log: Log,
}

/// The HTTP side of a node.
#[derive(Clone, Debug)]
pub struct Server {
    /// IP address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 takes any free one.
    pub port: u16,
    /// The node's own name, where it has one.
    pub node: Option<String>,
    /// What links start with, without a slash at the end; empty for paths.
    pub public_url: String,
    /// Connections open at once.
    pub max_connections: usize,
    /// Time for one request head.
    pub header_timeout: Duration,
    /// Time between two requests of a connection.
    pub keep_alive_timeout: Duration,
    /// Time without progress while an answer is written.
    pub write_timeout: Duration,
    /// Largest request head in bytes.
    pub max_head_size: usize,
    /// Largest request body in bytes.
    pub max_body_size: u64,
    /// Time for one request.
    pub max_execution_time: Duration,
    /// From the stop signal to the end of accepting.
    pub drain_delay: Duration,
    /// From the end of accepting to the cut.
    pub grace_period: Duration,
}

impl Server {
    /// What this node calls itself: its configured name, else the address it was told to listen on.
    pub fn node_name(&self) -> String {
        self.node.clone().unwrap_or_else(|| self.address())
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Where the data is, and how connections to it are used.
#[derive(Clone, Debug)]
pub struct Database {
    /// The database itself.
    pub location: Location,
    /// Connections for reading.
    pub max_readers: u32,
    /// Time to wait for a free connection.
    pub acquire_timeout: Duration,
    /// Time to wait for another process's write.
    pub busy_timeout: Duration,
}

/// Which database, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// One file, shared by the nodes of one machine.
    Sqlite(PathBuf),
}

/// Why a database address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// Not one of the databases this version speaks to.
    #[error("must start with `sqlite:`")]
    UnknownScheme,
    /// `sqlite:` and nothing behind it.
    #[error("must name a file, like `sqlite:var/cirque.db`")]
    NoFile,
    /// The nodes of a site could not share it.
    #[error("must be a file: a database in memory cannot be shared between nodes")]
    InMemory,
    /// Options are keys of the file, not of the address.
    #[error("must not have options behind `?`")]
    Options,
}

impl Location {
    /// Reads `sqlite:PATH` (also `sqlite://PATH`).
    ///
    /// # Errors
    ///
    /// [`BadLocation`] says what is wrong with the address.
    pub fn parse(url: &str) -> Result<Self, BadLocation> {
        let path = url.strip_prefix("sqlite:").ok_or(BadLocation::UnknownScheme)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        match path {
            "" | "/" => Err(BadLocation::NoFile),
            path if path.contains(":memory:") => Err(BadLocation::InMemory),
            path if path.contains('?') => Err(BadLocation::Options),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

/// How health is judged.
#[derive(Clone, Debug)]
pub struct Health {
    /// Time for the database to answer.
    pub timeout: Duration,
}

/// What is logged and how it looks.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least important line.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

impl Config {
    /// Reads `path` over the compiled-in `conf/app.toml`; `None` takes that alone.
    ///
    /// # Errors
    ///
    /// [`Invalid`] lists every problem of the file at once.
    pub fn load(path: Option<&Path>) -> Result<Self, Invalid> {
        parse::load(path)
    }

    /// This configuration, listening elsewhere; `None` keeps what the file says.
    #[must_use]
    pub fn with_address(mut self, host: Option<&str>, port: Option<u16>) -> Self {
        if let Some(host) = host {
            host.clone_into(&mut self.server.host);
        }
        if let Some(port) = port {
            self.server.port = port;
        }
        self
    }

    /// This configuration with another name for the node in `X-Served-By`.
    #[must_use]
    pub fn with_node(mut self, node: &str) -> Self {
        self.server.node = Some(node.to_owned());
        self
    }

    /// This configuration with another database, given as `sqlite:PATH`.
    ///
    /// # Errors
    ///
    /// [`BadLocation`] when the address names no database this version speaks to.
    pub fn with_database(mut self, url: &str) -> Result<Self, BadLocation> {
        self.database.location = Location::parse(url)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_address_is_a_file() {
        for (url, expected) in [
            ("sqlite:var/x.db", Ok("var/x.db")),
            ("sqlite:///tmp/x.db", Ok("/tmp/x.db")),
            ("sqlite::memory:", Err(BadLocation::InMemory)),
            ("sqlite:", Err(BadLocation::NoFile)),
            ("sqlite:x.db?mode=ro", Err(BadLocation::Options)),
            ("postgres://x", Err(BadLocation::UnknownScheme)),
        ] {
            assert_eq!(Location::parse(url), expected.map(|path| Location::Sqlite(path.into())), "{url}");
        }
    }

    #[test]
    fn a_node_without_a_name_is_called_by_its_address() {
        let config = Config::load(None).unwrap().with_address(Some("::1"), Some(8001));
        assert_eq!(config.server.node_name(), "[::1]:8001");
        assert_eq!(config.with_node("app-1").server.node_name(), "app-1");
    }
}
