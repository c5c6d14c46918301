//! Decides how requests for posts become reads, and their results answers.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;

use super::filter::{self, Filter, Which};
use super::relations::{Related, Wanted};
use super::selection::{self, Relation, Selection};
use super::store::{self, Found, List};
use super::{Columns, Order, Post, Sort, popularity, shown, v1, v2};
use crate::answer;
use crate::cache::{self, Caller, Made, Making, Shelf};
use crate::catalog::{self, segment};
use crate::categories::Category;
use crate::changes::Tag;
use crate::envelope::{Asked, Keyed, Neighbours, Numbered, Single, Versioned};
use crate::error::{ApiError, Code};
use crate::identity::{Identity, Viewer};
use crate::links::Links;
use crate::page::cursor::{self, Scan};
use crate::page::{DIRECTION, DIRECTIONS, Direction, Offset, PAGE, PER_PAGE, keyset};
use crate::query::{Params, Rule, Spec, words};
use crate::state::AppState;

const SORT_WORDS: [&str; 4] = words(&Sort::WORDS);
const SORT: Spec = Spec::new(
    "sort",
    Rule::Word(&SORT_WORDS),
    "What the list is sorted by; published_at when left out. Orders by view_count are made anew at intervals.",
);

/// What `GET /api/v1/posts` takes.
pub const V1_LIST: &[Spec] = &[
    PAGE,
    PER_PAGE,
    filter::SEARCH,
    filter::CATEGORY_ID,
    filter::CATEGORY_SLUG,
    filter::TAG,
    filter::AUTHOR,
    filter::AUTHOR_ID,
    filter::IS_FEATURED,
    filter::STATUS,
    SORT,
    DIRECTION,
];
/// What `GET /api/v1/categories/{slug}/posts` takes.
pub const V1_IN_CATEGORY: &[Spec] =
    &[PAGE, PER_PAGE, filter::SEARCH, filter::TAG, filter::AUTHOR, filter::STATUS, SORT, DIRECTION];
/// What `GET /api/v2/posts` takes.
pub const V2_LIST: &[Spec] = &[
    keyset::CURSOR,
    keyset::LIMIT,
    selection::FIELDS,
    selection::INCLUDE,
    SORT,
    DIRECTION,
    filter::SEARCH_V2,
    filter::CATEGORY_SLUG,
    filter::TAG,
    filter::AUTHOR,
    filter::IS_FEATURED,
    filter::STATUS,
];
/// What `GET /api/v2/posts/{slug}` takes.
pub const V2_SINGLE: &[Spec] = &[selection::FIELDS, selection::INCLUDE];

/// `GET /api/v1/posts`: a page by number.
///
/// # Errors
///
/// 401, 403 for a `status` that is not theirs to see; 422 for parameters that are unknown or out of range; those of the
/// database.
pub async fn v1_list(
    State(state): State<AppState>,
    caller: Caller,
    Viewer(viewer): Viewer,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V1_LIST);
    let filter = Filter::from_params(&params);
    params.finish()?;
    let filter = filter.seen_by(viewer.as_ref())?;
    let key = cache::key(v1::PATH, params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making { Box::pin(async move { v1_page(&state, &params, v1::PATH, filter).await }) };
    cache.answer(&caller, Shelf::V1List, key, make).await
}

/// `GET /api/v1/categories/{slug}/posts`: the posts of a category, by number.
///
/// # Errors
///
/// 404 when there is no such category; as [`v1_list`].
pub async fn v1_in_category(
    State(state): State<AppState>,
    caller: Caller,
    Viewer(viewer): Viewer,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V1_IN_CATEGORY);
    let filter = Filter::from_params(&params);
    params.finish()?;
    let filter = filter.seen_by(viewer.as_ref())?;
    let slug = segment::<Category>(slug)?;
    let path = Links { base: "" }.posts_of_category("v1", &slug);
    let key = cache::key(&path, params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let id = catalog::store::id_of::<Category>(state.db.read(), &slug).await?;
            let id = id.ok_or_else(catalog::nothing::<Category>)?;
            let filter = Filter { category: vec![Which::Id(id)], ..filter };
            v1_page(&state, &params, &path, filter).await
        })
    };
    cache.answer(&caller, Shelf::V1List, key, make).await
}

