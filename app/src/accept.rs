//! Decides which connections are served, how long each part of a request may take, and how a stop ends them.

mod served;
mod socket;
mod source;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use cirque_shared::metrics::Gauge;
use cirque_shared::shutdown::{Drained, InFlight};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

pub use self::served::Served;
use self::socket::{Limits, Phase, Socket};
use self::source::{Arrived, Source};
use crate::config::Server;
use crate::lifecycle::Ending;
use crate::metrics::ConnectionMetrics;
use crate::middleware::Peer;

/// The most headers of one request; above it the answer is 431.
const MAX_HEADERS: usize = 100;

/// How long idle connections stay open for one more request, after another process has taken over.
pub const LINGER: Duration = Duration::from_secs(5);

/// Serves connections until it is told to stop.
#[derive(Debug)]
pub struct Acceptor {
    source: Source,
    connections: Connections,
    http: http1::Builder,
}

/// What every connection needs.
#[derive(Clone, Debug)]
struct Connections {
    limits: Limits,
    metrics: ConnectionMetrics,
    open: InFlight,
    served: Served,
    /// Finish the request in flight, then close.
    finish: CancellationToken,
    /// Close now.
    cut: CancellationToken,
}

impl Acceptor {
    /// Listens on the address of `config`.
    ///
    /// # Errors
    ///
    /// Those of the system: the address is in use, or not ours.
    pub async fn bind(config: &Server, metrics: ConnectionMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await?;
        let source = Source::own(listener, config.max_connections)?;
        Ok(Self::of(source, config, metrics, Served::default()))
    }

    /// Accepts from a socket that listens already and that other processes accept from too; counts in `served`.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn share(
        listener: std::net::TcpListener,
        config: &Server,
        metrics: ConnectionMetrics,
        served: Served,
    ) -> io::Result<Self> {
        Ok(Self::of(Source::shared(listener, config.max_connections)?, config, metrics, served))
    }

    fn of(source: Source, config: &Server, metrics: ConnectionMetrics, served: Served) -> Self {
        let mut http = http1::Builder::new();
        // Heads and idle connections are timed by the socket, which tells them apart.
        http.header_read_timeout(None)
            .max_headers(MAX_HEADERS)
            .max_buf_size(config.max_head_size)
            .half_close(false);
        let limits = Limits {
            head: config.header_timeout,
            idle: config.keep_alive_timeout,
            write: config.write_timeout,
        };
        let connections = Connections {
            limits,
            metrics,
            open: InFlight::default(),
            served,
            finish: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        Self { source, connections, http }
    }

    /// The address that it really listens on.
    pub fn address(&self) -> SocketAddr {
        self.source.address()
    }

    /// Accepts until it is told how to end, then waits for what is in flight, for `grace` at the longest.
    pub async fn run(self, app: Router, told: impl Future<Output = Ending>, grace: Duration) -> Drained {
        let Self { mut source, connections, http } = self;
        let http = Arc::new(http);
        let serve = |Arrived { stream, peer, place }| {
            let served = connections.clone().serve(stream, peer, app.clone(), Arc::clone(&http));
            tokio::spawn(async move {
                served.await;
                drop(place);
            });
        };
        source.begin();
        let mut told = pin!(told);
        let ending = loop {
            tokio::select! {
                Some(arrived) = source.next() => serve(arrived),
                ending = told.as_mut() => break ending,
            }
        };
        source.end(&ending);
        while let Some(arrived) = source.next().await {
            serve(arrived);
        }
        drop(source);
        if let Ending::Leave(hurried) = ending {
            tokio::select! {
                _ = connections.open.drained(LINGER) => {}
                () = hurried.cancelled() => {}
            }
        }
        connections.finish.cancel();
        let drained = connections.open.drained(grace).await;
        if let Drained::Cut(count) = drained {
            connections.metrics.cut.inc_by(count as u64);
            connections.cut.cancel();
            // A cut connection ends at once; wait so that nothing of it is left.
            connections.open.drained(Duration::from_secs(1)).await;
        }
        drained
    }
}

impl Connections {
    /// Counted as open from the call on, before the first poll.
    fn serve(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        app: Router,
        http: Arc<http1::Builder>,
    ) -> impl Future<Output = ()> {
        let guards = (self.open.enter(), Counted::new(self.metrics.open.clone()));
        async move {
            self.answer(stream, peer, app, &http).await;
            drop(guards);
        }
    }

    async fn answer(&self, stream: TcpStream, peer: SocketAddr, app: Router, http: &http1::Builder) {
        // Answers are written whole: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let (socket, phase) = Socket::new(stream, self.limits, self.metrics.clone());
        let served = self.served.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            served.one();
            respond(request, peer, app.clone(), phase.clone())
        });
        let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.finish.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// One connection in the gauge, until it is dropped.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    mut app: Router,
    phase: Phase,
) -> Result<axum::response::Response, std::convert::Infallible> {
    phase.begin_request();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let response = app.call(request).await;
    phase.end_request();
    response
}
