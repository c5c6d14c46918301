//! Which backends are probed: those of the site at work, but for those under maintenance.
//!
//! One task per backend, so that one that answers slowly delays nobody else's probes. A reload stops and starts
//! only the tasks that it concerns.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::policy::Probe;
use crate::edge::Edge;
use crate::operator::Duty;
use crate::upstream::backend::Backend;
use crate::upstream::health;

/// The task behind all probes.
pub(crate) struct Probes(pub(crate) Arc<Edge>);

/// A backend that is being probed.
struct Watched {
    backend: Arc<Backend>,
    policy: Probe,
    task: JoinHandle<()>,
}

/// By upstream and id.
type Key = (String, String);

#[async_trait]
impl BackgroundService for Probes {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut changes = self.0.changes();
        let mut watched = HashMap::new();
        loop {
            changes.mark_unchanged();
            self.follow(&mut watched);
            tokio::select! {
                _ = changes.changed() => {}
                _ = shutdown.wait_for(|stopping| *stopping) => break,
            }
        }
        for watched in watched.into_values() {
            watched.task.abort();
        }
    }
}

impl Probes {
    /// Stops the tasks that the site has no use for any more, and starts those that it lacks.
    fn follow(&self, watched: &mut HashMap<Key, Watched>) {
        let site = self.0.site();
        let mut wanted = HashMap::new();
        for upstream in &site.upstreams {
            for member in &upstream.backends {
                let (name, id) = (&upstream.config.name, &member.config.id);
                if site.orders.of(name, id).duty != Duty::Maintenance {
                    wanted.insert((name.clone(), id.clone()), (&member.backend, &upstream.config.probe));
                }
            }
        }
        watched.retain(|key, watched| {
            let stays = wanted.get(key).is_some_and(|(backend, policy)| {
                Arc::ptr_eq(backend, &watched.backend) && **policy == watched.policy
            });
            if !stays {
                watched.task.abort();
            }
            stays
        });
        for (key, (backend, policy)) in wanted {
            let Entry::Vacant(place) = watched.entry(key) else { continue };
            let upstream = place.key().0.clone();
            let task = self.watch(upstream, Arc::clone(backend), policy.clone());
            place.insert(Watched { backend: Arc::clone(backend), policy: policy.clone(), task });
        }
    }

    fn watch(&self, upstream: String, backend: Arc<Backend>, policy: Probe) -> JoinHandle<()> {
        let edge = Arc::clone(&self.0);
        tokio::spawn(async move {
            let subject = Arc::clone(&backend);
            // The pool may be another one at each verdict: limits and neighbours change with the configuration.
            let tell = |event| {
                let site = edge.site();
                let Some(pool) = site.upstream(&upstream) else { return };
                let mut members = pool.backends.iter();
                if let Some(index) = members.position(|member| Arc::ptr_eq(&member.backend, &subject)) {
                    pool.apply(index, event, Instant::now());
                }
            };
            health::watch(&backend, &policy, tell).await;
        })
    }
}
