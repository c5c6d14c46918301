//! Decides what is told of how often a post is viewed: in all, by hour for a day, by day for thirty.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;
use serde_json::{Value, json};

use super::relations::Wanted;
use super::{Column, Columns, handlers, store};
use crate::answer;
use crate::error::ApiError;
use crate::query::Params;
use crate::state::AppState;
use crate::views::store::series;

/// `GET /api/v2/posts/{slug}/stats`: as of some seconds ago, in UTC; hours and days without a view are left out.
///
/// # Errors
///
/// 404 when the public has no such post; 422 for any parameter; those of the database.
pub async fn stats(
    State(state): State<AppState>,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let slug = handlers::known_slug(slug)?;
    let (db, now) = (state.db.read(), state.clock.now());
    let columns = Columns::of(&[Column::Id, Column::ViewCount]);
    let found = store::by_slug(db, &slug, columns, Wanted::default(), None, now).await?;
    let (post, _) = found.ok_or_else(handlers::no_such_post)?;
    let series = series(db, post.id, now).await?;
    let hours: Vec<Value> =
        series.hours.iter().map(|(hour, views)| json!({ "hour": hour, "views": views })).collect();
    let days = series.days.iter();
    let days: Vec<Value> = days
        .map(|(day, views, visitors)| json!({ "day": day, "views": views, "visitors": visitors }))
        .collect();
    Ok(answer::json(&json!({ "data": { "views": post.view_count, "hourly": hours, "daily": days } })))
}
