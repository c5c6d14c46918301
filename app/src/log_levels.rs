//! Decides how an admin sees and changes, for a while, which lines a node writes to its log.

use axum::extract::{Request, State};
use axum::response::Response;
use cirque_shared::telemetry::levels::{Levels, Wanted, levels};
use http::Uri;

use crate::answer;
use crate::body;
use crate::error::{ApiError, Code};
use crate::identity::{Identity, Role, Signed};
use crate::query::Params;
use crate::state::AppState;

fn admin(identity: &Identity, uri: &Uri) -> Result<&'static Levels, ApiError> {
    if identity.role != Role::Admin {
        return Err(ApiError::new(Code::Forbidden, "The log is for admins."));
    }
    Params::parse(uri.query(), &[]).finish()?;
    levels().ok_or_else(|| ApiError::not_found("This process writes no log of its own."))
}

/// `GET /api/admin/log`.
///
/// # Errors
///
/// 401 without a token, 403 for others than admins.
pub async fn show(Signed(identity): Signed, uri: Uri) -> Result<Response, ApiError> {
    Ok(answer::secret(answer::json(&admin(&identity, &uri)?.shown())))
}

/// `PUT /api/admin/log`: `{"level": "debug", "seconds": 900}`.
///
/// # Errors
///
/// As [`show`]; 422 for what is no level.
pub async fn set(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    let levels = admin(&identity, &uri)?;
    let wanted: Wanted = body::read(request).await?;
    let by = format!("account {} over {}", identity.author, state.node.to_str().unwrap_or_default());
    let shown = levels.set(&wanted, &by);
    let refused = |refused| ApiError::new(Code::InvalidFields, format!("This cannot be set: {refused}."));
    Ok(answer::secret(answer::json(&shown.map_err(refused)?)))
}

/// `DELETE /api/admin/log`: the configuration's level holds again.
///
/// # Errors
///
/// As [`show`].
pub async fn reset(Signed(identity): Signed, uri: Uri) -> Result<Response, ApiError> {
    Ok(answer::secret(answer::json(&admin(&identity, &uri)?.reset())))
}
