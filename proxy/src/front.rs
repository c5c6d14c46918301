//! Where every connection goes: whether over TLS, and onto which path.
//!
//! HTTP/1.x goes to [`crate::http1`] (or, with `[server] http1 = "pingora"`, to pingora), HTTP/2 to pingora.

mod http2;

use std::fmt::Debug;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use pingora::apps::ServerApp as _;
use pingora::protocols::{SocketDigest, Stream, UniqueIDType};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, BufStream};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::door::{Door, Origin};
use crate::downstream::{Downstream, Wrapped};
use crate::edge::Edge;
use crate::http1::{Http1, PREFACE};
use crate::listener::Listener;
use crate::phases::Phases;

/// Buffers of an HTTP/1.x connection on pingora's path: small reads suffice for heads, a larger write lets head and
/// body leave together. Our own path buffers by itself.
const READ_BUFFER: usize = 8 * 1024;
const WRITE_BUFFER: usize = 16 * 1024;

/// The paths.
pub(crate) struct Front {
    edge: Arc<Edge>,
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
    /// Connections are served in the runtime of the caller: its tasks are those that are counted.
    pub(crate) fn is_here(&self) {
        self.edge.runtime.is_here();
    }

    pub(crate) fn new(edge: Arc<Edge>, proxy: Arc<HttpProxy<Phases>>, own: Option<Http1>) -> Self {
        Self { edge, proxy, own }
    }

    /// Carries a connection, from its first byte to its last. `shutdown` says when its listener is closed.
    pub(crate) async fn serve(
        &self,
        stream: TcpStream,
        door: Arc<Door>,
        peer: IpAddr,
        shutdown: ShutdownWatch,
    ) {
        let plain = if door.config.protocols.http2 { Speaks::Either } else { Speaks::Http1 };
        let mut origin = Origin { door, peer, name: None };
        let (stream, speaks) = match origin.door.tls.clone() {
            None => (Downstream::Left(stream), plain),
            Some(tls) => {
                // Boxed, as each path that most connections do not take: none needs the room of all.
                // What it failed of is counted there; a scanner must not fill the log.
                let Ok(secured) = Box::pin(tls.accept(stream)).await else { return };
                origin.name = secured.name;
                let speaks = match secured.is_http2 {
                    Some(true) => Speaks::Http2,
                    Some(false) => Speaks::Http1,
                    None => plain,
                };
                (Downstream::Right(Box::new(secured.io)), speaks)
            }
        };
        match speaks {
            Speaks::Http2 => Box::pin(self.http2(stream, Vec::new(), origin, &shutdown)).await,
            speaks => self.http1(stream, origin, speaks == Speaks::Either, &shutdown).await,
        }
    }

    /// Carries HTTP/1.x, or HTTP/2 where a client begins with it.
    async fn http1(&self, stream: Downstream, origin: Origin, may_switch: bool, shutdown: &ShutdownWatch) {
        let Some(own) = &self.own else {
            return Box::pin(self.pingora_http1(stream, origin, may_switch, shutdown)).await;
        };
        if let Some((stream, ahead)) = own.serve(stream, &origin, may_switch).await {
            Box::pin(self.http2(stream, ahead, origin, shutdown)).await;
        }
    }

    async fn pingora_http1(
        &self,
        mut stream: Downstream,
        origin: Origin,
        may_switch: bool,
        shutdown: &ShutdownWatch,
    ) {
        let mut ahead = Vec::new();
        if may_switch {
            let deadline = self.edge.client().header_timeout;
            let read = tokio::time::timeout(deadline, http2::begins_with(&mut stream, PREFACE)).await;
            let Ok(read) = read else { return };
            if read == PREFACE {
                return self.http2(stream, read, origin, shutdown).await;
            }
            ahead = read;
        }
        let listener = Arc::new(Listener::new(Arc::clone(&self.proxy), Arc::clone(&self.edge), origin));
        let ids = ids(&stream);
        let buffered = BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, stream);
        // pingora would close an idle connection under the hands of a client that just uses it. It is told to leave with
        // its next answer instead (`crate::phases`), as on our own path.
        let (_held, quiet) = watch::channel(false);
        let mut next = listener.process_new(wrapped(buffered, ahead, ids), &quiet).await;
        while let Some(stream) = next {
            next = listener.process_new(stream, &quiet).await;
        }
    }

    async fn http2(&self, stream: Downstream, ahead: Vec<u8>, origin: Origin, shutdown: &ShutdownWatch) {
        let listener = Listener::new(Arc::clone(&self.proxy), Arc::clone(&self.edge), origin);
        let ids = ids(&stream);
        http2::serve(Arc::new(listener), wrapped(stream, ahead, ids), shutdown.clone()).await;
    }
}

type Ids = (Arc<SocketDigest>, UniqueIDType);

/// What pingora wants to know of a socket.
fn ids(stream: &Downstream) -> Ids {
    let socket = match stream {
        Downstream::Left(plain) => plain.as_raw_fd(),
        Downstream::Right(secured) => secured.get_ref().0.as_raw_fd(),
    };
    (Arc::new(SocketDigest::from_raw_fd(socket)), socket)
}

fn wrapped<T>(stream: T, ahead: Vec<u8>, (socket, id): Ids) -> Stream
where
    T: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug + 'static,
{
    Box::new(Wrapped::new(stream, ahead, Some(socket), id))
}
