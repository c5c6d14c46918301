//! What a handler may reach.

use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cirque_shared::alert::fleet::Fleet;
use cirque_shared::alert::metrics::AlertMetrics;
use cirque_shared::alert::raise::Alerts;
use cirque_shared::alert::rule::Tier;
use cirque_shared::alert::watch::Watch;
use cirque_shared::metrics::Registry;
use cirque_shared::trace::{Exporter, Recorder};
use http::HeaderValue;
use ipnet::IpNet;

use crate::alerts::Nodes;
use crate::cache::{self, Cache};
use crate::config::{self, Config};
use crate::consistency::Consistency;
use crate::db::{Db, Open};
use crate::lifecycle::Lifecycle;
use crate::limit::Limiter;
use crate::line::Upward;
use crate::mail::Mailer;
use crate::metrics::{
    CacheMetrics, DatabaseMetrics, Metrics, QueueMetrics, RedisMetrics, SharedCacheMetrics,
};
use crate::moment::Clock;
use crate::outbound::Outbound;
use crate::passwords::Passwords;
use crate::probe::Probe;
use crate::queue::Bell;
use crate::redis::Redis;
use crate::signing::Key;
use crate::views::Collector;
use crate::{db, settings};

/// One node's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Inner>);

/// The parts of the state.
#[derive(Debug)]
pub struct Inner {
    /// The database, by intent.
    pub db: Db,
    /// What the nodes share beside the data; `None` where there is no such thing.
    pub redis: Option<Redis>,
    /// What is answered from memory.
    pub cache: Cache,
    /// Who has asked too often.
    pub limiter: Limiter,
    /// Tells this node's workers of new jobs.
    pub bell: Bell,
    /// What is counted of jobs.
    pub queue_metrics: QueueMetrics,
    /// `[queue]`.
    pub queue: config::Queue,
    /// Hands mails to the server; `None` where none is configured.
    pub mailer: Option<Mailer>,
    /// How many mails one domain gets.
    pub mail_per_domain: Option<config::Rate>,
    /// Signs links in mails.
    pub link_key: Key,
    /// After so many failures in a row a webhook is switched off.
    pub webhook_failures: u32,
    /// Views of posts that were counted and not written yet.
    pub views: Collector,
    /// How often they are written.
    pub views_every: Duration,
    /// Calls others' servers.
    pub outbound: Outbound,
    /// What the time is.
    pub clock: Clock,
    /// What callers have written, and must see.
    pub consistency: Consistency,
    /// Signs cursors.
    pub cursor_key: Key,
    /// Compares passwords.
    pub passwords: Passwords,
    /// How accounts sign in.
    pub auth: config::Auth,
    /// The proxies that are believed when they say who is behind them.
    pub trusted_proxies: Vec<IpNet>,
    /// What links start with.
    pub public_url: String,
    /// Who is told what to forget.
    pub purge_url: Option<String>,
    /// The node's name, as it is sent in `X-Served-By`.
    pub node: HeaderValue,
    /// Takes what is recorded of traces.
    pub traces: Recorder,
    /// Sends it, once somebody makes it run.
    exporter: Mutex<Option<Exporter>>,
    /// Everything that is counted.
    pub metrics: Metrics,
    /// The way to the other nodes' alerts.
    pub nodes: Arc<Nodes>,
    /// Looks for problems and tells them.
    pub watch: Watch,
    /// Where code raises an alert itself.
    pub alerts: Alerts,
    /// Whether the node is to stop.
    pub lifecycle: Lifecycle,
    /// Time for one request.
    pub max_execution_time: Duration,
    /// How often the order of lists by views is made anew.
    pub reorder_every: Duration,
    /// Largest body in bytes.
    pub max_body_size: u64,
    /// Whether the last health check found the database; written by `health` only.
    pub database_was_up: AtomicBool,
    /// Time for the database to answer a health check.
    pub health_timeout: Duration,
    /// How the database is, for whoever asks for the node's health.
    pub probe: Probe,
    /// The way to the supervisor, where there is one; set by `serve` only.
    pub supervisor: OnceLock<Upward>,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] db::Error),
    /// The schema is not what this version needs.
    #[error("database {location} is not up to date ({missing} to apply): run `cirque app migrate`")]
    Unmigrated {
        /// Which database.
        location: String,
        /// What is missing.
        missing: String,
    },
}

