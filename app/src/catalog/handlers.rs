//! Decides how requests for categories, tags and authors become reads, and their results answers.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;

use super::selection::Selection;
use super::show::{Shown, Version};
use super::store::{self, Family, Filter, List};
use super::{Kind, nothing, segment};
use crate::cache::{self, Caller, Made, Making, Shelf};
use crate::changes::Tag;
use crate::envelope::{Asked, Keyed, Neighbours, Numbered, Single, Versioned};
use crate::error::ApiError;
use crate::links::Links;
use crate::page::cursor::{self, Scan};
use crate::page::{DIRECTIONS, Direction, Offset, keyset};
use crate::query::{Params, Rule, Spec, encode};
use crate::state::AppState;

/// `search`.
pub const SEARCH: Spec = Spec::new("search", Rule::Text(1, 100), "Only those with this in their name.");
/// `only_root`.
pub const ONLY_ROOT: Spec = Spec::new("only_root", Rule::Flag, "Only categories that are below no other.");
/// `is_active`.
pub const IS_ACTIVE: Spec =
    Spec::new("is_active", Rule::Flag, "Only categories that are in use, or only those that are not.");
/// `is_featured`.
pub const IS_FEATURED: Spec =
    Spec::new("is_featured", Rule::Flag, "Only categories that are featured, or only those that are not.");
/// `sort` of tags and authors.
pub const NAMED_SORT: Spec =
    Spec::new("sort", Rule::Word(&["name", "created_at"]), "What the list is sorted by; name when left out.");
/// `sort` of categories.
pub const CATEGORY_SORT: Spec = Spec::new(
    "sort",
    Rule::Word(&["sort_order", "name", "created_at"]),
    "What the list is sorted by; sort_order when left out.",
);

/// `GET /api/v1/…`: a page by number, in the usual order.
///
/// # Errors
///
/// 422 for parameters that are unknown or out of range; those of the database.
pub async fn v1_list<K: Kind>(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), K::V1_LIST);
    params.finish()?;
    let key = cache::key(K::V1, params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making { Box::pin(async move { v1_page::<K>(&state, &params).await }) };
    cache.answer(&caller, Shelf::V1List, key, make).await
}

async fn v1_page<K: Kind>(state: &AppState, params: &Params) -> Result<Made, ApiError> {
    let offset = Offset::from_params(params);
    let (entries, total) = store::page::<K>(state.db.read(), &Filter::from_params(params), offset).await?;
    let links = Links { base: &state.public_url };
    let (family, selection) = (Family::none(), Selection::whole::<K>());
    let data = shown(&entries, &family, &selection, links, Version::V1);
    let asked = Asked { path: K::V1, pairs: params.pairs(), links };
    Ok(Made::json(&Numbered::new(data, offset, total, asked), everything::<K>()))
}

/// `GET /api/v1/…/{name}`: one of them, with those above and below.
///
/// # Errors
///
/// 404 when there is none; 422 for any parameter; those of the database.
pub async fn v1_single<K: Kind>(
    State(state): State<AppState>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let name = segment::<K>(name)?;
    let selection = Selection::family::<K>();
    let key = cache::key(&format!("{}/{}", K::V1, encode(&name)), &[]);
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let (entry, family) = one::<K>(&state, &name, &selection).await?;
            let (links, version) = (Links { base: &state.public_url }, Version::V1);
            let data = Shown { entry: &entry, family: &family, selection: &selection, links, version };
            Ok(Made::json(&Single { data }, everything::<K>()))
        })
    };
    cache.answer(&caller, Shelf::V1Detail, key, make).await
}

/// `GET /api/v2/…`: a page by cursor.
///
/// # Errors
///
/// 400 for a cursor that is not of this list; 422 for parameters that are unknown or out of range; those of the
/// database.
pub async fn v2_list<K: Kind>(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), K::V2_LIST);
    let limit = params.number("limit").unwrap_or(keyset::DEFAULT_LIMIT);
    let selection = Selection::from_params::<K>(&mut params, Selection::whole::<K>());
    params.finish()?;
    let sort = params.text("sort").and_then(|word| K::SORTS.iter().find(|sort| sort.word == word));
    let list = List {
        filter: Filter::from_params(&params),
        sort: *sort.unwrap_or(&K::SORTS[0]),
        direction: params.choice("direction", &DIRECTIONS).unwrap_or(Direction::Ascending),
        fields: selection.read::<K>(),
    };
    let scan = Scan { sort: list.sort.number, direction: list.direction, filters: list.filter.hash::<K>() };
    let token = params.text("cursor");
    let from = token.map(|token| cursor::decode(&state.cursor_key, &scan, token)).transpose()?;
    let key = cache::key(K::V2, params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let db = state.db.read();
            let page = store::keyset_page::<K>(db, &list, limit, from.as_ref()).await?;
            let family = Family::load(db, &page.rows, selection.parent, selection.children).await?;
            let links = Links { base: &state.public_url };
            let data = shown(&page.rows, &family, &selection, links, Version::V2);
            let beside = Neighbours {
                next: page.next.as_ref(),
                previous: page.previous.as_ref(),
                limit,
                scan: &scan,
                key: &state.cursor_key,
            };
            let asked = Asked { path: K::V2, pairs: params.pairs(), links };
            Ok(Made::json(&Keyed::new(data, beside, asked), everything::<K>()))
        })
    };
    cache.answer(&caller, Shelf::V2List, key, make).await
}

/// `GET /api/v2/…/{name}`.
///
/// # Errors
///
/// 404 when there is none; 422 for parameters that are unknown; those of the database.
pub async fn v2_single<K: Kind>(
    State(state): State<AppState>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query(), K::V2_SINGLE);
    let selection = Selection::from_params::<K>(&mut params, Selection::family::<K>());
    params.finish()?;
    let name = segment::<K>(name)?;
    let key = cache::key(&format!("{}/{}", K::V2, encode(&name)), params.pairs());
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let (entry, family) = one::<K>(&state, &name, &selection).await?;
            let (links, version) = (Links { base: &state.public_url }, Version::V2);
            let data = Shown { entry: &entry, family: &family, selection: &selection, links, version };
            Ok(Made::json(&Versioned::new(data), everything::<K>()))
        })
    };
    cache.answer(&caller, Shelf::V2Detail, key, make).await
}

/// They are few and change seldom: what is said of one is made anew with every change of any.
fn everything<K: Kind>() -> BTreeSet<Tag> {
    BTreeSet::from([K::CHANGES])
}

async fn one<K: Kind>(
    state: &AppState,
    name: &str,
    selection: &Selection,
) -> Result<(K, Family<K>), ApiError> {
    let db = state.db.read();
    let entry = store::by_name::<K>(db, name, selection.read::<K>()).await?.ok_or_else(nothing::<K>)?;
    let family = Family::load(db, std::slice::from_ref(&entry), selection.parent, selection.children).await?;
    Ok((entry, family))
}

fn shown<'s, K: Kind>(
    entries: &'s [K],
    family: &'s Family<K>,
    selection: &'s Selection,
    links: Links<'s>,
    version: Version,
) -> Vec<Shown<'s, K>> {
    entries.iter().map(|entry| Shown { entry, family, selection, links, version }).collect()
}
