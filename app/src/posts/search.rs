//! Decides what a search finds: public posts with all of its words, or words that begin like them, the best first.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde::Serialize;

use super::relations::{Related, Wanted};
use super::{Column, Columns, store};
use crate::cache::{self, Caller, Made, Making, Shelf};
use crate::changes::Tag;
use crate::envelope::Single;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::moment::Moment;
use crate::query::{Params, Rule, Spec};
use crate::state::AppState;

/// The path.
pub const PATH: &str = "/api/search";
/// What it takes.
pub const SPECS: &[Spec] =
    &[Spec::new("q", Rule::Text(2, 100), "Words to look for; each may be the beginning of one.").required()];

/// The most posts that are found.
const MOST: u64 = 10;

/// A post that was found.
#[derive(Debug, Serialize)]
struct Found {
    slug: String,
    title: String,
    excerpt: String,
    category: String,
    date: String,
}

/// `GET /api/search`.
///
/// # Errors
///
/// 422 without words, or with parameters that are unknown; those of the database.
pub async fn search(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), SPECS);
    let words = params.text("q").map(str::to_owned);
    params.finish()?;
    let key = cache::key(PATH, params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let columns = Columns::of(&[
                Column::Id,
                Column::Title,
                Column::Slug,
                Column::Excerpt,
                Column::PublishedAt,
                Column::CategoryId,
            ]);
            let db = state.db.read();
            let words = words.unwrap_or_default();
            let posts = store::search(db, &words, columns, MOST, state.clock.now()).await?;
            let wanted = Wanted { category: Some(Fields::default().with(1)), ..Wanted::default() };
            let related = Related::load(db, &posts, wanted).await?;
            let found: Vec<Found> = posts
                .iter()
                .map(|post| Found {
                    slug: post.slug.clone(),
                    title: post.title.clone(),
                    excerpt: post.excerpt.clone(),
                    category: related
                        .category(post)
                        .map_or_else(|| "Uncategorized".to_owned(), |category| category.name.clone()),
                    date: Moment(post.published_at.unwrap_or_default()).day(),
                })
                .collect();
            Ok(Made::json(&Single { data: found }, BTreeSet::from([Tag::Posts])))
        })
    };
    cache.answer(&caller, Shelf::V2List, key, make).await
}
