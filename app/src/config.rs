//! What the app tier is told: domain values only, which cannot be invalid.

mod location;
mod overrides;
pub mod parse;
pub mod raw;
pub mod redis;
mod smtp;

use std::path::Path;
use std::time::Duration;

use cirque_shared::alert::config::Settings;
use cirque_shared::config::Invalid;
use cirque_shared::telemetry::{Format, Level};
use ipnet::IpNet;

pub use location::{BadLocation, Location, PostgresUrl};
pub use overrides::{Overrides, Written};
pub use redis::Redis;
pub use smtp::{BadSmtp, SmtpUrl};

/// Everything a node is told. Every key, its range and its default: `conf/app.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[processes]`.
    pub processes: Processes,
    /// `[database]`.
    pub database: Database,
    /// `[redis]`; `None` where there is none.
    pub redis: Option<Redis>,
    /// `[auth]`.
    pub auth: Auth,
    /// `[limits]`.
    pub limits: Limits,
    /// `[cache]`.
    pub cache: Cache,
    /// `[posts]`.
    pub posts: Posts,
    /// `[queue]`.
    pub queue: Queue,
    /// `[mail]`.
    pub mail: Mail,
    /// `[webhooks]`.
    pub webhooks: Webhooks,
    /// `[analytics]`.
    pub analytics: Analytics,
    /// `[health]`.
    pub health: Health,
    /// `[alerts]`.
    pub alerts: Settings,
    /// `[trace]`.
    pub trace: cirque_shared::trace::Settings,
    /// `[metrics]`.
    pub metrics: Metrics,
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
    /// The proxies that are believed when they say who is behind them.
    pub trusted_proxies: Vec<IpNet>,
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
    /// Which of the node's processes this is, counted from 1; `None` where there is only one. No file says this.
    pub slot: Option<u16>,
}

impl Server {
    /// What this node calls itself: its configured name, else the address it was told to listen on.
    pub fn node_name(&self) -> String {
        self.node.clone().unwrap_or_else(|| self.address())
    }

    /// What this process is called among those of all nodes.
    pub fn process_name(&self) -> String {
        match self.slot {
            Some(slot) => format!("{}#{slot}", self.node_name()),
            None => self.node_name(),
        }
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

/// The processes that serve a node.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    /// How many.
    pub workers: u16,
    /// Requests after which one is replaced; 0 for never.
    pub max_requests: u64,
    /// Bytes of resident memory above which one is replaced; 0 for never.
    pub max_memory: u64,
    /// One that shows no sign of life for so long is killed.
    pub silence: Duration,
    /// Whether a changed file or binary is noticed.
    pub watch: bool,
}

impl Processes {
    /// Whether this takes a supervisor: a process cannot replace itself.
    pub fn need_supervisor(&self) -> bool {
        self.workers > 1 || self.max_requests > 0 || self.max_memory > 0 || self.watch
    }
}

/// Where the data is, and how connections to it are used.
#[derive(Clone, Debug)]
pub struct Database {
    /// The database itself.
    pub location: Location,
    /// Servers that are read from.
    pub replicas: Vec<PostgresUrl>,
    /// Servers one of which may become the primary in place of the first.
    pub successors: Vec<PostgresUrl>,
    /// How far behind the primary a replica may be.
    pub max_lag: Duration,
    /// How long a read waits for a replica that has its caller's writes.
    pub replica_wait: Duration,
    /// How long a caller's writes are remembered.
    pub own_writes: Duration,
    /// Reads at once that the primary takes over when no replica can answer.
    pub max_fallback: usize,
    /// Connections for reading, for each server that is read from.
    pub max_readers: u32,
    /// Connections for writing; SQLite has one, whatever this says.
    pub max_writers: u32,
    /// Time to wait for a free connection.
    pub acquire_timeout: Duration,
    /// Time to wait for another's write.
    pub busy_timeout: Duration,
    /// Time for one statement on a database server.
    pub statement_timeout: Duration,
    /// From so long on a statement is logged as slow; zero: none is.
    pub slow_statement: Duration,
}

impl Database {
    /// The same, whose statements take no longer than a request may, which is `limit`; what is less than a second counts as
    /// one, so that the node can do its own work too.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let limit = limit.max(Duration::from_secs(1));
        Self { statement_timeout: self.statement_timeout.min(limit), ..self.clone() }
    }
}

/// How accounts sign in.
#[derive(Clone, Debug)]
pub struct Auth {
    /// How long a token from signing in is good.
    pub token_lifetime: Duration,
    /// Tries to sign in, per account and per address.
    pub login_attempts: u32,
    /// The time in which they are counted.
    pub login_window: Duration,
}

/// So many requests in such a time, at once or spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests, at least one.
    pub count: u32,
    /// In this time, at least a second.
    pub period: Duration,
}