impl AppState {
    /// Opens the database and reads what the nodes share; requests are counted under `templates`.
    ///
    /// # Errors
    ///
    /// [`Unready`] when there is no database, or its schema is not up to date.
    pub async fn open(config: &Config, templates: &[&'static str]) -> Result<Self, Unready> {
        let registry = Registry::new();
        let db = opened(config, DatabaseMetrics::new(&registry)).await?;
        let cursor_key = Key::new(&settings::secret(&db, settings::CURSOR_KEY).await?);
        let link_key = Key::new(&settings::secret(&db, settings::MAIL_KEY).await?);
        let node = HeaderValue::from_str(&config.server.node_name())
            .unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
        let clock = Clock::default();
        let (traces, exporter) =
            Recorder::open(&config.trace, "cirque-app", &config.server.node_name(), &registry);
        let secret = settings::secret(&db, settings::NODES_KEY).await?;
        let redis = config.redis.clone().map(|redis| Redis::start(redis, RedisMetrics::new(&registry)));
        let shared = redis.clone().map(|redis| {
            let metrics = SharedCacheMetrics::new(&registry);
            cache::Shared::new(redis, &space(config, &secret), metrics)
        });
        let cache = Cache::new(config, db.clone(), clock.clone(), CacheMetrics::new(&registry), shared);
        let alerts = Alerts::default();
        let (name, address) = (config.server.process_name(), config.server.address());
        let nodes =
            Arc::new(Nodes::new(db.clone(), redis.clone(), &name, address, config.alerts.interval, &secret));
        let fleet: Arc<dyn Fleet> = Arc::<Nodes>::clone(&nodes);
        let watch = Watch::new(
            config.alerts.clone(),
            Tier::App,
            &name,
            AlertMetrics::new(&registry),
            fleet,
            alerts.clone(),
        );
        Ok(Self(Arc::new(Inner {
            traces,
            exporter: Mutex::new(exporter),
            nodes,
            watch,
            alerts,
            db,
            cache,
            limiter: Limiter::new(config.limits.clone(), redis.clone()),
            redis,
            bell: Bell::default(),
            queue_metrics: QueueMetrics::new(&registry),
            queue: config.queue.clone(),
            mailer: Mailer::new(&config.mail),
            mail_per_domain: config.mail.per_domain,
            link_key,
            webhook_failures: config.webhooks.failures,
            views: Collector::new(&config.analytics.bots),
            views_every: config.analytics.flush,
            outbound: Outbound::new(config),
            clock,
            consistency: Consistency::new(&cursor_key, config.database.own_writes),
            cursor_key,
            passwords: Passwords::default(),
            auth: config.auth.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            public_url: config.server.public_url.clone(),
            purge_url: config.cache.purge_url.clone(),
            node,
            metrics: Metrics::new(registry, templates, config.metrics.guide_names),
            lifecycle: Lifecycle::default(),
            max_execution_time: config.server.max_execution_time,
            reorder_every: config.posts.reorder_every,
            max_body_size: config.server.max_body_size,
            database_was_up: AtomicBool::new(true),
            health_timeout: config.health.timeout,
            probe: Probe::new(config.health),
            supervisor: OnceLock::new(),
        })))
    }
}

/// The database, if its schema is what this version needs.
async fn opened(config: &Config, metrics: DatabaseMetrics) -> Result<Db, Unready> {
    let database = config.database.within(config.server.max_execution_time);
    let db = Db::open(&database, Open::Existing, Arc::new(metrics)).await?;
    let missing = db::migrations::pending(&db).await?;
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let location = config.database.location.to_string();
        return Err(Unready::Unmigrated { location, missing: missing.join(", ") });
    }
    Ok(db)
}

/// What tells the kept answers of this site from those of others: another database, another version, other links.
fn space(config: &Config, secret: &[u8]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    [b"answers:", secret, version.as_bytes(), b"|", config.server.public_url.as_bytes()].concat()
}

impl AppState {
    /// Tells the collector of traces, where there is one, until `stop`; and of the last ones then. Once in a process.
    pub async fn tell_traces(&self, stop: impl Future<Output = ()>) {
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            exporter.run(stop).await;
        }
    }

    /// Everything that this process counted, in the text format of Prometheus.
    pub fn metrics_text(&self) -> String {
        self.db.observe();
        self.cache.observe();
        self.metrics.text()
    }

    /// To be called after a write is committed: this node's next answers show it, and its workers begin what follows.
    pub async fn written(&self) {
        self.bell.ring();
        self.cache.catch_up().await;
    }
}

impl Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
