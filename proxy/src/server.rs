//! The composition root of the edge: what is made from what, and in which order it starts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, GenBackgroundService, background_service};

use crate::accept::Accepting;
use crate::admin::{Admin, Desk};
use crate::alerting::{self, Alerting};
use crate::config::Config;
use crate::config::policy::Http1;
use crate::control::Control;
use crate::descriptors;
use crate::edge::Edge;
use crate::entrances::Entrances;
use crate::front::Front;
use crate::gate::Gate;
use crate::handover::{Handover, Heir, Inheritance};
use crate::http1;
use crate::lifecycle::{Drain, Stop};
use crate::operator::Book;
use crate::phases::Phases;
use crate::probes::Probes;
use crate::sampler::Sampler;
use crate::sockets::Sockets;

/// More attempts than any policy allows: ours end before pingora's.
const MOST_TRIES: usize = 16;

/// Idle connections to backends that are kept, per worker thread.
const POOL_PER_THREAD: usize = 512;

/// How often certificate files are looked at. A change is taken over at the second look that finds it.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);

/// Runs the edge until it is told to stop; never returns while it is serving. `path` is where `text`
/// was read, and `config` is what it says.
///
/// # Errors
///
/// When an address cannot be bound or the access log cannot be opened. Nothing was started then.
pub fn run(
    path: &Path,
    text: String,
    config: &Config,
    predecessor: Option<(Heir, Inheritance)>,
) -> anyhow::Result<()> {
    let (heir, inheritance) =
        predecessor.map_or((None, Inheritance::default()), |(heir, left)| (Some(heir), left));

    let sockets = Arc::new(Sockets::open(config, inheritance.0)?);
    let admin = sockets.admin(&config.admin).context("admin interface")?;
    let book = Book::new(&config.state_dir);
    let orders = book.read().with_context(|| {
        format!("could not read the operator's orders in {}; repair or remove it", book.path().display())
    })?;
    let (edge, exporter) = Edge::new(config.clone(), orders).context("could not open the access log")?;
    let edge = Arc::new(edge);
    let entrances = Arc::new(Entrances::open(&config.listeners, Arc::clone(&sockets), &edge.metrics)?);
    let control = Control::new(Arc::clone(&edge), Arc::clone(&entrances), path.to_owned(), text, book);
    let control = Arc::new(control);

    let handover = Arc::new(Handover::new(sockets, path));

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
        // Ours end the process before.
        grace_period_seconds: Some(config.grace_period.max(config.handover_period).as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    add_listeners(&mut server, &edge, config.http1, &entrances, most_clients);
    server.add_service(on_one_thread("certificates", CertificateWatch(entrances)));
    server.add_service(on_one_thread("probes", Probes(Arc::clone(&edge))));
    server.add_service(on_one_thread("sampler", Sampler(Arc::clone(&edge))));
    let watch = alerting::watch(config, &edge);
    let alerting =
        Alerting { edge: Arc::clone(&edge), watch: watch.clone(), handover: Arc::clone(&handover) };
    server.add_service(on_one_thread("alerts", alerting));
    let desk = Desk {
        edge: Arc::clone(&edge),
        control: Arc::clone(&control),
        handover: Arc::clone(&handover),
        watch,
    };
    server.add_service(on_one_thread("admin", Admin::new(desk, admin)));
    server.add_service(on_one_thread("drain", Drain::new(&edge, &handover, exporter)));
    let listeners: Vec<String> =
        config.listeners.iter().map(|listener| format!("{}={}", listener.name, listener.address)).collect();
    tracing::info!(listeners = listeners.join(" "), admin = %config.admin, "edge is starting");
    server.run(RunArgs { shutdown_signal: Box::new(Stop { edge, control, handover, heir }) });
    Ok(())
}

/// Adds the paths, behind every entrance.
fn add_listeners(
    server: &mut Server,
    edge: &Arc<Edge>,
    http1: Http1,
    entrances: &Arc<Entrances>,
    most_clients: usize,
) {
    let mut proxy = HttpProxy::new(Phases::new(Arc::clone(edge)), Arc::clone(&server.configuration));
    proxy.handle_init_modules();
    let own = match http1 {
        Http1::Own => Some(http1::Http1::new(Arc::clone(edge))),
        Http1::Pingora => None,
    };
    let front = Front::new(Arc::clone(edge), Arc::new(proxy), own);
    server.add_service(Accepting::new(Arc::clone(entrances), Gate::new(edge, most_clients), front));
}

fn on_one_thread<T>(name: &str, task: T) -> GenBackgroundService<T> {
    let mut service = background_service(name, task);
    service.threads = Some(1);
    service
}

/// Takes over certificates whose files have changed.
struct CertificateWatch(Arc<Entrances>);

#[async_trait]
impl BackgroundService for CertificateWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(CERTIFICATE_LOOK) => {}
            }
            for tls in self.0.doors().iter().filter_map(|door| door.tls.as_ref()) {
                tls.certificates.look();
            }
        }
    }
}
