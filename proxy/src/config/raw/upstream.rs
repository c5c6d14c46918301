//! What a file may say about upstreams and their backends.

use std::time::Duration;

cirque_shared::raw! {
    /// `[upstreams.NAME]`: a pool of backends.
    pub struct Upstream {
        /// `[[upstreams.NAME.backends]]`.
        pub backends: Vec<Backend>,
        ..policy: UpstreamPolicy,
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
    /// `[[upstreams.NAME.backends]]`: one address.
    pub struct Backend {
        /// Unique in its upstream.
        pub id: String,
        /// Address and port.
        pub address: String,
        ..policy: BackendPolicy,
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
}