async fn v1_page(state: &AppState, params: &Params, path: &str, filter: Filter) -> Result<Made, ApiError> {
    let offset = Offset::from_params(params);
    let db = state.db.read();
    let order = order(params, &filter);
    let order = Order { edition: popularity::edition(db, order.sort, None).await?, ..order };
    let list = List { filter, order, columns: Columns::all(), wanted: v1::wanted() };
    let (Found { posts, related }, total) = store::page(db, &list, offset, state.clock.now()).await?;
    let links = Links { base: &state.public_url };
    let data = posts.iter().map(|post| v1::V1Post::new(post, &related, links)).collect();
    let asked = Asked { path, pairs: params.pairs(), links };
    Ok(Made::json(&Numbered::new(data, offset, total, asked), of_a_list(order.sort, &related, &posts)))
}

/// A list is made from all posts: any of them may come to be in it.
fn of_a_list(sort: Sort, related: &Related, posts: &[Post]) -> BTreeSet<Tag> {
    let mut tags = related.changes(posts);
    tags.insert(Tag::Posts);
    if sort.is_of_views() {
        tags.insert(Tag::ViewOrder);
    }
    tags
}

/// `GET /api/v1/posts/{slug}`.
///
/// # Errors
///
/// 404 when the public has no such post; 422 for any parameter; those of the database.
pub async fn v1_single(
    State(state): State<AppState>,
    caller: Caller,
    Viewer(viewer): Viewer,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let slug = known_slug(slug)?;
    let asked = AskedFor { state: state.clone(), slug: slug.clone(), viewer: viewer.clone() };
    let key = cache::key(&Links { base: "" }.post("v1", &slug), &[]);
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let (db, now) = (state.db.read(), state.clock.now());
            let found = store::by_slug(db, &slug, Columns::all(), v1::wanted(), viewer.as_ref(), now).await?;
            let (post, related) = found.ok_or_else(no_such_post)?;
            let links = Links { base: &state.public_url };
            let version = shown::version(&post, &related, links);
            let data = v1::V1Post::new(&post, &related, links);
            Ok(Made::json(&Single { data }, related.changes([&post])).of_version(version))
        })
    };
    let answered = cache.answer(&caller, Shelf::V1Detail, key, make).await;
    asked.or_moved(answered, "v1", uri.query()).await
}

/// `GET /api/v2/posts`: a page by cursor.
///
/// # Errors
///
/// 400 for a cursor that is not of this list; 422 for parameters that are unknown or out of range; those of the
/// database.
pub async fn v2_list(
    State(state): State<AppState>,
    caller: Caller,
    Viewer(viewer): Viewer,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V2_LIST);
    let limit = params.number("limit").unwrap_or(keyset::DEFAULT_LIMIT);
    let selection = Selection::from_params(&mut params, &[Relation::Category, Relation::Author]);
    let filter = Filter::from_params(&params);
    params.finish()?;
    let filter = filter.seen_by(viewer.as_ref())?;
    let wanted = Wanted::from(&selection);
    let list = List { order: order(&params, &filter), filter, columns: selection.columns(), wanted };
    let scan =
        Scan { sort: list.order.sort as u8, direction: list.order.direction, filters: list.filter.hash() };
    let token = params.text("cursor");
    let from = token.map(|token| cursor::decode(&state.cursor_key, &scan, token)).transpose()?;
    let key = cache::key(v2::PATH, params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let db = state.db.read();
            let sort = list.order.sort;
            let edition = popularity::edition(db, sort, from.as_ref()).await?;
            let list = List { order: Order { edition, ..list.order }, ..list };
            let (page, related) =
                store::keyset_page(db, &list, limit, from.as_ref(), state.clock.now()).await?;
            popularity::confirm(db, sort, from.as_ref()).await?;
            let links = Links { base: &state.public_url };
            let show = |post| v2::V2Post { post, related: &related, selection: &selection, links };
            let data = page.rows.iter().map(show).collect();
            let beside = Neighbours {
                next: page.next.as_ref(),
                previous: page.previous.as_ref(),
                limit,
                scan: &scan,
                key: &state.cursor_key,
            };
            let asked = Asked { path: v2::PATH, pairs: params.pairs(), links };
            Ok(Made::json(&Keyed::new(data, beside, asked), of_a_list(sort, &related, &page.rows)))
        })
    };
    cache.answer(&caller, Shelf::V2List, key, make).await
}

