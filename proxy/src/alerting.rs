//! The edge's own alerting: what it looks at, and with whom it takes turns in telling.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use cirque_shared::alert::fleet::{Alone, Pending};
use cirque_shared::alert::history::Sample;
use cirque_shared::alert::metrics::AlertMetrics;
use cirque_shared::alert::raise::Alerts;
use cirque_shared::alert::rule::Tier;
use cirque_shared::alert::watch::{Source, Watch, samples};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::Instant;

use crate::config::Config;
use crate::edge::Edge;
use crate::handover::Handover;

/// The alerting of an edge with this configuration.
pub(crate) fn watch(config: &Config, edge: &Edge) -> Watch {
    let alerts = &config.alerts;
    let fleet = Alone::open(Some(config.state_dir.join("alerts.json")), alerts.peers.clone(), alerts.place);
    let metrics = AlertMetrics::new(&edge.metrics.registry);
    let instance = config.admin.to_string();
    Watch::new(alerts.settings.clone(), Tier::Edge, &instance, metrics, Arc::new(fleet), Alerts::default())
}

/// The metrics of an edge, brought up to date.
#[derive(Debug)]
struct Look(Arc<Edge>);

impl Source for Look {
    fn look<'a>(&'a self, names: &'a BTreeSet<String>) -> Pending<'a, Vec<Sample>> {
        let now = Instant::now();
        self.0.site().upstreams.iter().for_each(|upstream| upstream.show(now));
        let found = samples(&self.0.metrics.registry, names);
        Box::pin(std::future::ready(found))
    }
}

/// Looks and tells until the edge stops, or another takes its place.
pub(crate) struct Alerting {
    pub(crate) edge: Arc<Edge>,
    pub(crate) watch: Watch,
    pub(crate) handover: Arc<Handover>,
}

#[async_trait]
impl BackgroundService for Alerting {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut left = self.handover.left();
        let stopped = async move {
            tokio::select! {
                _ = shutdown.wait_for(|stopping| *stopping) => {}
                _ = left.wait_for(|left| *left) => {}
            }
        };
        let look = Arc::new(Look(Arc::clone(&self.edge)));
        tokio::select! {
            () = self.watch.clone().run(look, stopped) => {}
            () = self.follow() => {}
        }
    }
}

impl Alerting {
    /// Takes over what a reload says of alerts; peers and the place in line are those of the start.
    async fn follow(&self) {
        let mut changes = self.edge.changes();
        loop {
            let settings = self.edge.site().config.alerts.settings.clone();
            self.watch.adjust(settings);
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
