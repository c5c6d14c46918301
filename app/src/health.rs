//! Decides whether a node is alive, ready and healthy: three questions with three answers.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::error::NOT_SERVING;
use crate::moment::Moment;
use crate::state::AppState;
use crate::{answer, settings};

/// What a part of the service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Ok,
    Error,
    /// This version has none.
    Disabled,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    status: &'static str,
    timestamp: Moment,
    node: &'a str,
    services: Services,
}

#[derive(Debug, Serialize)]
struct Services {
    database: Part,
    cache: Part,
    queue: Part,
    queue_size: u64,
}

#[derive(Debug, Serialize)]
struct Word {
    status: &'static str,
}

/// `GET /api/health`: asks the database. 503 only when it does not answer in time.
pub async fn health(State(state): State<AppState>) -> Response {
    let database = match tokio::time::timeout(state.health_timeout, settings::probe(&state.db)).await {
        Ok(Ok(())) => Part::Ok,
        Ok(Err(error)) => {
            tracing::warn!(error.chain = %cirque_shared::report::chain(&error), "database failed its health check");
            Part::Error
        }
        Err(_) => {
            tracing::warn!("database did not answer its health check in time");
            Part::Error
        }
    };
    let is_healthy = database == Part::Ok;
    let report = Report {
        status: if is_healthy { "healthy" } else { "unhealthy" },
        timestamp: Moment::now(),
        node: state.node.to_str().unwrap_or_default(),
        services: Services { database, cache: Part::Disabled, queue: Part::Disabled, queue_size: 0 },
    };
    let status = if is_healthy { StatusCode::OK } else { NOT_SERVING };
    answer::with_status(status, &report, answer::JSON)
}

/// `GET /livez`: the process runs. Says nothing of what it depends on.
pub async fn live() -> Response {
    answer::json(&Word { status: "alive" })
}

/// `GET /readyz`: whether to send traffic here. 503 from the moment the node is told to stop.
pub async fn ready(State(state): State<AppState>) -> Response {
    if state.lifecycle.is_draining() {
        let draining = Word { status: "draining" };
        return answer::with_status(NOT_SERVING, &draining, answer::JSON);
    }
    answer::json(&Word { status: "ready" })
}
