//! What a file may say about routes.

use std::time::Duration;

use cirque_shared::config::units::{ByteSize, Percent};

cirque_shared::raw! {
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
        ..policy: RoutePolicy,
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
}
