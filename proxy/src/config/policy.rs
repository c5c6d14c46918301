//! What each room is told: plain values that cannot be invalid, below every room in the order of layers.

mod availability;
mod balance;
mod compress;
mod limits;
mod reach;
mod retry;
mod routing;

use std::time::Duration;

pub use availability::{Fails, Outlier, PROBE_KIND, Probe, ProbeKind, Unavailable};
pub use balance::{BALANCE, Balance, HashBy};
pub use compress::{CODING, Coding, Compress};
pub use limits::{Access, Rate, RateKey, RateLimit};
pub use reach::{BackendTls, PROTOCOLS, Protocol, Reach};
pub use retry::{RETRY_ON, Retry, RetryOn};
pub use routing::{
    Action, Conditions, ErrorPage, HeaderCondition, HeaderRules, Maintenance, Page, Redirect, Respond,
    Rewrite, ValuePattern,
};

/// How long each step towards a backend may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// For one write.
    pub send: Duration,
    /// For the next piece of an answer, its head included.
    pub read: Duration,
    /// For an idle connection; zero keeps none.
    pub keepalive: Duration,
}

/// Limits of the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// For a whole request head.
    pub header_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_timeout: Duration,
    /// For one write to the client.
    pub send_timeout: Duration,
    /// For an idle connection; zero closes after each answer.
    pub keepalive_timeout: Duration,
    /// Requests per connection, 1 or more.
    pub keepalive_requests: u32,
    /// The largest request head in bytes.
    pub max_head_size: usize,
    /// The most fields in a request head, 1 to 256.
    pub max_headers: usize,
    /// The longest request target in bytes.
    pub max_target: usize,
    /// The slowest that a body may come, in bytes a second over `body_timeout`; 0: at any pace.
    pub min_body_rate: u64,
    /// The slowest that an answer may be taken, in bytes a second over `send_timeout`; 0: at any pace.
    pub min_send_rate: u64,
    /// Connections at once, 1 or more.
    pub max_connections: usize,
    /// Connections at once of one client, 1 or more; trusted proxies are not counted.
    pub max_connections_per_client: u32,
    /// For a tunnel (WebSocket) in which both sides are silent.
    pub tunnel_timeout: Duration,
    /// Whether a client that closed its half still gets its answer.
    pub half_close: bool,
    /// Requests under way at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
}

/// Which protocols a listener speaks, at least one: by ALPN under TLS, else by what the client sends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.0 and HTTP/1.1.
    pub http1: bool,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 §3.3).
    pub http2: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

/// The spellings of [`TlsVersion`] in a file.
pub const TLS_VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)];

/// How an access line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// nginx's `combined`.
    Combined,
}

/// The spellings of [`LogFormat`] in a file.
pub const LOG_FORMAT: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("combined", LogFormat::Combined)];

/// Which path carries HTTP/1.x from clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http1 {
    /// Ours.
    #[default]
    Own,
    /// pingora-proxy's: the yardstick, and the way back.
    Pingora,
}

/// The spellings of [`Http1`] in a file.
pub const HTTP1: [(&str, Http1); 2] = [("own", Http1::Own), ("pingora", Http1::Pingora)];

/// What the holder of a token may do at the admin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Look.
    Read,
    /// Look, and change.
    Change,
}

/// The spellings of [`Scope`] in a file.
pub const SCOPE: [(&str, Scope); 2] = [("read", Scope::Read), ("change", Scope::Change)];

/// Somebody who may use the admin interface. The token itself is known to them alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// In the history of changes.
    pub name: String,
    /// The token's digest.
    pub sha256: [u8; 32],
    /// What they may do.
    pub scope: Scope,
}
