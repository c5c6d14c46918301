//! What every request can reach: routes, upstreams, metrics, the log, and how many requests there are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cirque_shared::metrics::Registry;
use cirque_shared::metrics::http::{NO_ROUTE, RouteMetrics};
use cirque_shared::shutdown::InFlight;

use crate::access_log::AccessLog;
use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::retry::budget::Budget;
use crate::route::Table;
use crate::upstream::Upstream;

/// The edge's shared state.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) config: Config,
    pub(crate) routes: Table<Arc<Route>>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) metrics: Metrics,
    pub(crate) no_route: RouteMetrics,
    pub(crate) access_log: AccessLog,
    pub(crate) in_flight: InFlight,
    ready: AtomicBool,
    draining: AtomicBool,
}

/// A route with what belongs to it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) config: config::Route,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) budget: Budget,
    pub(crate) metrics: RouteMetrics,
}

impl Edge {
    /// Builds the state of a configuration.
    ///
    /// # Errors
    ///
    /// When the access log cannot be opened.
    pub(crate) fn new(config: Config) -> io::Result<Self> {
        let registry = Registry::new();
        cirque_shared::metrics::process::declare(&registry, "proxy", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::new(&registry);
        let access_log = AccessLog::open(&config.access_log, metrics.access_log_dropped.clone())?;
        let upstreams: Vec<Arc<Upstream>> = config
            .upstreams
            .iter()
            .map(|upstream| Arc::new(Upstream::new(upstream.clone(), &metrics)))
            .collect();
        let routes: Vec<Arc<Route>> = config
            .routes
            .iter()
            .map(|route| {
                let upstream = upstreams.iter().find(|upstream| upstream.config.name == route.upstream);
                Arc::new(Route {
                    config: route.clone(),
                    upstream: Arc::clone(upstream.expect("parse checked that each route's upstream exists")),
                    budget: Budget::new(route.retry.budget),
                    metrics: metrics.http.route(&route.name),
                })
            })
            .collect();
        Ok(Self {
            routes: Table::new(routes.iter().map(|route| (&route.config, Arc::clone(route)))),
            upstreams,
            no_route: metrics.http.route(NO_ROUTE),
            metrics,
            access_log,
            in_flight: InFlight::default(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            config,
        })
    }

    /// The number of the listener that accepted a connection at this address of ours.
    pub(crate) fn listener_at(&self, local: Option<SocketAddr>) -> usize {
        let found = local.and_then(|local| {
            let listeners = self.config.listeners.iter();
            let exact = listeners.clone().position(|listener| listener.address == local);
            exact.or_else(|| listeners.clone().position(|listener| listener.address.port() == local.port()))
        });
        found.unwrap_or(0)
    }

    /// The name of a listener.
    pub(crate) fn listener(&self, number: usize) -> &str {
        self.config.listeners.get(number).map_or("", |listener| &listener.name)
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
