//! Takes a sample of every backend's counters once a second, for those who ask what it did of late.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::Instant;

use crate::edge::Edge;

const EVERY: Duration = Duration::from_secs(1);

/// The task behind it.
pub(crate) struct Sampler(pub(crate) Arc<Edge>);

#[async_trait]
impl BackgroundService for Sampler {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stopping| *stopping) => return,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            for member in self.0.site().upstreams.iter().flat_map(|upstream| &upstream.backends) {
                member.recent.keep(member.sample(now));
            }
        }
    }
}
