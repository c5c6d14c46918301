//! The edge's configuration as the rooms get it: domain values only, which cannot be invalid.

pub mod pattern;
pub mod policy;
pub mod raw;
pub mod template;

mod parse;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cirque_shared::alert::config::Settings;
use cirque_shared::alert::fleet::Peer;
use cirque_shared::config::{Invalid, Shown};
use cirque_shared::telemetry::{Format, Level};

use crate::certificate::Files;
use pattern::{HostPattern, PathPattern};
use policy::{
    Access, Action, AdminToken, Balance, Client, Compress, Conditions, ErrorPage, Fails, HashBy, HeaderRules,
    Http1, LogFormat, Maintenance, Outlier, Probe, Protocols, RateLimit, Reach, Retry, Rewrite, Timeouts,
    TlsVersion, Unavailable,
};

/// The compiled-in defaults and the reference of every key.
pub const REFERENCE: &str = include_str!("../../conf/proxy.toml");

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads, 1 or more.
    pub threads: usize,
    /// Where the admin interface listens.
    pub admin: AdminAddress,
    /// Who may use it; at least one where it can be reached from elsewhere.
    pub admin_tokens: Vec<AdminToken>,
    /// Where the operator's orders and the history of the configuration are kept.
    pub state_dir: PathBuf,
    /// How long a stop goes on accepting after it has said that it stops.
    pub drain_delay: Duration,
    /// The longest an edge that was replaced may stay.
    pub handover_period: Duration,
    /// The longest a stop may take.
    pub grace_period: Duration,
    /// Which path carries HTTP/1.x.
    pub http1: Http1,
    /// The least important log line that is written.
    pub log_level: Level,
    /// How a log line looks.
    pub log_format: Format,
    /// Where access lines go.
    pub access_log: AccessLog,
    /// How an access line looks.
    pub access_log_format: LogFormat,
    /// Whether traces are passed on and begun.
    pub trace_context: bool,
    /// What is recorded of them, and for whom.
    pub tracing: cirque_shared::trace::Settings,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// What is told when something goes wrong.
    pub alerts: Alerting,
    /// Limits of the client's side.
    pub client: Client,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// At least one.
    pub routes: Vec<Route>,
    /// Pages for the edge's own answers to requests without a route.
    pub error_pages: Vec<ErrorPage>,
    /// By name; those that routes name are among them.
    pub rate_limits: Vec<RateLimit>,
    /// By name; every route's upstream is among them.
    pub upstreams: Vec<Upstream>,
    /// Every setting by its key path, what the file leaves out included: what a change is told in.
    pub settings: Shown,
}

/// What is told when something goes wrong, and with whom this edge takes turns.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// What both tiers have.
    pub settings: Settings,
    /// The other edges, asked before one tells.
    pub peers: Vec<Peer>,
    /// How many are before this one in line.
    pub place: u32,
}

/// Where the admin interface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A socket in the file system, for its owner alone.
    Unix(PathBuf),
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// An address that is accepted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// In logs and metrics.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
    /// Who may connect.
    pub access: Access,
    /// With what; `None`: plain.
    pub tls: Option<Tls>,
    /// Which protocols are spoken.
    pub protocols: Protocols,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The port that clients are sent to for https; 0: they are served here.
    pub https_redirect: u16,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is for names that none is good for.
    pub certificates: Vec<Files>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// For the handshake.
    pub handshake_timeout: Duration,
    /// The value of Strict-Transport-Security; empty: the header is not sent.
    pub hsts: String,
}

/// A match and the policy that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// In logs and metrics; unique.
    pub name: String,
    /// Which hosts; at least one.
    pub hosts: Vec<HostPattern>,
    /// Which paths; at least one.
    pub paths: Vec<PathPattern>,
    /// What else a request must have.
    pub conditions: Conditions,
    /// What is done with it.
    pub action: Action,
    /// How its path changes on the way.
    pub rewrite: Rewrite,
    /// Total time up to the start of the answer.
    pub timeout: Duration,
    /// The largest request body in bytes; `None`: any.
    pub max_body: Option<u64>,
    /// Fields after a chunked body that are passed on.
    pub trailers: Arc<[String]>,
    /// When and how often to try again.
    pub retry: Retry,
    /// What changes in the head that backends get.
    pub request_headers: HeaderRules,
    /// What changes in the head that clients get.
    pub response_headers: HeaderRules,
    /// Pages for the edge's own answers.
    pub error_pages: Vec<ErrorPage>,
    /// Whether it is closed for the time being.
    pub maintenance: Maintenance,
    /// Whose requests are taken.
    pub access: Access,
    /// The names of the limits that hold.
    pub rate_limits: Vec<String>,
    /// Requests at once; `None`: any number.
    pub max_requests: Option<usize>,
    /// Which answers are compressed.
    pub compress: Compress,
}

/// A pool of backends.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// In logs and metrics; unique.
    pub name: String,
    /// How a backend is chosen.
    pub balance: Balance,
    /// What a hash goes by.
    pub hash_by: HashBy,
    /// Requests that may wait for a backend with room.
    pub queue: usize,
    /// How long they may wait.
    pub queue_timeout: Duration,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// What is spoken to its backends.
    pub reach: Reach,
    /// Whether all are tried when none is available.
    pub fail_open: bool,
    /// What is answered when none is available.
    pub unavailable: Unavailable,
    /// The active check.
    pub probe: Probe,
    /// When failed attempts eject, beside a backend's own limit.
    pub outlier: Outlier,
    /// At least one.
    pub backends: Vec<Backend>,
}

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// One address in an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique in its upstream.
    pub id: String,
    /// As written, for humans.
    pub name: String,
    /// Where.
    pub address: Address,
    /// 0 to 1000; 0 gets nothing new.
    pub weight: u32,
    /// Whether it is only asked when no other can be.
    pub backup: bool,
    /// Requests at once; `None`: any.
    pub max_conns: Option<u32>,
    /// How long it takes to its full share when it is new or back.
    pub slow_start: Duration,
    /// When failed attempts eject it.
    pub fails: Fails,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with every problem of the file.
    pub fn load(path: &Path) -> Result<Self, Invalid> {
        Self::read(path).map(|(_, config)| config)
    }

    /// Like [`Config::load`], with the text that was read.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn read(path: &Path) -> Result<(String, Self), Invalid> {
        let text = cirque_shared::config::text_of(path)?;
        let config = Self::from_text(&path.display().to_string(), &text)?;
        Ok((text, config))
    }

    /// Reads and checks a text; `name` is what it is called in messages.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with every problem of the text.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Invalid> {
        cirque_shared::config::read_text(name, text, parse::parse)
    }
}

#[cfg(test)]
impl Listener {
    /// One for everybody, without certificates.
    pub(crate) fn plain(protocols: Protocols) -> Self {
        Self {
            name: "http".to_owned(),
            address: ([127, 0, 0, 1], 80).into(),
            access: Access::default(),
            tls: None,
            protocols,
            proxy_protocol: false,
            https_redirect: 0,
        }
    }
}

#[cfg(test)]
mod tests;
