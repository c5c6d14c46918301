//! Every route of the API in one table, and the one layer around them.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};
use http::{Method, Uri};

use crate::authors::Author;
use crate::catalog::{Kind as _, handlers as catalog};
use crate::categories::Category;
use crate::error::{ApiError, Code};
use crate::identity::handlers as identity;
use crate::posts::{edit, handlers as posts, search, stats, v1, v2};
use crate::state::AppState;
use crate::steering::{handlers as queue, webhooks};
use crate::subscriptions as subscriptions_paths;
use crate::subscriptions::handlers as subscriptions;
use crate::tags::Tag;
use crate::{alerting, alerts, feeds, health, index, log_levels, middleware, openapi, scrape};

const V1_POST: &str = "/api/v1/posts/{slug}";
const V1_CATEGORY: &str = "/api/v1/categories/{slug}";
const V1_CATEGORY_POSTS: &str = "/api/v1/categories/{slug}/posts";
const V1_AUTHOR: &str = "/api/v1/authors/{username}";
const V2: &str = "/api/v2";
const V2_POST: &str = "/api/v2/posts/{slug}";
const V2_POST_STATS: &str = "/api/v2/posts/{slug}/stats";
const V2_CATEGORY: &str = "/api/v2/categories/{slug}";
const V2_TAG: &str = "/api/v2/tags/{slug}";
const V2_AUTHOR: &str = "/api/v2/authors/{username}";
const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
const PROFILE: &str = "/api/v1/auth/profile";
const SEARCH: &str = search::PATH;
const SUBSCRIPTIONS: &str = subscriptions_paths::PATH;
const CONFIRM: &str = subscriptions_paths::CONFIRM;
const UNSUBSCRIBE: &str = subscriptions_paths::UNSUBSCRIBE;
const QUEUE: &str = "/api/admin/queue";
const QUEUE_JOBS: &str = "/api/admin/queue/jobs";
const QUEUE_JOB: &str = "/api/admin/queue/jobs/{id}";
const QUEUE_RETRY: &str = "/api/admin/queue/jobs/{id}/retry";
const QUEUE_DISCARD: &str = "/api/admin/queue/jobs/{id}/discard";
const QUEUE_PAUSE: &str = "/api/admin/queue/{queue}/pause";
const QUEUE_RESUME: &str = "/api/admin/queue/{queue}/resume";
const WEBHOOKS: &str = "/api/admin/webhooks";
const WEBHOOK: &str = "/api/admin/webhooks/{id}";
const WEBHOOK_ENABLE: &str = "/api/admin/webhooks/{id}/enable";
const LOG: &str = "/api/admin/log";
const HEALTH: &str = "/api/health";
const METRICS: &str = "/api/metrics";
const LIVE: &str = "/livez";
const READY: &str = "/readyz";

/// The templates that requests are counted under.
pub const TEMPLATES: &[&str] = &[
    v1::PATH,
    V1_POST,
    Category::V1,
    V1_CATEGORY,
    V1_CATEGORY_POSTS,
    Tag::V1,
    V1_AUTHOR,
    LOGIN,
    LOGOUT,
    PROFILE,
    V2,
    v2::PATH,
    V2_POST,
    V2_POST_STATS,
    Category::V2,
    V2_CATEGORY,
    Tag::V2,
    V2_TAG,
    Author::V2,
    V2_AUTHOR,
    SEARCH,
    SUBSCRIPTIONS,
    CONFIRM,
    UNSUBSCRIBE,
    QUEUE,
    QUEUE_JOBS,
    QUEUE_JOB,
    QUEUE_RETRY,
    QUEUE_DISCARD,
    QUEUE_PAUSE,
    QUEUE_RESUME,
    WEBHOOKS,
    WEBHOOK,
    WEBHOOK_ENABLE,
    LOG,
    feeds::SITEMAP,
    feeds::SITEMAP_PART,
    feeds::FEED,
    openapi::DOCUMENT,
    openapi::PAGE,
    alerting::LIST,
    alerting::HISTORY,
    alerting::SILENCES,
    alerting::SILENCE,
    alerting::TEST,
    alerts::WORD,
    HEALTH,
    METRICS,
    LIVE,
    READY,
];

fn routes() -> [(&'static str, MethodRouter<AppState>); 50] {
    [
        (v1::PATH, get(posts::v1_list).post(edit::create)),
        (V1_POST, get(posts::v1_single).put(edit::change).patch(edit::change).delete(edit::delete)),
        (Category::V1, get(catalog::v1_list::<Category>)),
        (V1_CATEGORY, get(catalog::v1_single::<Category>)),
        (V1_CATEGORY_POSTS, get(posts::v1_in_category)),
        (Tag::V1, get(catalog::v1_list::<Tag>)),
        (V1_AUTHOR, get(catalog::v1_single::<Author>)),
        (LOGIN, post(identity::login)),
        (LOGOUT, post(identity::logout)),
        (PROFILE, get(identity::profile)),
        (V2, get(index::v2)),
        (v2::PATH, get(posts::v2_list)),
        (V2_POST, get(posts::v2_single)),
        (V2_POST_STATS, get(stats::stats)),
        (Category::V2, get(catalog::v2_list::<Category>)),
        (V2_CATEGORY, get(catalog::v2_single::<Category>)),
        (Tag::V2, get(catalog::v2_list::<Tag>)),
        (V2_TAG, get(catalog::v2_single::<Tag>)),
        (Author::V2, get(catalog::v2_list::<Author>)),
        (V2_AUTHOR, get(catalog::v2_single::<Author>)),
        (SEARCH, get(search::search)),
        (SUBSCRIPTIONS, post(subscriptions::subscribe)),
        (CONFIRM, get(subscriptions::confirm)),
        (UNSUBSCRIBE, get(subscriptions::unsubscribe_page).post(subscriptions::unsubscribe)),
        (QUEUE, get(queue::stats)),
        (QUEUE_JOBS, get(queue::list)),
        (QUEUE_JOB, get(queue::show)),
        (QUEUE_RETRY, post(queue::retry)),
        (QUEUE_DISCARD, post(queue::discard)),
        (QUEUE_PAUSE, post(queue::pause)),
        (QUEUE_RESUME, post(queue::resume)),
        (WEBHOOKS, get(webhooks::list).post(webhooks::add)),
        (WEBHOOK, delete(webhooks::remove)),
        (WEBHOOK_ENABLE, post(webhooks::enable)),
        (LOG, get(log_levels::show).put(log_levels::set).delete(log_levels::reset)),
        (feeds::SITEMAP, get(feeds::sitemap)),
        (feeds::SITEMAP_PART, get(feeds::sitemap_part)),
        (feeds::FEED, get(feeds::feed)),
        (openapi::DOCUMENT, get(openapi::openapi)),
        (openapi::PAGE, get(openapi::documentation)),
        (alerting::LIST, get(alerting::list)),
        (alerting::HISTORY, get(alerting::history)),
        (alerting::SILENCES, post(alerting::silence)),
        (alerting::SILENCE, delete(alerting::unsilence)),
        (alerting::TEST, post(alerting::test)),
        (alerts::WORD, get(alerting::word)),
        (HEALTH, get(health::health)),
        (METRICS, get(scrape::metrics)),
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
