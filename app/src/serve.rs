//! The composition root of a node: opens the database, listens, answers until told to stop, then drains.

mod supervised;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use cirque_shared::notify::{self, Word};
use cirque_shared::shutdown::{Drained, Request, Signals};
use tokio_util::sync::CancellationToken;

use crate::accept::{Acceptor, LINGER, Served};
use crate::alerting::Look;
use crate::config::{Config, Server};
use crate::lifecycle::Ending;
use crate::posts::popularity;
use crate::queue::Queue;
use crate::router::{TEMPLATES, router};
use crate::state::{AppState, Unready};
use crate::{listeners, work};

pub use supervised::run as run_supervised;

/// How long a stop waits for the database to close.
const CLOSING: Duration = Duration::from_secs(2);

/// How long a process may take to end at the longest, from the word to its exit.
pub fn longest_end(config: &Server) -> Duration {
    config.drain_delay + LINGER + config.grace_period * 2 + CLOSING * 4
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The database cannot be used.
    #[error(transparent)]
    Unready(#[from] Unready),
    /// The address cannot be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// Which address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Runs a node until SIGTERM or SIGINT, then finishes what is in flight.
///
/// # Errors
///
/// When it cannot start: [`CannotStart`] says what was being done.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let node = Node::start(&config).await?;
    let stopped = async {
        while signals.next().await != Request::Stop {
            tracing::warn!(
                "signal was ignored, a single process reads its configuration only at its start; see processes.workers"
            );
        }
        notify::tell(Word::Stopping);
    };
    notify::tell(Word::Ready);
    tokio::select! {
        _ = node.run_until(stopped) => {}
        () = notify::stay_alive() => {}
    }
    Ok(())
}

/// A node that listens and is about to answer.
#[derive(Debug)]
pub struct Node {
    state: AppState,
    acceptor: Acceptor,
    address: SocketAddr,
    drain_delay: Duration,
    grace_period: Duration,
}

impl Node {
    /// Opens the database and listens.
    ///
    /// # Errors
    ///
    /// [`CannotStart`].
    pub async fn start(config: &Config) -> Result<Self, CannotStart> {
        let state = AppState::open(config, TEMPLATES).await?;
        let metrics = state.metrics.connections.clone();
        let acceptor = Acceptor::bind(&config.server, metrics).await;
        Self::with(config, state, acceptor)
    }

    /// Opens the database, to accept from a socket that listens already and to count requests in `served`.
    ///
    /// # Errors
    ///
    /// [`CannotStart`].
    pub async fn start_on(
        config: &Config,
        listener: TcpListener,
        served: Served,
    ) -> Result<Self, CannotStart> {
        let state = AppState::open(config, TEMPLATES).await?;
        let metrics = state.metrics.connections.clone();
        let acceptor = Acceptor::share(listener, &config.server, metrics, served);
        Self::with(config, state, acceptor)
    }

    fn with(config: &Config, state: AppState, acceptor: io::Result<Acceptor>) -> Result<Self, CannotStart> {
        let server = &config.server;
        let cannot_listen = |source| CannotStart::Listen { address: server.address(), source };
        let acceptor = acceptor.map_err(cannot_listen)?;
        let address = acceptor.address();
        let (drain_delay, grace_period) = (server.drain_delay, server.grace_period);
        Ok(Self { state, acceptor, address, drain_delay, grace_period })
    }

    /// The address that it really listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its handlers reach.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Answers until `stopped`, then drains: not ready first, then deaf, then done as soon as nothing is in flight.
    pub async fn run_until(self, stopped: impl Future<Output = ()>) -> Drained {
        self.run_until_told(async {
            stopped.await;
            Ending::Stop
        })
        .await
    }

    /// Answers until it is told how to end.
    pub async fn run_until_told(self, told: impl Future<Output = Ending>) -> Drained {
        let node = self.state.node.to_str().unwrap_or_default().to_owned();
        tracing::info!(node, address = %self.address, "node is listening");
        let stop = CancellationToken::new();
        let ordering = tokio::spawn(popularity::run(self.state.clone(), stop.clone()));
        let look = Arc::new(Look::new(self.state.clone()));
        let alerting = self.state.watch.clone().run(look, stop.clone().cancelled_owned());
        let alerting = tokio::spawn(alerting);
        let queues = Queue::ALL.to_vec();
        let working =
            tokio::spawn(listeners::worker(&self.state, queues, self.grace_period).run(stop.clone()));
        let counting = tokio::spawn(work::observe(self.state.clone(), stop.clone()));
        let noticing = tokio::spawn(work::exchange_notices(self.state.clone(), stop.clone()));
        let ending = async {
            let ending = told.await;
            self.state.lifecycle.end(&ending);
            match &ending {
                Ending::Stop => {
                    tracing::info!(node, "node is draining");
                    tokio::time::sleep(self.drain_delay).await;
                }
                Ending::Leave(_) => tracing::info!(node, "process is leaving to its successor"),
            }
            stop.cancel();
            ending
        };
        let served = CancellationToken::new();
        let ended = CancellationToken::new();
        let (state, over) = (self.state.clone(), ended.clone());
        let tracing = tokio::spawn(async move { state.tell_traces(over.cancelled()).await });
        let viewing = tokio::spawn(work::write_views(self.state.clone(), served.clone()));
        let drained = self.acceptor.run(router(&self.state), ending, self.grace_period).await;
        served.cancel();
        match drained {
            Drained::Clean => tracing::info!(node, "node has stopped"),
            Drained::Cut(connections) => {
                tracing::warn!(
                    node,
                    connections,
                    "node has stopped and cut connections at the end of its grace period"
                );
            }
        }
        let _ = tokio::time::timeout(CLOSING, async {
            tokio::join!(ordering, alerting, counting, viewing, noticing)
        })
        .await;
        let _ = tokio::time::timeout(self.grace_period + CLOSING, working).await;
        ended.cancel();
        let _ = tracing.await;
        // A statement that outlives its request must not outlive the grace period.
        let _ = tokio::time::timeout(CLOSING, self.state.db.close()).await;
        drained
    }
}
