//! Decides how requests that write posts are carried out: who may, what must hold before, and what is answered.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::fields::{self, CHANGE, NEW};
use super::shown::Shown;
use super::{Post, slug, writing};
use crate::answer;
use crate::body::{self, Body, Given};
use crate::cause::Cause;
use crate::db::{self, Writer};
use crate::error::{ApiError, Code};
use crate::idempotency::Slot;
use crate::identity::{Ability, Identity, Signed};
use crate::links::Links;
use crate::moment::Moment;
use crate::query::Params;
use crate::state::AppState;

/// How often a slug that we made is made anew because somebody else took it in between.
const TRIES: usize = 3;

/// `POST /api/v1/posts`.
///
/// # Errors
///
/// 401, 403 without the right; 422 with everything that is wrong; those of the database.
pub async fn create(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    identity.require(Ability::WritePosts)?;
    Params::parse(uri.query(), &[]).finish()?;
    let slot = request.extensions().get::<Slot>().cloned();
    let cause = Cause::of(request.extensions());
    let bytes = body::bytes(request).await?;
    let now = state.clock.now();
    let (body, post) = understood(bytes, NEW, None, now).await?;
    let has_slug = body.text("slug").is_given();
    let mut tries = 0;
    loop {
        tries += 1;
        let mut post = Post { author_id: identity.author, ..post.clone() };
        match insert(&state, &body, &mut post, (slot.as_ref(), &cause)).await {
            Err(Failed::Database(db::Error::Refused(..))) if !has_slug && tries < TRIES => {}
            Err(failed) => return Err(failed.into()),
            Ok(response) => return Ok(response),
        }
    }
}

