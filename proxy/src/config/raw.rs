//! What the edge's configuration file may say; everything may be left out here, and nothing is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use cirque_shared::config::units::{ByteSize, Percent};
use cirque_shared::telemetry::{Format, Level};

cirque_shared::raw! {
    /// A whole file.
    pub struct File {
        /// `[server]`.
        pub server: Server,
        /// `[log]`.
        pub log: Log,
        /// `[access_log]`.
        pub access_log: AccessLog,
        /// `[trust]`.
        pub trust: Trust,
        /// `[client]`.
        pub client: Client,
        /// `[defaults]`.
        pub defaults: Defaults,
        /// `[[listeners]]`.
        pub listeners: Vec<Listener>,
        /// `[[routes]]`.
        pub routes: Vec<Route>,
        /// `[upstreams.NAME]`.
        pub upstreams: BTreeMap<String, Upstream>,
    }
    /// `[server]`: the process.
    pub struct Server {
        /// Worker threads; 0 is one per core.
        pub threads: usize,
        /// The admin address.
        pub admin: String,
        /// The longest a stop may take.
        pub grace_period: Duration,
        /// Which path carries HTTP/1.x.
        pub http1: String,
    }
    /// `[log]`: the process's own lines.
    pub struct Log {
        /// The least important line that is written.
        pub level: Level,
        /// How a line looks.
        pub format: Format,
    }
    /// `[access_log]`: one line per request.
    pub struct AccessLog {
        /// Where the lines go.
        pub output: String,
    }
    /// `[trust]`: who may speak for a client.
    pub struct Trust {
        /// Networks whose forwarding headers are believed.
        pub proxies: Vec<String>,
    }
    /// `[client]`: limits of the client's side.
    pub struct Client {
        /// For a whole request head.
        pub client_header_timeout: Duration,
        /// Between two pieces of a request body.
        pub client_body_timeout: Duration,
        /// For one write to the client.
        pub send_timeout: Duration,
        /// For an idle connection.
        pub keepalive_timeout: Duration,
        /// Requests per connection.
        pub keepalive_requests: u32,
        /// The largest request head.
        pub client_max_header_size: ByteSize,
        /// For a silent tunnel.
        pub tunnel_timeout: Duration,
        /// Whether a client may close its half and still be answered.
        pub half_close: bool,
    }
    /// `[defaults]`: what routes, upstreams and backends inherit.
    pub struct Defaults {
        /// For routes.
        pub route: RoutePolicy,
        /// For upstreams.
        pub upstream: UpstreamPolicy,
        /// For backends.
        pub backend: BackendPolicy,
    }
    /// What a route inherits.
    pub struct RoutePolicy {
        /// Total time of a request.
        pub timeout: Duration,
        /// The largest body.
        pub client_max_body_size: ByteSize,
        /// When and how often to try again.
        pub retry: Retry,
    }
    /// When and how often a failed attempt is tried again.
    pub struct Retry {
        /// What counts.
        pub on: Vec<String>,
        /// Attempts in total.
        pub attempts: u32,
        /// Retries as a share of requests.
        pub budget: Percent,
        /// Whether POST and the like may be repeated.
        pub non_idempotent: bool,
        /// How much of a body is kept for another attempt.
        pub buffer: ByteSize,
    }
    /// What an upstream inherits.
    pub struct UpstreamPolicy {
        /// How a backend is chosen.
        pub balance: String,
        /// To open a connection.
        pub connect_timeout: Duration,
        /// For one write.
        pub send_timeout: Duration,
        /// For the next piece of an answer.
        pub read_timeout: Duration,
        /// For an idle connection.
        pub keepalive_timeout: Duration,
        /// What to do when nothing is available.
        pub fail_open: bool,
        /// The active check.
        pub probe: Probe,
    }
    /// The active check of a backend.
    pub struct Probe {
        /// What is asked.
        pub path: String,
        /// Between two probes.
        pub interval: Duration,
        /// For one probe.
        pub timeout: Duration,
        /// Failures in a row until down.
        pub fall: u32,
        /// Successes in a row until up.
        pub rise: u32,
    }
    /// What a backend inherits.
    pub struct BackendPolicy {
        /// Its share.
        pub weight: u32,
        /// Failures until it is ejected.
        pub max_fails: u32,
        /// The window, and the time out of rotation.
        pub fail_timeout: Duration,
    }
    /// `[[listeners]]`: an address that is accepted on.
    pub struct Listener {
        /// In logs and metrics.
        pub name: String,
        /// Address and port.
        pub address: String,
    }
    /// `[[routes]]`: a match and its policy.
    pub struct Route {
        /// In logs and metrics.
        pub name: String,
        /// Which hosts.
        pub hosts: Vec<String>,
        /// Which paths.
        pub paths: Vec<String>,
        /// Which pool answers.
        pub upstream: String,
        /// Total time of a request.
        pub timeout: Duration,
        /// The largest body.
        pub client_max_body_size: ByteSize,
        /// When and how often to try again.
        pub retry: Retry,
    }
    /// `[upstreams.NAME]`: a pool of backends.
    pub struct Upstream {
        /// How a backend is chosen.
        pub balance: String,
        /// To open a connection.
        pub connect_timeout: Duration,
        /// For one write.
        pub send_timeout: Duration,
        /// For the next piece of an answer.
        pub read_timeout: Duration,
        /// For an idle connection.
        pub keepalive_timeout: Duration,
        /// What to do when nothing is available.
        pub fail_open: bool,
        /// The active check.
        pub probe: Probe,
        /// `[[upstreams.NAME.backends]]`.
        pub backends: Vec<Backend>,
    }
    /// `[[upstreams.NAME.backends]]`: one address.
    pub struct Backend {
        /// Unique in its upstream.
        pub id: String,
        /// Address and port.
        pub address: String,
        /// Its share.
        pub weight: u32,
        /// Failures until it is ejected.
        pub max_fails: u32,
        /// The window, and the time out of rotation.
        pub fail_timeout: Duration,
    }
}
