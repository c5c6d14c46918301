//! What a file may say about upstreams and their backends.

use std::time::Duration;

use cirque_shared::config::units::Percent;

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
        /// What a hash goes by.
        pub hash_by: String,
        /// Requests that may wait for a backend with room.
        pub queue: usize,
        /// How long they may wait.
        pub queue_timeout: Duration,
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
        /// What is answered then.
        pub unavailable: Unavailable,
        /// Which version of HTTP is spoken.
        pub protocol: String,
        /// Requests at once on one HTTP/2 connection.
        pub http2_max_concurrent_streams: u32,
        /// Whether and how connections are secured.
        pub tls: BackendTls,
        /// The active check.
        pub probe: Probe,
        /// When failed attempts eject, beside `max_fails`.
        pub outlier: Outlier,
    }
    /// What is answered when nothing is available.
    pub struct Unavailable {
        /// The status.
        pub status: u16,
        /// When to come back.
        pub retry_after: Duration,
        /// The body.
        pub body: String,
        /// What the body is.
        pub content_type: String,
    }
    /// TLS to backends.
    pub struct BackendTls {
        /// Whether it is spoken.
        pub on: bool,
        /// The file of the authorities that count.
        pub ca: String,
        /// The name that must be in the certificate.
        pub server_name: String,
        /// Whether anyone is believed.
        pub insecure_skip_verify: bool,
    }
    /// The active check of a backend.
    pub struct Probe {
        /// How.
        pub kind: String,
        /// What is asked.
        pub path: String,
        /// The Host header.
        pub host: String,
        /// Another port than the backend's.
        pub port: u16,
        /// Statuses that are healthy.
        pub status: Vec<String>,
        /// What the body must contain.
        pub body: String,
        /// Between two probes.
        pub interval: Duration,
        /// The same while in doubt.
        pub fast_interval: Duration,
        /// How much pauses differ by chance.
        pub jitter: Percent,
        /// For one probe.
        pub timeout: Duration,
        /// Failures in a row until down.
        pub fall: u32,
        /// Successes in a row until up.
        pub rise: u32,
    }
    /// When failed attempts eject a backend.
    pub struct Outlier {
        /// Connection faults in a row.
        pub consecutive_faults: u32,
        /// Answers 502, 503 and 504 in a row.
        pub consecutive_errors: u32,
        /// The part of attempts that fail.
        pub failure_ratio: Percent,
        /// Attempts below which the part says nothing.
        pub min_requests: u32,
        /// How far back the part looks.
        pub window: Duration,
        /// The first time out of rotation.
        pub eject_time: Duration,
        /// The longest time out of rotation.
        pub max_eject_time: Duration,
        /// The largest part of an upstream that is out at once.
        pub max_ejected: Percent,
        /// Whether it is only counted.
        pub shadow: bool,
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
        /// Whether it is only asked for want of others.
        pub backup: bool,
        /// Requests at once.
        pub max_conns: u32,
        /// How long it takes to its full share.
        pub slow_start: Duration,
        /// Failures until it is ejected.
        pub max_fails: u32,
        /// The window, and the time out of rotation.
        pub fail_timeout: Duration,
    }
}
