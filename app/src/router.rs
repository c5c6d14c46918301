//! Every route of the API in one table, and the one layer around them.

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::error::{ApiError, Code};
use crate::posts::{handlers as posts, v1, v2};
use crate::state::AppState;
use crate::{answer, health, middleware};

const V1_POST: &str = "/api/v1/posts/{slug}";
const V2_POST: &str = "/api/v2/posts/{slug}";
const HEALTH: &str = "/api/health";
const METRICS: &str = "/api/metrics";
const LIVE: &str = "/livez";
const READY: &str = "/readyz";

/// The templates that requests are counted under.
pub const TEMPLATES: &[&str] = &[v1::PATH, V1_POST, v2::PATH, V2_POST, HEALTH, METRICS, LIVE, READY];

fn routes() -> [(&'static str, MethodRouter<AppState>); 8] {
    [
        (v1::PATH, get(posts::v1_list)),
        (V1_POST, get(posts::v1_single)),
        (v2::PATH, get(posts::v2_list)),
        (V2_POST, get(posts::v2_single)),
        (HEALTH, get(health::health)),
        (METRICS, get(metrics)),
        (LIVE, get(health::live)),
        (READY, get(health::ready)),
    ]
}

/// The whole API.
pub fn router(state: &AppState) -> Router {
    let table =
        routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    table
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(from_fn_with_state(state.clone(), middleware::around))
        .with_state(state.clone())
}

/// `GET /api/metrics`: everything in the text format of Prometheus.
async fn metrics(State(state): State<AppState>) -> Response {
    state.db.observe();
    let text = state.metrics.text();
    answer::of(
        StatusCode::OK,
        text.into(),
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    )
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("There is nothing at {}.", crate::query::shown(uri.path())))
}

async fn wrong_method(method: Method) -> ApiError {
    let public = format!(
        "This address does not answer {}; see the header Allow.",
        crate::query::shown(method.as_str())
    );
    ApiError::new(Code::MethodNotAllowed, public)
}
