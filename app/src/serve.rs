//! The composition root of a node: opens the database, listens, answers until told to stop, then drains.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cirque_shared::shutdown::{Drained, Request, Signals};
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::alerting::Look;
use crate::config::Config;
use crate::posts::{popularity, schedule};
use crate::queue::Queue;
use crate::router::{TEMPLATES, router};
use crate::state::{AppState, Unready};
use crate::{listeners, work};

/// How long a stop waits for the database to close.
const CLOSING: Duration = Duration::from_secs(2);

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
            tracing::warn!("SIGHUP was ignored, the app tier reads its configuration only at its start");
        }
    };
    node.run_until(stopped).await;
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
        let server = &config.server;
        let cannot_listen = |source| CannotStart::Listen { address: server.address(), source };
        let acceptor =
            Acceptor::bind(server, state.metrics.connections.clone()).await.map_err(cannot_listen)?;
        let address = acceptor.address().map_err(cannot_listen)?;
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
        let node = self.state.node.to_str().unwrap_or_default().to_owned();
        tracing::info!(node, address = %self.address, "node is listening");
        let stop = CancellationToken::new();
        let scheduling = tokio::spawn(schedule::run(self.state.clone(), stop.clone()));
        let ordering = tokio::spawn(popularity::run(self.state.clone(), stop.clone()));
        let look = Arc::new(Look::new(self.state.clone()));
        let alerting = self.state.watch.clone().run(look, stop.clone().cancelled_owned());
        let alerting = tokio::spawn(alerting);
        let queues = Queue::ALL.to_vec();
        let working =
            tokio::spawn(listeners::worker(&self.state, queues, self.grace_period).run(stop.clone()));
        let counting = tokio::spawn(work::observe(self.state.clone(), stop.clone()));
        let serving = self.acceptor.run(router(&self.state), stop.clone(), self.grace_period);
        let stopping = async {
            stopped.await;
            self.state.lifecycle.drain();
            tracing::info!(node, "node is draining");
            tokio::time::sleep(self.drain_delay).await;
            stop.cancel();
        };
        let served = CancellationToken::new();
        let ended = CancellationToken::new();
        let (state, ending) = (self.state.clone(), ended.clone());
        let tracing = tokio::spawn(async move { state.tell_traces(ending.cancelled()).await });
        let viewing = tokio::spawn(work::write_views(self.state.clone(), served.clone()));
        let (drained, ()) = tokio::join!(serving, stopping);
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
            tokio::join!(scheduling, ordering, alerting, counting, viewing)
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
