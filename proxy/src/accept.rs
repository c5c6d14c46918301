//! Accepts connections on every listener: what the gate lets in becomes a task of its own.
//!
//! pingora runs the service and says when it stops; the loop is ours, so that a connection costs one task and no
//! layer that this path does not need (docs/decisions/0012-accepting-and-threads.md).

use std::io;
use std::net::TcpListener as Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::front::Front;
use crate::gate::Gate;

/// How long a listener rests when the system has no room for another connection: until some have ended.
const REST: Duration = Duration::from_millis(100);

/// All listeners, in the order of the configuration.
pub(crate) struct Accepting {
    listeners: Vec<Bound>,
    gate: Arc<Gate>,
    front: Arc<Front>,
}

impl Accepting {
    /// Accepts from `listeners`, whose numbers are their places.
    pub(crate) fn new(listeners: Vec<Bound>, gate: Gate, front: Front) -> Self {
        Self { listeners, gate: Arc::new(gate), front: Arc::new(front) }
    }
}

#[async_trait]
impl Service for Accepting {
    async fn start_service(&mut self, _: Option<ListenFds>, shutdown: ShutdownWatch, _: usize) {
        self.front.is_here();
        let mut loops = JoinSet::new();
        for (number, listener) in self.listeners.drain(..).enumerate() {
            let (gate, front) = (Arc::clone(&self.gate), Arc::clone(&self.front));
            loops.spawn(accept(listener, number, gate, front, shutdown.clone()));
        }
        while loops.join_next().await.is_some() {}
        self.front.cleanup().await;
    }

    fn name(&self) -> &'static str {
        "edge"
    }
}

/// Accepts until the edge stops. The listener is closed then.
async fn accept(
    listener: Bound,
    number: usize,
    gate: Arc<Gate>,
    front: Arc<Front>,
    mut shutdown: ShutdownWatch,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, listener = number, "could not accept connections on a listener");
            return;
        }
    };
    let mut is_short = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|is_stopping| *is_stopping) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_short = false;
                let Some(inside) = gate.enter(number, peer.ip()) else { continue };
                let (front, shutdown) = (Arc::clone(&front), shutdown.clone());
                tokio::spawn(async move {
                    front.serve(stream, number, peer.ip(), shutdown).await;
                    drop(inside);
                });
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                gate.is_short(number);
                if !std::mem::replace(&mut is_short, true) {
                    tracing::error!(%error, listener = number, "could not accept a connection");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Whether only the connection failed that would have been accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
