//! What the edge's configuration file may say; everything may be left out here, and nothing is checked.

mod listener;
mod route;
mod upstream;

use std::collections::BTreeMap;
use std::time::Duration;

use cirque_shared::alert;
use cirque_shared::config::secret::Secret;
use cirque_shared::telemetry::{Format, Level};

pub use listener::{Certificate, Client, Listener, ListenerDefaults, ListenerPolicy, Tls, TlsPolicy};
pub use route::{
    Compress, ErrorPage, HeaderCondition, HeaderRules, Maintenance, RateLimit, Redirect, Respond, Retry,
    Route, RoutePolicy,
};
pub use upstream::{
    Backend, BackendPolicy, BackendTls, Outlier, Probe, Unavailable, Upstream, UpstreamPolicy,
};

impl File {
    /// The file with everything that it leaves out: the settings of `reference`, and in each object what it
    /// inherits from `[defaults]`.
    pub fn complete(self, reference: Self) -> Self {
        // The example's objects are no defaults.
        let settings =
            Self { listeners: None, routes: None, upstreams: None, rate_limits: None, ..reference };
        let mut file = self.or(settings);
        let defaults = file.defaults.clone().unwrap_or_default();
        for listener in file.listeners.iter_mut().flatten() {
            let inherited = defaults.listener.clone().unwrap_or_default();
            listener.policy = std::mem::take(&mut listener.policy).or(inherited.policy);
            if let Some(tls) = &mut listener.tls {
                tls.policy = std::mem::take(&mut tls.policy).or(inherited.tls.unwrap_or_default());
            }
        }
        for route in file.routes.iter_mut().flatten() {
            let inherited = defaults.route.clone().unwrap_or_default();
            route.policy = std::mem::take(&mut route.policy).or(inherited);
        }
        for upstream in file.upstreams.iter_mut().flatten().map(|(_, upstream)| upstream) {
            let inherited = defaults.upstream.clone().unwrap_or_default();
            upstream.policy = std::mem::take(&mut upstream.policy).or(inherited);
            for backend in upstream.backends.iter_mut().flatten() {
                let inherited = defaults.backend.clone().unwrap_or_default();
                backend.policy = std::mem::take(&mut backend.policy).or(inherited);
            }
        }
        file
    }
}

cirque_shared::raw! {
    /// A whole file.
    pub struct File {
        /// `[server]`.
        pub server: Server,
        /// `[log]`.
        pub log: Log,
        /// `[access_log]`.
        pub access_log: AccessLog,
        /// `[trace]`.
        pub trace: Trace,
        /// `[trust]`.
        pub trust: Trust,
        /// `[alerts]`.
        pub alerts: Alerts,
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
        /// Who may use it.
        pub admin_tokens: Vec<String>,
        /// Where state is kept.
        pub state_dir: String,
        /// How long a stop goes on accepting.
        pub drain_delay: Duration,
        /// The longest an edge that was replaced may stay.
        pub handover_period: Duration,
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
        /// How a line looks.
        pub format: String,
    }
    /// `[trace]`: what is told of a request's trace.
    pub struct Trace {
        /// Whether anything is.
        pub context: bool,
        ..recording: cirque_shared::trace::config::Raw,
    }
    /// `[trust]`: who may speak for a client.
    pub struct Trust {
        /// Networks whose forwarding headers are believed.
        pub proxies: Vec<String>,
    }
    /// `[alerts]`: what is told when something goes wrong.
    pub struct Alerts {
        /// The other edges.
        pub peers: Vec<String>,
        /// A token of theirs.
        pub peer_token: Secret,
        /// How many are before this one.
        pub place: u32,
        ..both: alert::config::raw::Alerts,
    }
    /// `[defaults]`: what listeners, routes, upstreams and backends inherit.
    pub struct Defaults {
        /// For listeners.
        pub listener: ListenerDefaults,
        /// For routes.
        pub route: RoutePolicy,
        /// For upstreams.
        pub upstream: UpstreamPolicy,
        /// For backends.
        pub backend: BackendPolicy,
    }
}