/// `GET /api/v2/posts/{slug}`.
///
/// # Errors
///
/// 404 when the public has no such post; 422 for parameters that are unknown; those of the database.
pub async fn v2_single(
    State(state): State<AppState>,
    caller: Caller,
    Viewer(viewer): Viewer,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V2_SINGLE);
    let selection =
        Selection::from_params(&mut params, &[Relation::Category, Relation::Author, Relation::Tags]);
    params.finish()?;
    let slug = known_slug(slug)?;
    let asked = AskedFor { state: state.clone(), slug: slug.clone(), viewer: viewer.clone() };
    let key = cache::key(&Links { base: "" }.post("v2", &slug), params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let (db, now) = (state.db.read(), state.clock.now());
            let (columns, wanted) = (selection.columns(), Wanted::from(&selection));
            let found = store::by_slug(db, &slug, columns, wanted, viewer.as_ref(), now).await?;
            let (post, related) = found.ok_or_else(no_such_post)?;
            let links = Links { base: &state.public_url };
            let data = v2::V2Post { post: &post, related: &related, selection: &selection, links };
            Ok(Made::json(&Versioned::new(data), related.changes([&post])))
        })
    };
    let answered = cache.answer(&caller, Shelf::V2Detail, key, make).await;
    asked.or_moved(answered, "v2", uri.query()).await
}

/// A post that somebody asked for by its slug.
struct AskedFor {
    state: AppState,
    slug: String,
    viewer: Option<Identity>,
}

impl AskedFor {
    /// Where there is no such post, leads to where it was moved, with the parameters as they were.
    async fn or_moved(
        &self,
        answered: Result<Response, ApiError>,
        version: &str,
        query: Option<&str>,
    ) -> Result<Response, ApiError> {
        let Err(error) = answered else { return answered };
        if error.code() != Code::NotFound {
            return Err(error);
        }
        let (db, now) = (self.state.db.read(), self.state.clock.now());
        let Some(slug) = store::moved_to(db, &self.slug, self.viewer.as_ref(), now).await? else {
            return Err(error);
        };
        let mut location = Links { base: &self.state.public_url }.post(version, &slug);
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            location.push('?');
            location.push_str(query);
        }
        answer::moved(&location).ok_or(error)
    }
}

/// `sort` and `direction`: newest first when the client does not say. What is not published has no moment of that.
fn order(params: &Params, filter: &Filter) -> Order {
    let sort = params.choice("sort", &Sort::WORDS).unwrap_or(Sort::PublishedAt);
    let has_moment = filter.hidden.is_none() || sort != Sort::PublishedAt;
    Order {
        sort: if has_moment { sort } else { Sort::CreatedAt },
        direction: params.choice("direction", &DIRECTIONS).unwrap_or(Direction::Descending),
        edition: 0,
    }
}

/// The slug in the path; what no post can be called is not asked of the database.
pub(super) fn known_slug(slug: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    catalog::known_segment(slug)?.ok_or_else(no_such_post)
}

pub(super) fn no_such_post() -> ApiError {
    ApiError::not_found("There is no post at this address.")
}
