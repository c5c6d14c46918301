//! What a configuration file of the app tier may say.

use std::time::Duration;

use cirque_shared::alert::config::raw::Alerts;
use cirque_shared::config::secret::Secret;
use cirque_shared::config::units::ByteSize;
use cirque_shared::telemetry::{Format, Level};

use super::redis::Mode;

cirque_shared::raw! {
    /// The whole file.
    pub struct File {
        /// The HTTP side.
        pub server: Server,
        /// The processes that serve.
        pub processes: Processes,
        /// Where the data is.
        pub database: Database,
        /// What the nodes share beside the data.
        pub redis: Redis,
        /// How accounts sign in.
        pub auth: Auth,
        /// How often clients may ask.
        pub limits: Limits,
        /// What is answered from memory.
        pub cache: Cache,
        /// How posts are listed.
        pub posts: Posts,
        /// What is done later.
        pub queue: Queue,
        /// How mail is sent.
        pub mail: Mail,
        /// How others' servers are told of events.
        pub webhooks: Webhooks,
        /// How views are counted.
        pub analytics: Analytics,
        /// How health is judged.
        pub health: Health,
        /// What is told when something goes wrong.
        pub alerts: Alerts,
        /// Which traces are recorded.
        pub trace: cirque_shared::trace::config::Raw,
        /// How metrics are shown.
        pub metrics: Metrics,
        /// What is logged.
        pub log: Log,
    }

    /// `[server]`.
    pub struct Server {
        /// IP address or host name.
        pub host: String,
        /// 0 to 65535.
        pub port: u16,
        /// Name of the node; "" for host:port.
        pub node: String,
        /// What links start with; "" for paths.
        pub public_url: String,
        /// Addresses and networks.
        pub trusted_proxies: Vec<String>,
        /// 1 to 100000.
        pub max_connections: usize,
        /// 100ms to 10m.
        pub header_timeout: Duration,
        /// 1s to 1h.
        pub keep_alive_timeout: Duration,
        /// 100ms to 10m.
        pub write_timeout: Duration,
        /// 8KiB to 1MiB.
        pub max_head_size: ByteSize,
        /// 0 to 1GiB.
        pub max_body_size: ByteSize,
        /// 10ms to 1h.
        pub max_execution_time: Duration,
        /// 0s to 5m.
        pub drain_delay: Duration,
        /// 0s to 1h.
        pub grace_period: Duration,
    }

    /// `[processes]`.
    pub struct Processes {
        /// 1 to 64.
        pub workers: u16,
        /// 0 to 1000000000.
        pub max_requests: u64,
        /// 0, or 32MiB to 1TiB.
        pub max_memory: ByteSize,
        /// 1s to 5m.
        pub silence: Duration,
        /// Whether changed files are noticed.
        pub watch: bool,
    }

    /// `[database]`.
    pub struct Database {
        /// `sqlite:PATH` or `postgres://…`.
        pub url: String,
        /// `postgres://…`, at most 16.
        pub replicas: Vec<String>,
        /// `postgres://…`, at most 16.
        pub successors: Vec<String>,
        /// 100ms to 1h.
        pub max_lag: Duration,
        /// 0s to 10s.
        pub replica_wait: Duration,
        /// 1s to 1h.
        pub own_writes: Duration,
        /// 1 to 64.
        pub max_fallback: usize,
        /// 1 to 64.
        pub max_readers: u32,
        /// 1 to 64.
        pub max_writers: u32,
        /// 10ms to 10m.
        pub acquire_timeout: Duration,
        /// 0s to 10m.
        pub busy_timeout: Duration,
        /// 10ms to 1h.
        pub statement_timeout: Duration,
        /// 0s to 1h.
        pub slow_statement: Duration,
    }

    /// `[redis]`.
    pub struct Redis {
        /// `HOST:PORT` each; none for no Redis.
        pub servers: Vec<String>,
        /// How they stand to each other.
        pub mode: Mode,
        /// What sentinels call the group.
        pub master: String,
        /// 0 to 65535.
        pub database: u32,
        /// The user of an access list.
        pub username: String,
        /// Its password.
        pub password: Secret,
        /// The user at the sentinels.
        pub sentinel_username: String,
        /// Its password.
        pub sentinel_password: Secret,
        /// Whether connections are encrypted.
        pub tls: bool,
        /// A file of authorities.
        pub ca: String,
        /// A file of a certificate of our own.
        pub cert: String,
        /// Its key.
        pub key: String,
        /// What keys begin with.
        pub prefix: String,
        /// 10ms to 1m.
        pub connect_timeout: Duration,
        /// 1ms to 10s.
        pub timeout: Duration,
        /// 1ms to 10s.
        pub slow_after: Duration,
    }

    /// `[auth]`.
    pub struct Auth {
        /// 1m to 1y.
        pub token_lifetime: Duration,
        /// 1 to 1000.
        pub login_attempts: u32,
        /// 1s to 24h.
        pub login_window: Duration,
    }

    /// `[limits]`.
    pub struct Limits {
        /// `COUNT/TIME`; "" for none.
        pub public: String,
        /// `COUNT/TIME`; "" for none.
        pub search: String,
        /// `COUNT/TIME`; "" for none.
        pub write: String,
        /// `COUNT/TIME`; "" for none.
        pub login: String,
        /// Addresses and networks.
        pub exempt: Vec<String>,
    }

    /// `[cache]`.
    pub struct Cache {
        /// 0 to 64GiB.
        pub max_size: ByteSize,
        /// 0s to 24h.
        pub v1_list: Duration,
        /// 0s to 24h.
        pub v1_detail: Duration,
        /// 0s to 24h.
        pub v2_list: Duration,
        /// 0s to 24h.
        pub v2_detail: Duration,
        /// 0s to 24h.
        pub client_max_age: Duration,
        /// 0s to 24h.
        pub stale_while_revalidate: Duration,
        /// 0s to 168h.
        pub stale_if_error: Duration,
        /// `http://…` or `https://…`; "" for nobody.
        pub purge_url: String,
    }

    /// `[queue]`.
    pub struct Queue {
        /// 0 to 1000.
        pub workers: usize,
        /// 50ms to 1m.
        pub poll: Duration,
        /// 1s to 1h.
        pub lease: Duration,
        /// 1m to 8760h.
        pub keep_done: Duration,
        /// 1h to 8760h.
        pub keep_buried: Duration,
        /// An address with a port; "" for nowhere.
        pub listen: String,
        /// `[queue.default]`.
        pub default: QueueLimits,
        /// `[queue.mail]`.
        pub mail: QueueLimits,
        /// `[queue.webhooks]`.
        pub webhooks: QueueLimits,
    }

    /// What may happen at once in one queue.
    pub struct QueueLimits {
        /// 0 to 1000; 0 for any number.
        pub at_once: u32,
        /// 0 to 10000; 0 for any number.
        pub in_fleet: u32,
        /// `COUNT/TIME`; "" for none.
        pub rate: String,
    }

    /// `[posts]`.
    pub struct Posts {
        /// 1m to 24h.
        pub reorder_every: Duration,
    }

    /// `[mail]`.
    pub struct Mail {
        /// `smtp://…` or `smtps://…`; "" sends no mail.
        pub smtp: String,
        /// An e-mail address, with a name if you like.
        pub from: String,
        /// `COUNT/TIME`; "" for any number.
        pub per_domain: String,
    }

    /// `[webhooks]`.
    pub struct Webhooks {
        /// Addresses and networks.
        pub allow: Vec<String>,
        /// 1 to 1000.
        pub failures: u32,
    }

    /// `[analytics]`.
    pub struct Analytics {
        /// 100ms to 1m.
        pub flush: Duration,
        /// Words.
        pub bots: Vec<String>,
    }

    /// `[health]`.
    pub struct Health {
        /// 10ms to 1m.
        pub timeout: Duration,
        /// 0s to 1m.
        pub fresh: Duration,
    }

    /// `[metrics]`.
    pub struct Metrics {
        /// Whether the guide's names are shown.
        pub guide_names: bool,
    }

    /// `[log]`.
    pub struct Log {
        /// The least important line.
        pub level: Level,
        /// How a line looks.
        pub format: Format,
    }
}
