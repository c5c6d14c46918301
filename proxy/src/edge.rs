//! What every request can reach: the site at work, metrics, the log, and how many requests there are.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use cirque_shared::metrics::http::NO_ROUTE;
use cirque_shared::metrics::{Registry, process};
use cirque_shared::shutdown::InFlight;
use cirque_shared::trace::{Exporter, Recorder};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::config::policy::Client;
use crate::metrics::Metrics;
use crate::metrics::route::RouteSeries;
use crate::operator::Orders;
use crate::site::Site;

/// The edge's shared state: what lives as long as the process, and the site that is replaced by a reload.
#[derive(Debug)]
pub(crate) struct Edge {
    site: ArcSwap<Site>,
    /// Rung at each replacement.
    changed: watch::Sender<()>,
    pub(crate) metrics: Metrics,
    pub(crate) no_route: RouteSeries,
    /// Where connections are served.
    pub(crate) runtime: process::Runtime,
    pub(crate) access_log: AccessLog,
    pub(crate) traces: Recorder,
    pub(crate) in_flight: InFlight,
    /// Clients' connections, with or without a request on them.
    pub(crate) connections: InFlight,
    ready: AtomicBool,
    draining: AtomicBool,
}

impl Edge {
    /// Builds the state of a configuration and of the operator's orders beside it, and what sends its traces.
    ///
    /// # Errors
    ///
    /// When the access log cannot be opened.
    pub(crate) fn new(config: Config, orders: Orders) -> io::Result<(Self, Option<Exporter>)> {
        let registry = Registry::new();
        let runtime = process::declare(&registry, "proxy", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::new(&registry);
        let access_log = AccessLog::open(
            &config.access_log,
            config.access_log_format,
            metrics.access_log_dropped.clone(),
        )?;
        let instance = config.admin.to_string();
        let (traces, exporter) = Recorder::open(&config.tracing, "cirque-edge", &instance, &registry);
        let site = Site::new(config, orders, &metrics, None);
        site.take_over(None, &metrics);
        let edge = Self {
            site: ArcSwap::from_pointee(site),
            changed: watch::Sender::new(()),
            no_route: metrics.route(NO_ROUTE),
            metrics,
            runtime,
            access_log,
            traces,
            in_flight: InFlight::default(),
            connections: InFlight::default(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        };
        Ok((edge, exporter))
    }

    /// The site at work. Not to be held over a wait: take what is needed of it.
    pub(crate) fn site(&self) -> Guard<Arc<Site>> {
        self.site.load()
    }

    /// Every metric as it is now.
    pub(crate) fn metrics_text(&self) -> String {
        let now = Instant::now();
        self.site().upstreams.iter().for_each(|upstream| upstream.show(now));
        self.metrics.registry.text()
    }

    /// The limits of the client's side.
    pub(crate) fn client(&self) -> Client {
        self.site().config.client
    }

    /// Puts another configuration to work, at once and as a whole. Only [`crate::control`] calls it, one call at
    /// a time.
    pub(crate) fn replace(&self, config: Config, orders: Orders) {
        let previous = self.site.load_full();
        self.traces.sample(config.tracing.sample);
        let site = Arc::new(Site::new(config, orders, &self.metrics, Some(&previous)));
        self.site.store(Arc::clone(&site));
        site.take_over(Some(&previous), &self.metrics);
        self.changed.send_replace(());
    }

    /// Rings at each replacement of the site.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All listeners accept connections: `/readyz` says so from now on.
    pub(crate) fn ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether requests are accepted.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Begins to stop: `/readyz` says so from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the edge is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
