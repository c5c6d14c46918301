//! Decides, as a connection comes in, whether it is taken; one that is not is closed before it costs anything.
//!
//! It stands before both data paths and before TLS, so that its limits hold for every protocol.

use std::net::IpAddr;
use std::sync::Arc;

use cirque_shared::shutdown::Guard;

use crate::edge::Edge;
use crate::limit::access;
use crate::limit::connections::{Connections, Held};
use crate::metrics::client::{ACL, ListenerMetrics, Open, SHORT};

/// Who is inside, and who may come in.
pub(crate) struct Gate {
    edge: Arc<Edge>,
    connections: Arc<Connections>,
    /// The most connections that open files allow.
    ceiling: usize,
    series: Vec<ListenerMetrics>,
}

/// A connection that was let in; dropping this, in whatever way, ends it.
pub(crate) struct Inside {
    _counted: Guard,
    _held: Held,
    _open: Option<Open>,
}

impl Gate {
    /// A gate that never lets in more than `ceiling`.
    pub(crate) fn new(edge: &Arc<Edge>, ceiling: usize) -> Self {
        let site = edge.site();
        let series =
            site.config.listeners.iter().map(|listener| edge.metrics.client.listener(&listener.name));
        Self { edge: Arc::clone(edge), connections: Arc::default(), ceiling, series: series.collect() }
    }

    /// Takes a connection that `peer` made to a listener, or counts why not.
    pub(crate) fn enter(&self, number: usize, peer: IpAddr) -> Option<Inside> {
        let site = self.edge.site();
        let peer = peer.to_canonical();
        let series = self.series.get(number);
        if site.config.listeners.get(number).is_some_and(|door| !access::is_allowed(&door.access, peer)) {
            refused(series, ACL);
            return None;
        }
        let client = &site.config.client;
        let is_proxy = site.config.trusted_proxies.iter().any(|network| network.contains(&peer));
        let most_each = (!is_proxy).then_some(client.max_connections_per_client);
        match self.connections.enter(peer, client.max_connections.min(self.ceiling), most_each) {
            Ok(held) => Some(Inside {
                _counted: self.edge.connections.enter(),
                _held: held,
                _open: series.map(ListenerMetrics::open),
            }),
            Err(full) => {
                refused(series, full.reason());
                None
            }
        }
    }

    /// A connection waits at a listener, and the system has no room for it.
    pub(crate) fn is_short(&self, number: usize) {
        refused(self.series.get(number), SHORT);
    }
}

fn refused(series: Option<&ListenerMetrics>, reason: &str) {
    if let Some(series) = series {
        series.refused(reason);
    }
}
