//! What a node's alerting looks at, and what an operator with a token asks of it.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cirque_shared::alert::channel::Outcome;
use cirque_shared::alert::fleet::{Pending, Unreachable};
use cirque_shared::alert::history::Sample;
use cirque_shared::alert::silence::Wanted;
use cirque_shared::alert::watch::{NotSilenced, Source, samples};
use cirque_shared::report::chain;
use http::{HeaderMap, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::json;

use crate::answer;
use crate::body;
use crate::error::{ApiError, Code};
use crate::identity::{Identity, Role, Signed};
use crate::query::Params;
use crate::settings;
use crate::state::AppState;

/// What fires, where it is told, and what is silenced.
pub const LIST: &str = "/api/alerts";
/// What happened lately.
pub const HISTORY: &str = "/api/alerts/history";
/// Makes a silence.
pub const SILENCES: &str = "/api/alerts/silences";
/// Ends a silence.
pub const SILENCE: &str = "/api/alerts/silences/{id}";
/// Sends a message that says that it is a test.
pub const TEST: &str = "/api/alerts/test";

/// Things that happened that are told at once.
const MOST: usize = 200;

/// The metrics of a node, brought up to date.
#[derive(Debug)]
pub struct Look(AppState);

impl Look {
    /// Of this node.
    pub fn new(state: AppState) -> Self {
        Self(state)
    }
}

impl Source for Look {
    fn look<'a>(&'a self, names: &'a BTreeSet<String>) -> Pending<'a, Vec<Sample>> {
        Box::pin(async move {
            let state = &self.0;
            let probed = tokio::time::timeout(state.health_timeout, settings::probe(&state.db)).await;
            // A site that nobody can write to is not well, even while replicas answer its readers.
            let takes_writes = state.db.report().is_none_or(|servers| servers.primary.is_some());
            state.metrics.database_up.set(i64::from(matches!(probed, Ok(Ok(()))) && takes_writes));
            state.db.observe();
            state.cache.observe();
            samples(state.metrics.observed(), names)
        })
    }
}

/// Only whoever may do everything; nothing here takes parameters.
fn admin(identity: &Identity, uri: &Uri) -> Result<(), ApiError> {
    if identity.role != Role::Admin {
        return Err(ApiError::new(Code::Forbidden, "Alerts are for admins."));
    }
    Ok(Params::parse(uri.query(), &[]).finish()?)
}

/// `GET /api/alerts`.
///
/// # Errors
///
/// 401 without a token, 403 for others than admins.
pub async fn list(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    admin(&identity, &uri)?;
    Ok(answer::secret(answer::json(&state.watch.view())))
}

/// `GET /api/alerts/history`.
///
/// # Errors
///
/// As [`list`]; 503 when the database cannot be reached.
pub async fn history(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    admin(&identity, &uri)?;
    let history = state.watch.history(MOST).await.map_err(|error| unreachable(&error))?;
    Ok(answer::secret(answer::json(&json!({ "history": history }))))
}

/// `POST /api/alerts/silences`.
///
/// # Errors
///
/// As [`history`]; 422 when something is missing.
pub async fn silence(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    admin(&identity, &uri)?;
    let mut wanted: Wanted = body::read(request).await?;
    if wanted.author.trim().is_empty() {
        wanted.author = format!("account {}", identity.author);
    }
    match state.watch.silence(wanted).await {
        Ok(silence) => Ok(answer::secret(answer::with_status(StatusCode::CREATED, &silence, answer::JSON))),
        Err(NotSilenced::Refused(refused)) => {
            Err(ApiError::new(Code::InvalidFields, sentence(&refused.to_string())))
        }
        Err(NotSilenced::Unreachable(error)) => Err(unreachable(&error)),
    }
}

/// `DELETE /api/alerts/silences/{id}`.
///
/// # Errors
///
/// As [`history`]; 404 when there is none.
pub async fn unsilence(
    State(state): State<AppState>,
    Signed(identity): Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    admin(&identity, &uri)?;
    let nothing =
        || ApiError::not_found("There is no such silence; GET /api/alerts lists those that there are.");
    let Path(id) = id.map_err(|_| nothing())?;
    let author = format!("account {}", identity.author);
    if state.watch.unsilence(&id, &author).await.map_err(|error| unreachable(&error))? {
        return Ok(answer::nothing());
    }
    Err(nothing())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tested {
    #[serde(default)]
    channel: Option<String>,
}

/// `POST /api/alerts/test`.
///
/// # Errors
///
/// As [`list`].
pub async fn test(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    admin(&identity, &uri)?;
    let Tested { channel } = body::read(request).await?;
    let outcomes = state.watch.test(channel.as_deref()).await;
    Ok(answer::secret(answer::json(&outcome(&outcomes))))
}

/// `GET /api/alerts/word`: what this node has told, for the other nodes alone.
///
/// # Errors
///
/// 401 for anybody else.
pub async fn word(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let pass = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !state.nodes.lets_in(pass) {
        return Err(ApiError::new(Code::Unauthenticated, "Only the other nodes may ask."));
    }
    Ok(answer::secret(answer::json(&state.watch.word())))
}

fn outcome(outcomes: &[(&'static str, Outcome)]) -> serde_json::Value {
    let one = |(channel, outcome): &(&'static str, Outcome)| {
        let why = match outcome {
            Outcome::Sent => "",
            Outcome::Later { why, .. } | Outcome::Refused(why) | Outcome::Gone(why) => why,
        };
        json!({ "channel": channel, "outcome": outcome.word(), "why": why })
    };
    json!({ "channels": outcomes.iter().map(one).collect::<Vec<_>>() })
}

fn unreachable(error: &Unreachable) -> ApiError {
    let public = "The service cannot reach its data. Try again in a moment.";
    tracing::warn!(error.chain = chain(error), "alerts could not be read or changed");
    ApiError::new(Code::DatabaseUnavailable, public)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}
