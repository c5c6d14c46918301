//! Where every connection comes in: through which door, whether over TLS, and onto which path.
//!
//! HTTP/1.x goes to [`crate::http1`] (or, with `[server] http1 = "pingora"`, to pingora), HTTP/2 to pingora.

mod http2;
mod stream;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp as _, ServerApp};
use pingora::protocols::{SocketDigest, Stream, UniqueIDType};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::door::{Door, Origin};
use crate::edge::Edge;
use crate::http1::{Http1, PREFACE};
use crate::listener::Listener;
use crate::phases::Phases;
use stream::Wrapped;

/// All listeners, as pingora sees them.
pub(crate) struct Front {
    edge: Arc<Edge>,
    doors: Vec<Arc<Door>>,
    proxy: Arc<HttpProxy<Phases>>,
    /// `None`: pingora carries HTTP/1.x too.
    own: Option<Http1>,
}

/// What a client will speak, as far as it is known before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    /// Its first bytes will tell.
    Either,
}

impl Front {
    pub(crate) fn new(
        edge: Arc<Edge>,
        doors: Vec<Arc<Door>>,
        proxy: Arc<HttpProxy<Phases>>,
        own: Option<Http1>,
    ) -> Self {
        for door in &doors {
            // Every series is there from the start.
            for reason in http2::Ended::ALL {
                edge.metrics.client.http2_closed.with(&[&door.name, reason]);
            }
        }
        Self { edge, doors, proxy, own }
    }

    /// The door through which a connection to this address of ours came.
    fn door(&self, socket: Option<&SocketDigest>) -> Arc<Door> {
        // With one listener there is nothing to ask the kernel.
        let local = || socket?.local_addr()?.as_inet().copied();
        let number = if self.doors.len() > 1 { self.edge.listener_at(local()) } else { 0 };
        Arc::clone(&self.doors[number])
    }

    /// Carries HTTP/1.x, or HTTP/2 where a client begins with it.
    async fn http1(&self, stream: Stream, origin: Origin, may_switch: bool, shutdown: &ShutdownWatch) {
        let Some(own) = &self.own else {
            return self.pingora_http1(stream, origin, may_switch, shutdown).await;
        };
        let ids = ids(&stream);
        if let Some((stream, ahead)) = own.serve(stream, &origin, may_switch).await {
            self.http2(wrapped(stream, ahead, ids), origin, shutdown).await;
        }
    }

    async fn pingora_http1(
        &self,
        mut stream: Stream,
        origin: Origin,
        may_switch: bool,
        shutdown: &ShutdownWatch,
    ) {
        if may_switch {
            let ids = ids(&stream);
            let deadline = self.edge.client().header_timeout;
            let Ok(ahead) = tokio::time::timeout(deadline, http2::begins_with(&mut stream, PREFACE)).await
            else {
                return;
            };
            let is_http2 = ahead == PREFACE;
            stream = wrapped(stream, ahead, ids);
            if is_http2 {
                return self.http2(stream, origin, shutdown).await;
            }
        }
        let listener = Arc::new(Listener::new(Arc::clone(&self.proxy), Arc::clone(&self.edge), origin));
        listener.process_new(stream, shutdown).await;
    }

    async fn http2(&self, stream: Stream, origin: Origin, shutdown: &ShutdownWatch) {
        let listener = Listener::new(Arc::clone(&self.proxy), Arc::clone(&self.edge), origin);
        http2::serve(Arc::new(listener), stream, shutdown.clone()).await;
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let socket = stream.get_socket_digest();
        let door = self.door(socket.as_deref());
        let peer = socket.as_ref().and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip()));
        // A unix socket has no address: only the machine itself can be at its other end.
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut origin = Origin { door: Arc::clone(&door), peer, name: None };
        let plain = if door.protocols.http2 { Speaks::Either } else { Speaks::Http1 };
        let (stream, speaks) = match &door.tls {
            None => (stream, plain),
            Some(tls) => {
                let id = stream.id();
                // Counted there; a scanner must not fill the log.
                let secured = tls.accept(stream).await.ok()?;
                origin.name = secured.name;
                let speaks = match secured.is_http2 {
                    Some(true) => Speaks::Http2,
                    Some(false) => Speaks::Http1,
                    None => plain,
                };
                (Box::new(Wrapped::new(secured.io, Vec::new(), socket, id)) as Stream, speaks)
            }
        };
        // Boxed: most connections take one of these only, and none needs the room of both.
        match speaks {
            Speaks::Http2 => Box::pin(self.http2(stream, origin, shutdown)).await,
            speaks => Box::pin(self.http1(stream, origin, speaks == Speaks::Either, shutdown)).await,
        }
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

type Ids = (Option<Arc<SocketDigest>>, UniqueIDType);

fn ids(stream: &Stream) -> Ids {
    (stream.get_socket_digest(), stream.id())
}

fn wrapped(stream: Stream, ahead: Vec<u8>, (socket, id): Ids) -> Stream {
    Box::new(Wrapped::new(stream, ahead, socket, id))
}
