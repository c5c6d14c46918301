//! What the rooms are told that find out who is available.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How a backend is probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeKind {
    /// By a request.
    #[default]
    Http,
    /// By a connection.
    Tcp,
    /// Not at all: it counts as up.
    Off,
}

/// The spellings of [`ProbeKind`] in a file.
pub const PROBE_KIND: [(&str, ProbeKind); 3] =
    [("http", ProbeKind::Http), ("tcp", ProbeKind::Tcp), ("off", ProbeKind::Off)];

/// The active check of a backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// How.
    pub kind: ProbeKind,
    /// What is asked.
    pub path: String,
    /// The Host header; empty: the backend's address.
    pub host: String,
    /// Another port than the backend's.
    pub port: Option<u16>,
    /// Statuses that are healthy; at least one range.
    pub status: Vec<RangeInclusive<u16>>,
    /// What the beginning of the answer's body must contain; empty: anything.
    pub body: String,
    /// Between two probes.
    pub interval: Duration,
    /// The same while successes or failures are being counted.
    pub fast_interval: Duration,
    /// How much shorter or longer a pause is by chance, 0.0 to 0.5.
    pub jitter: f64,
    /// For one probe, from connecting to the end of its answer.
    pub timeout: Duration,
    /// Failures in a row until a backend is down, 1 or more.
    pub fall: u32,
    /// Successes in a row until a backend is up, 1 or more.
    pub rise: u32,
}

/// nginx's rule about failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fails {
    /// Failures within `fail_timeout` that eject; 0 never does (nginx `max_fails`).
    pub max_fails: u32,
    /// The window, and the time out of rotation (nginx `fail_timeout`).
    pub fail_timeout: Duration,
}

/// The other rules about failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outlier {
    /// Connection faults in a row that eject; 0 never does.
    pub consecutive_faults: u32,
    /// Answers 502, 503 and 504 in a row that eject; 0 never does.
    pub consecutive_errors: u32,
    /// The part of attempts in the window whose failure ejects, 0.0 to 1.0; 0 never does.
    pub failure_ratio: f64,
    /// Attempts in the window below which the part says nothing.
    pub min_requests: u32,
    /// How far back the part looks.
    pub window: Duration,
    /// The time out of rotation, doubled each time.
    pub eject_time: Duration,
    /// The longest time out of rotation.
    pub max_eject_time: Duration,
    /// The largest part of an upstream's backends that is ejected at once, above 0.0 to 1.0; one may always be.
    pub max_ejected: f64,
    /// Whether what would be ejected is only counted, nginx's rule included.
    pub shadow: bool,
}

/// What is answered when no backend is available and the upstream does not fail open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unavailable {
    /// 400 to 599.
    pub status: u16,
    /// Seconds of `Retry-After`; 0 says nothing.
    pub retry_after: u32,
    /// The whole body; empty: the usual one.
    pub body: String,
    /// What the body is.
    pub content_type: String,
}
