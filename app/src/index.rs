//! Decides what the root of v2 says of itself: what there is, and where.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde_json::json;

use crate::answer;
use crate::envelope::VERSION;
use crate::error::ApiError;
use crate::query::Params;
use crate::state::AppState;

/// `GET /api/v2`.
///
/// # Errors
///
/// 422 for any parameter.
pub async fn v2(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let at = |path: &str| format!("{}{path}", state.public_url);
    Ok(answer::json(&json!({
        "version": VERSION,
        "status": "stable",
        "message": "Lists are walked by cursor; `fields` and `include` choose what is shown.",
        "features": {
            "cursor_pagination": true,
            "sparse_fields": true,
            "includes": true,
        },
        "endpoints": {
            "posts": at("/api/v2/posts"),
            "categories": at("/api/v2/categories"),
            "tags": at("/api/v2/tags"),
            "authors": at("/api/v2/authors"),
        },
        "documentation": {
            "page": at("/api/documentation"),
            "openapi": at("/api/openapi.json"),
        },
    })))
}
