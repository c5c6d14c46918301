//! What the edge's configuration file may say; everything may be left out here, and nothing is checked.

mod listener;
mod route;
mod upstream;

use std::collections::BTreeMap;
use std::time::Duration;

use cirque_shared::telemetry::{Format, Level};

pub use listener::{Client, Listener};
pub use route::{
    ErrorPage, HeaderCondition, HeaderRules, Maintenance, RateLimit, Redirect, Respond, Retry, Route,
    RoutePolicy,
};
pub use upstream::{Backend, BackendPolicy, Probe, Upstream, UpstreamPolicy};

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
        /// `[rate_limits.NAME]`.
        pub rate_limits: BTreeMap<String, RateLimit>,
        /// `[upstreams.NAME]`.
        pub upstreams: BTreeMap<String, Upstream>,
    }
    /// `[server]`: the process.
    pub struct Server {
        /// Worker threads; 0 is one per core.
        pub threads: usize,
        /// The admin address.
        pub admin: String,
        /// Where state is kept.
        pub state_dir: String,
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
    /// `[defaults]`: what routes, upstreams and backends inherit.
    pub struct Defaults {
        /// For routes.
        pub route: RoutePolicy,
        /// For upstreams.
        pub upstream: UpstreamPolicy,
        /// For backends.
        pub backend: BackendPolicy,
    }
}
