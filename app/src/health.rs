//! Decides whether a node is alive, ready and healthy: three questions with three answers.

use std::sync::atomic::Ordering;

use axum::extract;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::answer;
use crate::error::NOT_SERVING;
use crate::moment::Moment;
use crate::redis::{Redis, State};
use crate::state::AppState;

/// What a part of the service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Ok,
    /// It serves, and somebody should look.
    Warning,
    /// It answers too late to be of use; the site goes on without.
    Slow,
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
    /// Where there are several servers: whether one takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<Part>,
    /// How many replicas are read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<Replicas>,
    cache: Part,
    redis: Part,
    queue: Part,
    /// `None` when there are too many to count in time, or nobody to ask.
    queue_size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Replicas {
    admitted: usize,
    all: usize,
}

#[derive(Debug, Serialize)]
struct Word {
    status: &'static str,
}

/// The rule that says how many waiting jobs are too many.
const QUEUE_RULE: &str = "HighQueueSize";

/// How the queue is, with so many jobs waiting.
fn queue(pending: Option<u64>, threshold: Option<f64>) -> Part {
    match (pending, threshold) {
        (None, _) => Part::Error,
        (Some(pending), Some(threshold)) if pending as f64 > threshold => Part::Warning,
        (Some(_), _) => Part::Ok,
    }
}

/// `GET /api/health`: asks the database, or somebody who just did. 503 only when it does not answer in time: without
/// Redis, without a database server that takes writes, and with a queue that is too long, the site is degraded and goes on.
pub async fn health(extract::State(state): extract::State<AppState>) -> Response {
    let found = state.probe.found(&state.db, state.clock.now()).await;
    note(&state, found.trouble.as_deref());
    let database = if found.trouble.is_none() { Part::Ok } else { Part::Error };
    let is_healthy = database == Part::Ok;
    let queue = queue(found.pending, state.watch.threshold(QUEUE_RULE));
    let redis = match state.redis.as_ref().map(Redis::state) {
        None => Part::Disabled,
        Some(State::Up) => Part::Ok,
        Some(State::Slow) => Part::Slow,
        Some(State::Down(_)) => Part::Error,
    };
    let servers = state.db.report();
    let primary =
        servers.as_ref().map(|servers| if servers.primary.is_some() { Part::Ok } else { Part::Error });
    let replicas = servers.map(|servers| Replicas {
        admitted: servers.replicas.iter().filter(|replica| replica.reason.is_none()).count(),
        all: servers.replicas.len(),
    });
    let status = match (is_healthy, redis, primary) {
        (false, ..) => "unhealthy",
        (true, Part::Slow | Part::Error, _) | (true, _, Some(Part::Error)) => "degraded",
        (true, ..) if queue != Part::Ok => "degraded",
        (true, ..) => "healthy",
    };
    let report = Report {
        status,
        timestamp: Moment::now(),
        node: state.node.to_str().unwrap_or_default(),
        services: Services {
            database,
            primary,
            replicas,
            cache: if state.cache.is_on() { Part::Ok } else { Part::Disabled },
            redis,
            queue,
            queue_size: found.pending,
        },
    };
    let status = if is_healthy { StatusCode::OK } else { NOT_SERVING };
    answer::with_status(status, &report, answer::JSON)
}

/// Logs when the database goes and when it comes back, not every check between.
fn note(state: &AppState, trouble: Option<&str>) {
    let was_up = state.database_was_up.swap(trouble.is_none(), Ordering::AcqRel);
    match trouble {
        Some(trouble) if was_up => tracing::error!(error.chain = trouble, "database is down"),
        None if !was_up => tracing::info!("database is up again"),
        Some(_) | None => {}
    }
}

/// `GET /livez`: the process runs. Says nothing of what it depends on.
pub async fn live() -> Response {
    answer::json(&Word { status: "alive" })
}

/// `GET /readyz`: whether to send traffic here. 503 from the moment the node is told to stop.
pub async fn ready(extract::State(state): extract::State<AppState>) -> Response {
    if state.lifecycle.is_draining() {
        let draining = Word { status: "draining" };
        return answer::with_status(NOT_SERVING, &draining, answer::JSON);
    }
    answer::json(&Word { status: "ready" })
}
