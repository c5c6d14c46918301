//! Decides, as a connection comes in, whether it is taken; one that is not is closed before it costs anything.
//!
//! It stands before both data paths and before TLS, so that its limits hold for every protocol.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cirque_shared::shutdown::Guard;
use tokio::net::TcpStream;

use crate::door::Door;
use crate::edge::Edge;
use crate::limit::access;
use crate::limit::connections::{Connections, Held};
use crate::metrics::client::{ACL, LATE_HEADER, ListenerMetrics, NO_HEADER, Open, STRANGER};
use crate::proxy_header::{self, Broken};

/// Who is inside, and who may come in.
pub(crate) struct Gate {
    edge: Arc<Edge>,
    connections: Arc<Connections>,
    /// The most connections that open files allow.
    ceiling: usize,
}

/// A connection that was let in; dropping this, in whatever way, ends it.
pub(crate) struct Inside {
    _counted: Guard,
    held: Held,
    _open: Open,
}

impl Gate {
    /// A gate that never lets in more than `ceiling`.
    pub(crate) fn new(edge: &Arc<Edge>, ceiling: usize) -> Self {
        Self { edge: Arc::clone(edge), connections: Arc::default(), ceiling }
    }

    /// Takes a connection that `peer` made to a listener, or counts why not.
    pub(crate) fn enter(&self, door: &Door, peer: IpAddr) -> Option<Inside> {
        let site = self.edge.site();
        let peer = peer.to_canonical();
        let is_proxy = site.config.trusted_proxies.iter().any(|network| network.contains(&peer));
        if door.config.proxy_protocol {
            // Whom it is from is not known yet; who may say so is.
            if !is_proxy {
                door.metrics.refused(STRANGER);
                return None;
            }
        } else if !access::is_allowed(&door.config.access, peer) {
            door.metrics.refused(ACL);
            return None;
        }
        let client = &site.config.client;
        let most_each = (!is_proxy).then_some(client.max_connections_per_client);
        match self.connections.enter(peer, client.max_connections.min(self.ceiling), most_each) {
            Ok(held) => {
                Some(Inside { _counted: self.edge.connections.enter(), held, _open: door.metrics.open() })
            }
            Err(full) => {
                door.metrics.refused(full.reason());
                None
            }
        }
    }

    /// Hears from a balancer whom a connection is from, and takes it or counts why not.
    pub(crate) async fn introduce(
        &self,
        door: &Door,
        stream: &mut TcpStream,
        peer: SocketAddr,
        inside: &mut Inside,
    ) -> Option<IpAddr> {
        let client = self.edge.client();
        let read = tokio::time::timeout(client.header_timeout, proxy_header::read(stream)).await;
        let refused = |reason: &str| {
            let (listener, balancer) = (door.config.name.as_str(), peer.ip());
            tracing::warn!(listener, %balancer, reason, "connection has no PROXY header and was closed");
            refuse(&door.metrics, reason)
        };
        let source = match read {
            Ok(Ok(source)) => source,
            // Those that say nothing look whether somebody listens.
            Ok(Err(Broken::Ended)) => return refuse(&door.metrics, NO_HEADER),
            Ok(Err(Broken::Malformed)) => return refused(NO_HEADER),
            Err(_) => return refused(LATE_HEADER),
        };
        let from = source.or(peer);
        if !access::is_allowed(&door.config.access, from) {
            return refuse(&door.metrics, ACL);
        }
        let is_proxy = self.edge.site().config.trusted_proxies.iter().any(|network| network.contains(&from));
        if !is_proxy && let Err(full) = inside.held.belongs_to(from, client.max_connections_per_client) {
            return refuse(&door.metrics, full.reason());
        }
        Some(from)
    }
}

fn refuse(series: &ListenerMetrics, reason: &str) -> Option<IpAddr> {
    series.refused(reason);
    None
}
