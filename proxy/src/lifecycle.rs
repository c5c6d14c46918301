//! When the edge is ready, and how it stops: told to, replaced by a new process, or hurried by a second signal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cirque_shared::notify::{self, Word};
use cirque_shared::report::Exit;
use cirque_shared::shutdown::{Drained, Request, Signals};
use cirque_shared::trace::Exporter;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio_util::sync::CancellationToken;

use crate::control::{Author, Control, Source};
use crate::edge::Edge;
use crate::handover::{Handover, Heir};

/// From the end of accepting until every accepted connection is counted.
const SETTLE: Duration = Duration::from_millis(100);

/// Turns signals, and a successor that is ready, into pingora's terms.
pub(crate) struct Stop {
    pub(crate) edge: Arc<Edge>,
    pub(crate) control: Arc<Control>,
    pub(crate) handover: Arc<Handover>,
    /// The line to the process that this one replaces.
    pub(crate) heir: Option<Heir>,
}

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
        // The sockets listen since before anything started, so nobody is refused; and from here on signals are heard.
        self.edge.ready();
        match &self.heir {
            Some(heir) => {
                heir.ready();
                notify::tell(Word::ReadyInstead);
            }
            None => notify::tell(Word::Ready),
        }
        let watchdog = tokio::spawn(notify::stay_alive());
        let mut left = self.handover.left();
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                _ = left.wait_for(|left| *left) => {
                    tracing::info!(in_flight = self.edge.in_flight.count(), "edge leaves to its successor");
                    self.edge.drain();
                    // From here on the successor speaks to the service manager.
                    watchdog.abort();
                    break;
                }
            };
            match request {
                Request::Stop => {
                    notify::tell(Word::Stopping);
                    self.pause(&mut signals).await;
                    break;
                }
                Request::Reload => {
                    notify::tell(Word::Reloading);
                    self.reload().await;
                    notify::tell(Word::Ready);
                }
                Request::Reopen => self.edge.access_log.reopen(),
                Request::Upgrade => self.upgrade(),
            }
        }
        self.handover.sockets.close();
        ShutdownSignal::GracefulTerminate
    }
}

impl Stop {
    /// Says that the edge is stopping, and goes on accepting for those who have not heard it yet.
    async fn pause(&self, signals: &mut Signals) {
        let delay = self.edge.site().config.drain_delay;
        tracing::info!(in_flight = self.edge.in_flight.count(), ?delay, "edge is stopping");
        self.edge.drain();
        let hurried = async { while signals.next().await != Request::Stop {} };
        let _ = tokio::time::timeout(delay, hurried).await;
    }

    async fn reload(&self) {
        let author = Author { source: Source::Signal, by: "SIGHUP".to_owned(), ..Author::default() };
        if let Err(refused) = self.control.reload(&author).await {
            let reason = refused.reason();
            tracing::error!(reason, %refused, "configuration was not reloaded, nothing changed");
        }
    }

    /// In a task of its own: signals are heard meanwhile.
    fn upgrade(&self) {
        let handover = Arc::clone(&self.handover);
        tokio::spawn(async move {
            // It says in the log how it went.
            let _ = handover.run("SIGUSR2").await;
        });
    }
}

/// Ends the process when nothing is in flight any more: pingora's own wait is a plain sleep. What tells of traces works
/// beside it, because it ends last.
pub(crate) struct Drain {
    edge: Arc<Edge>,
    handover: Arc<Handover>,
    exporter: Mutex<Option<Exporter>>,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let ended = CancellationToken::new();
        let exporter = self.exporter.lock().ok().and_then(|mut exporter| exporter.take());
        let telling = exporter.map(|exporter| tokio::spawn(exporter.run(ended.clone().cancelled_owned())));
        let _ = shutdown.wait_for(|stopping| *stopping).await;
        let edge = &self.edge;
        let drained = tokio::select! {
            drained = self.drained() => drained,
            () = hurried() => Drained::Cut(edge.in_flight.count()),
        };
        match drained {
            Drained::Clean => tracing::info!("edge has stopped"),
            Drained::Cut(count) => tracing::warn!(count, "edge has stopped, cutting requests off"),
        }
        ended.cancel();
        if let Some(telling) = telling {
            let _ = telling.await;
        }
        edge.access_log.finish();
        std::process::exit(Exit::Ok as i32);
    }
}

impl Drain {
    pub(crate) fn new(edge: &Arc<Edge>, handover: &Arc<Handover>, exporter: Option<Exporter>) -> Self {
        Self { edge: Arc::clone(edge), handover: Arc::clone(handover), exporter: Mutex::new(exporter) }
    }

    /// One that stops waits for what is in flight. One that was replaced may stay longer, as nobody waits for it: to
    /// the end of every connection. A client that uses an idle one once more is answered, and told to come back over
    /// another; to close it under its hands could lose a request.
    async fn drained(&self) -> Drained {
        let (grace, handover) = {
            let site = self.edge.site();
            (site.config.grace_period, site.config.handover_period)
        };
        if *self.handover.left().borrow() {
            // A connection that was accepted in the last moment has not been counted yet.
            tokio::time::sleep(SETTLE).await;
            self.edge.connections.drained(handover).await
        } else {
            self.edge.in_flight.drained(grace).await
        }
    }
}

/// Waits for another signal to stop: whoever sends it does not want to wait.
async fn hurried() {
    let Ok(mut signals) = Signals::listen() else { return std::future::pending().await };
    while signals.next().await != Request::Stop {}
}