/// Writes the post, and keeps the answer in the same transaction for whoever sends the request again.
async fn insert(
    state: &AppState,
    body: &Body,
    post: &mut Post,
    (slot, cause): (Option<&Slot>, &Cause),
) -> Result<Response, Failed> {
    let mut body = body.again();
    let mut writer = state.db.write().await?;
    let tags = body.ids("tags").value().unwrap_or_default();
    check(&mut writer, &mut body, post, None, &tags).await?;
    body.finish()?;
    writing::insert(&mut writer, post, &tags, cause).await?;
    let shown = Shown::of(state, post, &tags).await?;
    let location = HeaderValue::from_str(&Links { base: &state.public_url }.post("v1", &post.slug));
    let location = location.unwrap_or_else(|_| HeaderValue::from_static(""));
    if let Some(slot) = slot {
        let headers = [(header::LOCATION, location.clone()), (header::ETAG, shown.etag().clone())];
        slot.keep(&mut writer, StatusCode::CREATED, &headers, shown.body()).await?;
    }
    writer.commit().await?;
    state.written().await;
    let mut response = shown.response(StatusCode::CREATED);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `PUT` and `PATCH /api/v1/posts/{id}`: changes what is given and leaves the rest.
///
/// # Errors
///
/// As [`create`]; 404 for a post that is not there or not theirs to see; 412 when `If-Match` names another version.
pub async fn change(
    State(state): State<AppState>,
    Signed(identity): Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    identity.require(Ability::WritePosts)?;
    Params::parse(uri.query(), &[]).finish()?;
    let id = post_id(id)?;
    let (wanted, cause) = (Precondition::of(request.headers()), Cause::of(request.extensions()));
    let bytes = body::bytes(request).await?;
    let now = state.clock.now();
    // Cleaning HTML takes time, and the post may change meanwhile: then it is done again with what it has become.
    let mut before = current(&state, &identity, id).await?;
    for _ in 0..TRIES {
        let (mut body, post) = understood(bytes.clone(), CHANGE, Some(before.clone()), now).await?;
        let mut writer = state.db.write().await?;
        let held = theirs(writing::held(&mut writer, id).await?, &identity)?;
        if !is_same(&held, &before) {
            before = held;
            continue;
        }
        let old_tags = writing::tags_of(&mut writer, id).await?;
        wanted.check(&Shown::of(&state, &held, &old_tags).await?)?;
        let mut tags = body.ids("tags").value().unwrap_or_else(|| old_tags.clone());
        tags.sort_unstable();
        let mut post = post;
        check(&mut writer, &mut body, &mut post, Some(&held), &tags).await?;
        body.finish()?;
        writing::update(&mut writer, (&held, &old_tags), (&post, &tags), &cause)
            .await
            .map_err(Failed::from)?;
        let shown = Shown::of(&state, &post, &tags).await?;
        writer.commit().await?;
        state.written().await;
        return Ok(shown.response(StatusCode::OK));
    }
    Err(ApiError::new(Code::Conflict, "The post is being changed by somebody else. Try again in a moment."))
}

/// `DELETE /api/v1/posts/{id}`: nobody sees it any more, and its slug is free.
///
/// # Errors
///
/// As [`change`].
pub async fn delete(
    State(state): State<AppState>,
    Signed(identity): Signed,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    identity.require(Ability::WritePosts)?;
    Params::parse(uri.query(), &[]).finish()?;
    let id = post_id(id)?;
    let mut writer = state.db.write().await?;
    let held = theirs(writing::held(&mut writer, id).await?, &identity)?;
    let tags = writing::tags_of(&mut writer, id).await?;
    Precondition::of(request.headers()).check(&Shown::of(&state, &held, &tags).await?)?;
    let cause = Cause::of(request.extensions());
    writing::delete(&mut writer, (&held, &tags), &cause, state.clock.now()).await?;
    writer.commit().await?;
    state.written().await;
    Ok(answer::nothing())
}

/// Reads the body and what the post becomes by it, beside the threads that answer.
async fn understood(
    bytes: Bytes,
    fields: &'static [body::Field],
    before: Option<Post>,
    now: Moment,
) -> Result<(Body, Post), ApiError> {
    let read = tokio::task::spawn_blocking(move || {
        let mut body = Body::parse(&bytes, fields)?;
        let post = fields::changed(&mut body, before.as_ref(), now);
        Ok((body, post))
    });
    read.await.unwrap_or_else(|_| Err(ApiError::panicked()))
}

/// What only the database knows: whether there is such a category, such tags, and whether the slug is free.
async fn check(
    writer: &mut Writer<'_>,
    body: &mut Body,
    post: &mut Post,
    before: Option<&Post>,
    tags: &[i64],
) -> Result<(), db::Error> {
    let has_category =
        post.category_id > 0 && before.map(|before| before.category_id) != Some(post.category_id);
    if has_category && !writing::has_category(writer, post.category_id).await? {
        body.problem("category_id", "names no category");
    }
    if body.ids("tags").is_given() {
        for id in writing::unknown_tags(writer, tags).await? {
            body.problem("tags", format!("has {id}, which is no tag"));
        }
    }
    let except = before.map(|before| before.id);
    match body.text("slug") {
        Given::Is(wanted) if before.is_none_or(|before| before.slug != wanted) => {
            let free = writing::free_slug(writer, &wanted, except).await?;
            if free != wanted {
                body.problem("slug", format!("is taken; free is {free}"));
            }
        }
        // A title may change without breaking addresses.
        Given::Absent if before.is_none() && !post.title.is_empty() => {
            post.slug = writing::free_slug(writer, &slug::suggest(&post.title), None).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn current(state: &AppState, identity: &Identity, id: i64) -> Result<Post, ApiError> {
    theirs(writing::current(state.db.read_fresh(), id).await?, identity)
}

/// Whether a client would not see a difference; how often it was viewed does not matter here.
fn is_same(one: &Post, other: &Post) -> bool {
    Post { view_count: other.view_count, ..one.clone() } == *other
}

/// The post, if it is theirs to change. Of what they cannot even see they are not told that it is there.
fn theirs(post: Option<Post>, identity: &Identity) -> Result<Post, ApiError> {
    let nothing = || ApiError::not_found("There is no post with this id.");
    let post = post.ok_or_else(nothing)?;
    if identity.changes(post.author_id) {
        return Ok(post);
    }
    let is_public = post.status == "published";
    if is_public {
        Err(ApiError::new(Code::Forbidden, "This post is somebody else's."))
    } else {
        Err(nothing())
    }
}

fn post_id(id: Result<Path<String>, PathRejection>) -> Result<i64, ApiError> {
    let id = id.ok().and_then(|Path(id)| id.parse::<i64>().ok());
    id.filter(|id| *id > 0).ok_or_else(|| ApiError::not_found("There is no post with this id."))
}

/// What `If-Match` says.
struct Precondition(Vec<HeaderValue>);

impl Precondition {
    fn of(headers: &HeaderMap) -> Self {
        Self(headers.get_all(header::IF_MATCH).iter().cloned().collect())
    }

    /// The strong comparison of RFC 9110 section 13.1.1 with the post as v1 shows it; its number of views does not
    /// matter, so that a reader who looks at it is in nobody's way.
    fn check(&self, shown: &Shown) -> Result<(), ApiError> {
        let is_met = |list: &HeaderValue| {
            let tags = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.into_iter().any(|tag| tag == b"*" || shown.is_of_version(tag))
        };
        if self.0.is_empty() || self.0.iter().any(is_met) {
            return Ok(());
        }
        Err(ApiError::new(
            Code::PreconditionFailed,
            "The post has changed since: read it again and decide anew what to change.",
        ))
    }
}

/// Why a write failed.
enum Failed {
    Database(db::Error),
    Api(ApiError),
}

impl From<db::Error> for Failed {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Failed> for ApiError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Database(error) => error.into(),
            Failed::Api(error) => error,
        }
    }
}