/// How often clients may ask; `None` is as often as they like.
#[derive(Clone, Debug)]
pub struct Limits {
    /// To read, for an address.
    pub public: Option<Rate>,
    /// To search, for an address.
    pub search: Option<Rate>,
    /// To change something, for a token; for an address without one.
    pub write: Option<Rate>,
    /// To sign in, for an address.
    pub login: Option<Rate>,
    /// Networks that are never counted.
    pub exempt: Vec<IpNet>,
}

/// What is answered from memory, and for how long.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Bytes that kept answers may take; 0 keeps none.
    pub max_size: u64,
    /// Time for lists of v1.
    pub v1_list: Duration,
    /// Time for single things of v1.
    pub v1_detail: Duration,
    /// Time for lists of v2.
    pub v2_list: Duration,
    /// Time for single things of v2.
    pub v2_detail: Duration,
    /// How long clients may keep an answer without asking.
    pub client_max_age: Duration,
    /// After its time, how long an answer is served while it is made anew.
    pub stale_while_revalidate: Duration,
    /// After its time, how long an answer is served when it cannot be made anew.
    pub stale_if_error: Duration,
    /// Who is told what has changed.
    pub purge_url: Option<String>,
}

/// What is done later, and how.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Jobs that one process does at once; 0 does none.
    pub workers: usize,
    /// About how often a process asks for jobs that nobody told it of.
    pub poll: Duration,
    /// How long a job belongs to a worker without another word.
    pub lease: Duration,
    /// How long jobs that are done are kept.
    pub keep_done: Duration,
    /// How long jobs that were buried are kept.
    pub keep_buried: Duration,
    /// Where a process that only works answers; `None` for nowhere.
    pub listen: Option<std::net::SocketAddr>,
    /// `[queue.default]`.
    pub default: QueueLimits,
    /// `[queue.mail]`.
    pub mail: QueueLimits,
    /// `[queue.webhooks]`.
    pub webhooks: QueueLimits,
}

impl Queue {
    /// The limits of the queue of this name.
    pub fn limits(&self, queue: &str) -> QueueLimits {
        match queue {
            "mail" => self.mail,
            "webhooks" => self.webhooks,
            _ => self.default,
        }
    }
}

/// What may happen at once in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Jobs in one process; 0 for as many as it has workers.
    pub at_once: u32,
    /// Jobs in all processes together; 0 for any number.
    pub in_fleet: u32,
    /// How often a job may begin, all processes together.
    pub rate: Option<Rate>,
}

/// How posts are listed.
#[derive(Clone, Debug)]
pub struct Posts {
    /// How often the order of lists by views is made anew.
    pub reorder_every: Duration,
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The server; `None` sends no mail.
    pub smtp: Option<SmtpUrl>,
    /// Whom mails come from.
    pub from: lettre::message::Mailbox,
    /// How many mails about posts one domain gets, from all nodes together.
    pub per_domain: Option<Rate>,
}

/// How others' servers are told of events.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Networks inside our walls that may be called all the same.
    pub allow: Vec<IpNet>,
    /// After so many failures in a row a webhook is switched off.
    pub failures: u32,
}

/// How views are counted.
#[derive(Clone, Debug)]
pub struct Analytics {
    /// How often a node writes what it counted.
    pub flush: Duration,
    /// Readers whose User-Agent has one of these words are not counted.
    pub bots: Vec<String>,
}

/// How health is judged.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Time for the database to answer.
    pub timeout: Duration,
    /// How long an answer of the database's is taken for the next ones.
    pub fresh: Duration,
}

/// How metrics are shown.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// Whether the guide's names are shown that Prometheus advises against.
    pub guide_names: bool,
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
        Self::read(&Written::read(path)?)
    }

    /// The same, of a file that was read before.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn read(file: &Written) -> Result<Self, Invalid> {
        parse::load(file)
    }

    /// This configuration with another mail server, given as `smtp://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// [`BadSmtp`] when the address names no mail server.
    pub fn with_mail(mut self, url: &str) -> Result<Self, BadSmtp> {
        self.mail.smtp = Some(SmtpUrl::parse(url)?);
        Ok(self)
    }

    /// This configuration with another database, given as `sqlite:PATH` or `postgres://…`.
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
    fn a_node_without_a_name_is_called_by_its_address() {
        let place = Overrides { host: Some("::1".to_owned()), port: Some(8001), ..Overrides::default() };
        let config = Config::load(None).unwrap().with(&place).unwrap();
        assert_eq!(config.server.node_name(), "[::1]:8001");
        let name = Overrides { node: Some("app-1".to_owned()), ..Overrides::default() };
        assert_eq!(config.with(&name).unwrap().server.node_name(), "app-1");
    }
}
