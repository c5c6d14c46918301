//! The composition root of the edge: binds, wires, runs, and stops as soon as nothing is in flight.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use cirque_shared::report::Exit;
use cirque_shared::shutdown::{Drained, Request, Signals};
use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::{BackgroundService, GenBackgroundService, background_service};
use pingora::services::listening::Service;

use crate::admin::{Admin, Socket};
use crate::config::policy::Http1;
use crate::config::{self, Config};
use crate::control::{Author, Control};
use crate::descriptors;
use crate::door::Door;
use crate::edge::Edge;
use crate::front::Front;
use crate::gate::Gate;
use crate::http1;
use crate::operator::Book;
use crate::phases::Phases;
use crate::probes::Probes;

/// More attempts than any policy allows: ours end before pingora's.
const MOST_TRIES: usize = 16;

/// Idle connections to backends that are kept, per worker thread.
const POOL_PER_THREAD: usize = 512;

/// Buffers of a client's connection. Small reads suffice for heads; a larger write lets head and body leave
/// together.
const BUFFERS: L4BufferSettings = L4BufferSettings { read: Some(8 * 1024), write: Some(16 * 1024) };

/// Our path buffers by itself.
const UNBUFFERED: L4BufferSettings = L4BufferSettings { read: Some(0), write: Some(0) };

/// How often certificate files are looked at. A change is taken over at the second look that finds it.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);

/// Runs the edge until it is told to stop; never returns while it is serving. `path` is where `text`
/// was read, and `config` is what it says.
///
/// # Errors
///
/// When an address cannot be bound or the access log cannot be opened. Nothing was started then.
pub fn run(path: &Path, text: String, config: &Config) -> anyhow::Result<()> {
    for listener in &config.listeners {
        // pingora would retry for 30 s; whoever started us wants to know now.
        drop(bind(listener.address).with_context(|| format!("listener `{}`", listener.name))?);
    }
    let admin = Socket::bind(&config.admin).context("admin interface")?;
    let book = Book::new(&config.state_dir);
    let orders = book.read().with_context(|| {
        format!("could not read the operator's orders in {}; repair or remove it", book.path().display())
    })?;
    let edge = Edge::new(config.clone(), orders).context("could not open the access log")?;
    let edge = Arc::new(edge);
    let doors = doors(config, &edge)?;
    let control = Arc::new(Control::new(Arc::clone(&edge), path.to_owned(), text, book));

    let most_clients = descriptors::raise();
    if most_clients < config.client.max_connections {
        tracing::warn!(
            max_connections = config.client.max_connections,
            allowed = most_clients,
            "open files allow fewer connections than client.max_connections; raise LimitNOFILE or ulimit -n"
        );
    }
    let conf = ServerConf {
        threads: config.threads,
        work_stealing: config.threads > 1,
        upstream_keepalive_pool_size: POOL_PER_THREAD,
        max_retries: MOST_TRIES,
        grace_period_seconds: Some(config.grace_period.as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    add_listeners(&mut server, &edge, config, &doors, most_clients);
    if doors.iter().any(|door| door.is_tls()) {
        server.add_service(on_one_thread("certificates", CertificateWatch(doors)));
    }
    server.add_service(on_one_thread("probes", Probes(Arc::clone(&edge))));
    server.add_service(on_one_thread("admin", Admin::new(Arc::clone(&edge), Arc::clone(&control), admin)));
    server.add_service(on_one_thread("drain", Drain(Arc::clone(&edge))));
    server.add_service(on_one_thread("ready", Ready(Arc::clone(&edge))));
    let listeners: Vec<String> =
        config.listeners.iter().map(|listener| format!("{}={}", listener.name, listener.address)).collect();
    tracing::info!(listeners = listeners.join(" "), admin = %config.admin, "edge is starting");
    server.run(RunArgs { shutdown_signal: Box::new(Stop(edge, control)) });
    Ok(())
}

/// Adds the paths, listening on every address.
fn add_listeners(
    server: &mut Server,
    edge: &Arc<Edge>,
    config: &Config,
    doors: &[Arc<Door>],
    most_clients: usize,
) {
    let mut proxy = HttpProxy::new(Phases::new(Arc::clone(edge)), Arc::clone(&server.configuration));
    proxy.handle_init_modules();
    let (own, buffers) = match config.http1 {
        Http1::Own => (Some(http1::Http1::new(Arc::clone(edge))), UNBUFFERED),
        Http1::Pingora => (None, BUFFERS),
    };
    let front = Front::new(Arc::clone(edge), doors.to_vec(), Arc::new(proxy), own);
    let mut service = Service::new("edge".to_owned(), Gate::new(edge, most_clients, front));
    for listener in &config.listeners {
        service.add_listener(ListenerConfig::tcp(listener.address.to_string()).l4_buffer(buffers));
    }
    server.add_service(service);
}

fn on_one_thread<T>(name: &str, task: T) -> GenBackgroundService<T> {
    let mut service = background_service(name, task);
    service.threads = Some(1);
    service
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("could not listen on {address}"))
}

/// Says that the edge is ready once every listener accepts: pingora binds them in its own time.
struct Ready(Arc<Edge>);

#[async_trait]
impl BackgroundService for Ready {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        for listener in self.0.site().config.listeners.clone() {
            let mut address = listener.address;
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() {
                    Ipv4Addr::LOCALHOST.into()
                } else {
                    Ipv6Addr::LOCALHOST.into()
                });
            }
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        self.0.ready();
        let _ = shutdown.wait_for(|stopping| *stopping).await;
    }
}

/// What holds for each listener.
fn doors(config: &Config, edge: &Edge) -> anyhow::Result<Vec<Arc<Door>>> {
    let door = |(number, listener): (usize, &config::Listener)| {
        let door = Door::new(number, listener, &edge.metrics);
        Ok(Arc::new(door.with_context(|| format!("listener `{}`", listener.name))?))
    };
    config.listeners.iter().enumerate().map(door).collect()
}

/// Takes over certificates whose files have changed.
struct CertificateWatch(Vec<Arc<Door>>);

#[async_trait]
impl BackgroundService for CertificateWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(CERTIFICATE_LOOK) => {}
            }
            for tls in self.0.iter().filter_map(|door| door.tls.as_ref()) {
                tls.certificates.look();
            }
        }
    }
}

/// Turns signals into pingora's terms.
struct Stop(Arc<Edge>, Arc<Control>);

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "signals cannot be received");
                return ShutdownSignal::FastShutdown;
            }
        };
        loop {
            match signals.next().await {
                Request::Stop => break,
                Request::Reload => {
                    let author = Author { by: "SIGHUP".to_owned(), ..Author::default() };
                    if let Err(refused) = self.1.reload(&author).await {
                        let reason = refused.reason();
                        tracing::error!(reason, %refused, "configuration was not reloaded, nothing changed");
                    }
                }
            }
        }
        tracing::info!(in_flight = self.0.in_flight.count(), "edge is stopping");
        self.0.drain();
        ShutdownSignal::GracefulTerminate
    }
}

/// Ends the process when nothing is in flight any more: pingora's own wait is a plain sleep.
struct Drain(Arc<Edge>);

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let _ = shutdown.wait_for(|stopping| *stopping).await;
        let edge = &self.0;
        let drained = edge.in_flight.drained(edge.site().config.grace_period).await;
        match drained {
            Drained::Clean => tracing::info!("edge has stopped"),
            Drained::Cut(count) => tracing::warn!(count, "edge has stopped, cutting requests off"),
        }
        edge.access_log.finish();
        std::process::exit(Exit::Ok as i32);
    }
}
