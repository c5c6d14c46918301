//! Decides how webhooks are seen, added and taken away over the API: as jobs are, by admins with `queue:manage`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::db::Writer;
use crate::error::{ApiError, Code};
use crate::identity::Signed;
use crate::query::Params;
use crate::state::AppState;
use crate::webhooks::admin::{self, Unwanted, wanted};
use crate::webhooks::store::{self, Listed};
use crate::{answer, body};

/// The most webhooks that are added over the API: each one is called for every event.
const MOST: i64 = 1000;

/// `POST /api/admin/webhooks`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    url: String,
    #[serde(default)]
    events: Vec<String>,
}

/// `GET /api/admin/webhooks`: every webhook, without its secret.
///
/// # Errors
///
/// 401, 403 without the right; those of the database.
pub async fn list(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let data: Vec<Value> = store::list(state.db.read()).await?.iter().map(shown).collect();
    Ok(answer::secret(answer::json(&json!({ "data": data }))))
}

/// `POST /api/admin/webhooks`: answers with its secret, once.
///
/// # Errors
///
/// As [`list`]; 422 for an address or an event that cannot be; 409 when there are too many.
pub async fn add(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let new: New = body::read(request).await?;
    let unwanted = |unwanted: Unwanted| ApiError::new(Code::InvalidFields, format!("{unwanted}."));
    let events = wanted(&state.outbound, &new.url, &new.events).map_err(unwanted)?;
    let mut writer = state.db.write().await?;
    if store::count(&mut writer).await? >= MOST {
        return Err(ApiError::new(Code::Conflict, format!("There are {MOST} webhooks already.")));
    }
    let (id, secret) = admin::add(&mut writer, &new.url, &events).await.map_err(|error| {
        tracing::error!(error.chain = format!("{error:#}"), "webhook could not be added");
        ApiError::new(Code::Internal, "The webhook could not be added.")
    })?;
    let mut data = one(&mut writer, id).await?;
    writer.commit().await?;
    data["secret"] = secret.into();
    Ok(answer::secret(answer::with_status(StatusCode::CREATED, &json!({ "data": data }), answer::JSON)))
}

/// `DELETE /api/admin/webhooks/{id}`.
///
/// # Errors
///
/// As [`list`]; 404 when there is none.
pub async fn remove(
    State(state): State<AppState>,
    Signed(identity): Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let mut writer = state.db.write().await?;
    if !store::remove(&mut writer, number(id)?).await? {
        return Err(nothing());
    }
    writer.commit().await?;
    Ok(answer::nothing())
}

/// `POST /api/admin/webhooks/{id}/enable`: is called again, after it was switched off for its failures.
///
/// # Errors
///
/// As [`remove`].
pub async fn enable(
    State(state): State<AppState>,
    Signed(identity): Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    identity.require_operator()?;
    Params::parse(uri.query(), &[]).finish()?;
    let id = number(id)?;
    let mut writer = state.db.write().await?;
    if !store::enable(&mut writer, id).await? {
        return Err(nothing());
    }
    let data = one(&mut writer, id).await?;
    writer.commit().await?;
    Ok(answer::secret(answer::json(&json!({ "data": data }))))
}

/// Read where it was written: a replica may not have it yet.
async fn one(writer: &mut Writer<'_>, id: i64) -> Result<Value, ApiError> {
    store::written(writer, id).await?.as_ref().map(shown).ok_or_else(nothing)
}

fn shown(webhook: &Listed) -> Value {
    json!({
        "id": webhook.id, "url": webhook.url, "events": webhook.events.split(' ').collect::<Vec<_>>(),
        "failures": webhook.failures, "last_error": webhook.last_error, "disabled_at": webhook.disabled_at,
    })
}

fn number(id: Result<Path<String>, PathRejection>) -> Result<i64, ApiError> {
    id.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(nothing)
}

fn nothing() -> ApiError {
    ApiError::not_found("There is no such webhook.")
}
