//! What a scrape gets: every metric of the process, or of all processes of its node.

use axum::extract::State;
use axum::response::Response;
use cirque_shared::exposition;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::answer;
use crate::error::{ApiError, Code};
use crate::state::AppState;

/// `GET /api/metrics`: in the text format of Prometheus, or of OpenMetrics for those who prefer it.
///
/// # Errors
///
/// 503 when the supervisor does not say what all processes of the node have counted: a gap is better than a number
/// that is too small.
pub async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let text = match state.supervisor.get() {
        Some(supervisor) => supervisor.total().await.ok_or_else(|| {
            ApiError::new(Code::Overloaded, "The processes of this node could not be counted in time.")
        })?,
        None => state.metrics_text(),
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let (media_type, text) = exposition::shown(text, accept);
    Ok(answer::of(StatusCode::OK, text.into(), HeaderValue::from_static(media_type)))
}
