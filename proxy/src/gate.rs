//! Decides, as a connection comes in, whether it is taken; one that is not is closed before it costs anything.
//!
//! It stands before both data paths and before TLS, so that its limits hold for every protocol.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use crate::edge::Edge;
use crate::limit::access;
use crate::limit::connections::{Connections, Held};
use crate::metrics::client::{ACL, ListenerMetrics, Open};

/// What is behind the gate, and who is inside.
pub(crate) struct Gate<A> {
    inner: Arc<A>,
    edge: Arc<Edge>,
    connections: Arc<Connections>,
    /// The most connections that open files allow.
    ceiling: usize,
    series: Vec<ListenerMetrics>,
}

impl<A> Gate<A> {
    /// A gate before `inner` that never lets in more than `ceiling`.
    pub(crate) fn new(edge: &Arc<Edge>, ceiling: usize, inner: A) -> Self {
        let site = edge.site();
        let series =
            site.config.listeners.iter().map(|listener| edge.metrics.client.listener(&listener.name));
        Self {
            inner: Arc::new(inner),
            edge: Arc::clone(edge),
            connections: Arc::default(),
            ceiling,
            series: series.collect(),
        }
    }

    /// Takes a connection, or counts why not.
    fn enter(&self, stream: &Stream) -> Option<(Held, Option<Open>)> {
        let site = self.edge.site();
        let digest = stream.get_socket_digest();
        let peer = digest.as_ref().and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip()));
        // A unix socket has no address: only the machine itself can be at its other end.
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
        // With one listener there is nothing to ask the kernel.
        let local = digest
            .filter(|_| site.config.listeners.len() > 1)
            .and_then(|digest| digest.local_addr()?.as_inet().copied());
        let number = self.edge.listener_at(local);
        let series = self.series.get(number);
        if site.config.listeners.get(number).is_some_and(|door| !access::is_allowed(&door.access, peer)) {
            refused(series, ACL);
            return None;
        }
        let client = &site.config.client;
        let is_proxy = site.config.trusted_proxies.iter().any(|network| network.contains(&peer));
        let most_each = (!is_proxy).then_some(client.max_connections_per_client);
        match self.connections.enter(peer, client.max_connections.min(self.ceiling), most_each) {
            Ok(held) => Some((held, series.map(ListenerMetrics::open))),
            Err(full) => {
                refused(series, full.reason());
                None
            }
        }
    }
}

fn refused(series: Option<&ListenerMetrics>, reason: &str) {
    if let Some(series) = series {
        series.refused(reason);
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Gate<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _counted = self.edge.connections.enter();
        let _inside = self.enter(&stream)?;
        // A path that hands a connection back wants to go on with it: it stays inside.
        let mut next = self.inner.process_new(stream, shutdown).await;
        while let Some(stream) = next {
            next = self.inner.process_new(stream, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}
