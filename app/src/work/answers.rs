//! What a process that only works answers, where it is told to listen: whether it lives and works, and its metrics.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::config::{Config, Server};
use crate::lifecycle::Ending;
use crate::state::AppState;
use crate::{health, scrape};

/// Listens; what comes is answered once the acceptor runs.
///
/// # Errors
///
/// When the address is in use, or not ours.
pub(super) async fn listen(
    config: &Config,
    state: &AppState,
    address: SocketAddr,
) -> anyhow::Result<Acceptor> {
    let server = Server { host: address.ip().to_string(), port: address.port(), ..config.server.clone() };
    let acceptor = Acceptor::bind(&server, state.metrics.connections.clone()).await;
    acceptor.with_context(|| format!("could not listen on {address}, which is queue.listen"))
}

/// Answers until `stop`.
pub(super) async fn run(acceptor: Option<Acceptor>, state: AppState, stop: CancellationToken) {
    let Some(acceptor) = acceptor else { return };
    let routes = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/api/metrics", get(scrape::metrics))
        .with_state(state);
    let told = async move {
        stop.cancelled().await;
        Ending::Stop
    };
    let _ = acceptor.run(routes, told, super::CLOSING).await;
}
