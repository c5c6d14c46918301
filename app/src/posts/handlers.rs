//! Decides how requests for posts become reads, and their results answers.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;

use super::filter::Filter;
use super::links::Links;
use super::relations::{Related, Wanted};
use super::selection::{Relation, Selection};
use super::store::{self, List};
use super::{Columns, Order, Sort, v1, v2};
use crate::answer;
use crate::error::ApiError;
use crate::moment::Moment;
use crate::page::cursor::{self, Scan};
use crate::page::{self, Direction, Offset, keyset};
use crate::query::Params;
use crate::state::AppState;

/// The longest slug there can be, in characters.
const SLUG: usize = 200;

const V1_LIST: &[&str] = &[
    "page",
    "per_page",
    "search",
    "category_id",
    "category_slug",
    "tag",
    "author",
    "author_id",
    "is_featured",
    "sort",
    "direction",
];
const V2_LIST: &[&str] =
    &["cursor", "limit", "fields", "include", "sort", "direction", "search", "category_slug"];
const V2_SINGLE: &[&str] = &["fields", "include"];
const DIRECTIONS: &[(&str, Direction)] = &[("desc", Direction::Descending), ("asc", Direction::Ascending)];

/// `GET /api/v1/posts`: a page by number.
///
/// # Errors
///
/// 422 for parameters that are unknown or out of range; those of the database.
pub async fn v1_list(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V1_LIST);
    let offset = Offset {
        number: params.number("page", page::NUMBERS).unwrap_or(1),
        size: params.number("per_page", page::SIZES).unwrap_or(page::DEFAULT_SIZE),
    };
    let list = List { filter: Filter::v1(&mut params), order: order(&mut params), columns: Columns::all() };
    params.finish()?;
    let db = state.db.read();
    let (posts, total) = store::page(db, &list, offset, Moment::now()).await?;
    let related = Related::load(db, &posts, v1::wanted()).await?;
    let links = Links { base: &state.public_url };
    let data = posts.iter().map(|post| v1::V1Post::new(post, &related, links)).collect();
    Ok(answer::json(&v1::List::new(data, offset, total, params.pairs(), links)))
}

/// `GET /api/v1/posts/{slug}`.
///
/// # Errors
///
/// 404 when the public has no such post; 422 for any parameter; those of the database.
pub async fn v1_single(
    State(state): State<AppState>,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let slug = known_slug(slug)?;
    let db = state.db.read();
    let post = store::by_slug(db, &slug, Columns::all(), Moment::now()).await?.ok_or_else(no_such_post)?;
    let posts = [post];
    let related = Related::load(db, &posts, v1::wanted()).await?;
    let data = v1::V1Post::new(&posts[0], &related, Links { base: &state.public_url });
    Ok(answer::json(&v1::Single { data }))
}

/// `GET /api/v2/posts`: a page by cursor.
///
/// # Errors
///
/// 400 for a cursor that is not of this list; 422 for parameters that are unknown or out of range; those of the
/// database.
pub async fn v2_list(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V2_LIST);
    let limit = params.number("limit", keyset::LIMITS).unwrap_or(keyset::DEFAULT_LIMIT);
    let selection = Selection::from_params(&mut params, &[Relation::Category, Relation::Author]);
    let list =
        List { filter: Filter::v2(&mut params), order: order(&mut params), columns: selection.columns() };
    let token = params.text("cursor", 1..=usize::MAX);
    params.finish()?;
    let scan =
        Scan { sort: list.order.sort as u8, direction: list.order.direction, filters: list.filter.hash() };
    let from = token.map(|token| cursor::decode(&state.cursor_key, &scan, &token)).transpose()?;
    let db = state.db.read();
    let page = store::keyset_page(db, &list, limit, from.as_ref(), Moment::now()).await?;
    let related = Related::load(db, &page.rows, Wanted::from(&selection)).await?;
    let asked = v2::Asked { pairs: params.pairs(), limit, scan: &scan, key: &state.cursor_key };
    Ok(answer::json(&v2::List::new(&page, &related, &selection, Links { base: &state.public_url }, asked)))
}

/// `GET /api/v2/posts/{slug}`.
///
/// # Errors
///
/// 404 when the public has no such post; 422 for parameters that are unknown; those of the database.
pub async fn v2_single(
    State(state): State<AppState>,
    slug: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), V2_SINGLE);
    let selection =
        Selection::from_params(&mut params, &[Relation::Category, Relation::Author, Relation::Tags]);
    params.finish()?;
    let slug = known_slug(slug)?;
    let db = state.db.read();
    let post =
        store::by_slug(db, &slug, selection.columns(), Moment::now()).await?.ok_or_else(no_such_post)?;
    let posts = [post];
    let related = Related::load(db, &posts, Wanted::from(&selection)).await?;
    let links = Links { base: &state.public_url };
    let data = v2::V2Post { post: &posts[0], related: &related, selection: &selection, links };
    Ok(answer::json(&v2::Single::new(data)))
}

/// `sort` and `direction`: newest first when the client does not say.
fn order(params: &mut Params) -> Order {
    Order {
        sort: params.choice("sort", &Sort::WORDS).unwrap_or(Sort::PublishedAt),
        direction: params.choice("direction", DIRECTIONS).unwrap_or(Direction::Descending),
    }
}

/// The slug in the path; what no post can be called is not asked of the database.
fn known_slug(slug: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(slug) =
        slug.map_err(|_| ApiError::bad_request("the path is not valid percent-encoded UTF-8"))?;
    if slug.chars().any(char::is_control) || slug.chars().count() > SLUG {
        return Err(no_such_post());
    }
    Ok(slug)
}

fn no_such_post() -> ApiError {
    ApiError::not_found("There is no post at this address.")
}
