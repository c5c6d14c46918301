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
        /// Which methods.
        pub methods: Vec<String>,
        /// Which headers.
        pub headers: Vec<HeaderCondition>,
        /// Which pool answers.
        pub upstream: String,
        /// Where the client is sent.
        pub redirect: Redirect,
        /// What the edge answers.
        pub respond: Respond,
        /// What goes from the start of the path.
        pub strip_prefix: String,
        /// What comes before the path.
        pub add_prefix: String,
        ..policy: RoutePolicy,
    }
    /// `[[routes.headers]]`: a header that a request must have.
    pub struct HeaderCondition {
        /// Its name.
        pub name: String,
        /// What it must say.
        pub value: String,
    }
    /// `[routes.redirect]`: where a client is sent.
    pub struct Redirect {
        /// The Location.
        pub to: String,
        /// 301, 302, 307 or 308.
        pub status: u16,
    }
    /// `[routes.respond]`: a fixed answer.
    pub struct Respond {
        /// The status.
        pub status: u16,
        /// The Content-Type.
        pub content_type: String,
        /// The content.
        pub body: String,
    }
    /// What changes in a head.
    pub struct HeaderRules {
        /// What replaces what is there.
        pub set: Vec<String>,
        /// What stands beside what is there.
        pub add: Vec<String>,
        /// What goes.
        pub remove: Vec<String>,
    }
    /// A page for the edge's own answers.
    pub struct ErrorPage {
        /// Which statuses.
        pub statuses: Vec<u16>,
        /// Where it is.
        pub file: String,
    }
    /// Whether a route is closed for the time being.
    pub struct Maintenance {
        /// Whether it is.
        pub enabled: bool,
        /// For whom it is not.
        pub allow: Vec<String>,
        /// When to come back.
        pub retry_after: Duration,
        /// What clients read.
        pub page: String,
    }
    /// What a route inherits.
    pub struct RoutePolicy {
        /// Total time of a request.
        pub timeout: Duration,
        /// The largest body.
        pub client_max_body_size: ByteSize,
        /// Which fields after a body are passed on.
        pub trailers: Vec<String>,
        /// When and how often to try again.
        pub retry: Retry,
        /// What changes in the head that backends get.
        pub request_headers: HeaderRules,
        /// What changes in the head that clients get.
        pub response_headers: HeaderRules,
        /// Pages for the edge's own answers.
        pub error_pages: Vec<ErrorPage>,
        /// Whether it is closed.
        pub maintenance: Maintenance,
        /// Who may ask.
        pub allow: Vec<String>,
        /// Who may not.
        pub deny: Vec<String>,
        /// Which named limits hold.
        pub rate_limits: Vec<String>,
        /// Requests at once; 0: any number.
        pub max_requests: usize,
        /// Which answers are compressed.
        pub compress: Compress,
    }
    /// Which answers are compressed.
    pub struct Compress {
        /// How.
        pub encodings: Vec<String>,
        /// Of which media types.
        pub types: Vec<String>,
        /// From which size on.
        pub min_size: ByteSize,
    }
    /// `[rate_limits.NAME]`: how often somebody may ask.
    pub struct RateLimit {
        /// Who counts as one.
        pub key: String,
        /// How often.
        pub rate: String,
        /// How many at once beyond that.
        pub burst: u32,
        /// Whether it only counts.
        pub dry_run: bool,
        /// How many keys are remembered.
        pub keys: usize,
    }
    /// When and how often a failed attempt is tried again.
    pub struct Retry {
        /// What counts.
        pub on: Vec<String>,
        /// Attempts in total.
        pub attempts: u32,
        /// The time of one attempt.
        pub attempt_timeout: Duration,
        /// The pause before the second retry.
        pub backoff: Duration,
        /// The longest pause.
        pub max_backoff: Duration,
        /// Retries as a share of requests.
        pub budget: Percent,
        /// Retries a second that are free.
        pub budget_floor: u32,
        /// Whether POST and the like may be repeated.
        pub non_idempotent: bool,
        /// How much of a body is kept for another attempt.
        pub buffer: ByteSize,
    }
}
