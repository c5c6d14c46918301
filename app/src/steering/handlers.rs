//! Decides how jobs are seen and steered over the API: by admins, with a token that has the ability `queue:manage`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;
use serde_json::{Value, json};

use super::Steering;
use crate::answer;
use crate::error::{ApiError, Code};
use crate::identity::Signed;
use crate::query::{Params, Rule, Spec, words};
use crate::queue::look::{self, Depth};
use crate::queue::steer::{self, Filter, Granted, Shown, Wish};
use crate::queue::{Queue, State as JobState};
use crate::state::AppState;

const STATES: [(&str, JobState); 5] = [
    ("waiting", JobState::Waiting),
    ("running", JobState::Running),
    ("done", JobState::Done),
    ("buried", JobState::Buried),
    ("discarded", JobState::Discarded),
];
const QUEUES: [(&str, Queue); 3] =
    [("default", Queue::Default), ("mail", Queue::Mail), ("webhooks", Queue::Webhooks)];
const STATE_WORDS: [&str; 5] = words(&STATES);
/// The names of the queues.
pub const QUEUE_WORDS: [&str; 3] = words(&QUEUES);

/// What `GET /api/admin/queue/jobs` takes.
pub const LIST: &[Spec] = &[
    Spec::new("state", Rule::Word(&STATE_WORDS), "Only jobs in this state."),
    Spec::new("queue", Rule::Word(&QUEUE_WORDS), "Only jobs in this queue."),
    Spec::new("kind", Rule::Text(1, 100), "Only jobs of this kind."),
    Spec::new(
        "before",
        Rule::Number(1, i64::MAX.unsigned_abs()),
        "Only jobs with a smaller number: the next page.",
    ),
    Spec::new("limit", Rule::Number(1, 100), "So many at most; 20 when left out."),
];

/// `GET /api/admin/queue`: how many jobs wait, and since when.
///
/// # Errors
///
/// 401, 403 without the right; those of the database.
pub async fn stats(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let depths = look::depths(&state.db, state.clock.now()).await?;
    let data: Vec<Value> = depths.iter().map(depth).collect();
    Ok(answer::secret(answer::json(&json!({ "data": data }))))
}

fn depth(depth: &Depth) -> Value {
    json!({
        "queue": depth.queue.word(), "pending": depth.pending, "delayed": depth.delayed,
        "running": depth.running, "buried": depth.buried, "oldest": depth.oldest, "paused_at": depth.paused_at,
    })
}

/// `GET /api/admin/queue/jobs`: jobs, the newest first.
///
/// # Errors
///
/// As [`stats`]; 422 for parameters that are unknown or out of range.
pub async fn list(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    let mut params = Params::parse(uri.query(), LIST);
    params.finish()?;
    let filter = Filter {
        state: params.choice("state", &STATES),
        queue: params.choice("queue", &QUEUES),
        kind: params.text("kind").map(str::to_owned),
        before: params.number("before").and_then(|before| i64::try_from(before).ok()),
    };
    let jobs = steer::list(&state.db, &filter, params.number("limit").unwrap_or(20)).await?;
    let data: Vec<Value> = jobs.iter().map(Shown::json).collect();
    Ok(answer::secret(answer::json(&json!({ "data": data }))))
}

/// `GET /api/admin/queue/jobs/{id}`.
///
/// # Errors
///
/// As [`stats`]; 404 for a job that is not there.
pub async fn show(
    State(state): State<AppState>,
    Signed(identity): Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let job = steer::show(&state.db, number(id)?).await?.ok_or_else(nothing)?;
    Ok(answer::secret(answer::json(&json!({ "data": job.json() }))))
}

/// `POST /api/admin/queue/jobs/{id}/retry`: do it again, or at once.
///
/// # Errors
///
/// As [`show`]; 409 for a job in a state where that cannot be.
pub async fn retry(
    State(state): State<AppState>,
    signed: Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    wish(&state, &signed, id, &uri, Wish::Retry).await
}

/// `POST /api/admin/queue/jobs/{id}/discard`: do not do it any more.
///
/// # Errors
///
/// As [`retry`].
pub async fn discard(
    State(state): State<AppState>,
    signed: Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    wish(&state, &signed, id, &uri, Wish::Discard).await
}

async fn wish(
    state: &AppState,
    Signed(identity): &Signed,
    id: Result<Path<String>, PathRejection>,
    uri: &Uri,
    wish: Wish,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let id = number(id)?;
    match Steering::over(state.db.clone()).granted(id, wish, state.clock.now()).await? {
        Granted::Unknown => return Err(nothing()),
        Granted::Impossible(found) => {
            let public = format!("The job is {}: that cannot be done with it.", found.word());
            return Err(ApiError::new(Code::Conflict, public));
        }
        Granted::Is(_) => {}
    }
    state.bell.ring();
    let job = steer::show(&state.db, id).await?.ok_or_else(nothing)?;
    Ok(answer::secret(answer::json(&json!({ "data": job.json() }))))
}

/// `POST /api/admin/queue/{queue}/pause`: nothing of it is taken any more; what is in hand is finished.
///
/// # Errors
///
/// As [`stats`]; 404 for a queue that is not there.
pub async fn pause(
    State(state): State<AppState>,
    signed: Signed,
    queue: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    set_paused(&state, &signed, queue, &uri, true).await
}

/// `POST /api/admin/queue/{queue}/resume`.
///
/// # Errors
///
/// As [`pause`].
pub async fn resume(
    State(state): State<AppState>,
    signed: Signed,
    queue: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    set_paused(&state, &signed, queue, &uri, false).await
}

async fn set_paused(
    state: &AppState,
    Signed(identity): &Signed,
    queue: Result<Path<String>, PathRejection>,
    uri: &Uri,
    is_paused: bool,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let queue = queue.ok().and_then(|Path(queue)| Queue::parse(&queue));
    let queue = queue.ok_or_else(|| ApiError::not_found("There is no queue of this name."))?;
    let now = state.clock.now();
    steer::set_paused(&state.db, queue, is_paused, now).await?;
    state.bell.ring();
    let depths = look::depths(&state.db, now).await?;
    let data = depths.iter().find(|found| found.queue == queue).map(depth);
    Ok(answer::secret(answer::json(&json!({ "data": data }))))
}

fn number(id: Result<Path<String>, PathRejection>) -> Result<i64, ApiError> {
    id.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(nothing)
}

fn nothing() -> ApiError {
    ApiError::not_found("There is no such job; those that are over are removed after a while.")
}
