//! Decides what happens to a request that is sent again with its `Idempotency-Key`: it is carried out once.
//!
//! | what was sent with this key before | the answer |
//! | --- | --- |
//! | nothing, or it failed, or it is a day ago | the request is carried out |
//! | the same body, and it succeeded | the same answer, with `Idempotency-Replayed: true` |
//! | the same body, and it is still carried out | 409 |
//! | another body | 422 |
//!
//! A key belongs to the token (or, without one, to the address) and to the path. Where a handler can, it keeps its
//! answer in the transaction of its write ([`Slot::keep`]), so that not even a crash carries a request out twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sha2::{Digest as _, Sha256};

use crate::answer;
use crate::body::whole;
use crate::client::Client;
use crate::db::{Error, Writer};
use crate::error::{ApiError, Code};
use crate::identity::Viewer;
use crate::moment::Moment;
use crate::state::AppState;

const TABLE: &str = "idempotency_keys";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What is kept of the head of an answer.
const HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
/// The longest key, in characters.
const LONGEST: usize = 255;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Answers with a secret are not kept: signing in again gives another token, and does no harm.
const EXCEPT: &str = "/api/v1/auth/";

/// The place of one request's answer, put into the request for its handler.
#[derive(Clone, Debug)]
pub struct Slot {
    scope: String,
    name: String,
    is_kept: Arc<AtomicBool>,
}

/// What came of looking for the key.
enum Found {
    /// Carry it out.
    New,
    /// Answer this.
    Done(Response),
}

/// Carries out `request` by `next`, or answers what was answered before.
///
/// # Errors
///
/// 400 for a key that is none; 409 and 422 as above; those of the database.
pub async fn around<F: Future<Output = Response>>(
    state: &AppState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Result<Response, ApiError> {
    let is_asked_for = request.method() == Method::POST && !request.uri().path().starts_with(EXCEPT);
    let Some(key) = request.headers().get(&KEY).filter(|_| is_asked_for) else {
        return Ok(next(request).await);
    };
    let name = key.to_str().ok().filter(|name| (1..=LONGEST).contains(&name.len()));
    let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())).map(str::to_owned);
    let name = name.ok_or_else(|| {
        ApiError::bad_request("The header Idempotency-Key must be 1 to 255 visible ASCII characters.")
    })?;
    let (mut parts, body) = request.into_parts();
    let Viewer(viewer) = Viewer::from_request_parts(&mut parts, state).await?;
    let owner = match (&viewer, parts.extensions.get::<Client>()) {
        (Some(identity), _) => format!("token:{}", identity.token),
        (None, Some(Client(address))) => format!("address:{address}"),
        (None, None) => "nobody".to_owned(),
    };
    let slot = Slot { scope: format!("{owner} {}", parts.uri.path()), name, is_kept: Arc::default() };
    let bytes = whole(body).await?;
    let fingerprint = fingerprint(parts.uri.query(), &bytes);
    if let Found::Done(response) = slot.take(state, &fingerprint).await? {
        return Ok(response);
    }
    parts.extensions.insert(slot.clone());
    let response = next(Request::from_parts(parts, Body::from(bytes))).await;
    slot.settle(state, response).await
}

fn fingerprint(query: Option<&str>, body: &Bytes) -> Vec<u8> {
    let query = query.unwrap_or_default();
    let hash = Sha256::new().chain_update((query.len() as u64).to_be_bytes()).chain_update(query);
    hash.chain_update(body).finalize().to_vec()
}

impl Slot {
    /// Notes that the request is carried out from now on, or finds what came of it before.
    async fn take(&self, state: &AppState, fingerprint: &[u8]) -> Result<Found, ApiError> {
        let now = state.clock.now();
        let mut writer = state.db.write().await?;
        let old = now.0.saturating_sub(millis(KEPT));
        let clear = Query::delete().from_table(TABLE).and_where(Expr::col("created_at").lte(old)).take();
        writer.execute(&clear).await?;
        let insert = Query::insert()
            .into_table(TABLE)
            .columns(["scope", "name", "fingerprint", "created_at"])
            .values_panic([
                self.scope.as_str().into(),
                self.name.as_str().into(),
                fingerprint.to_vec().into(),
                now.0.into(),
            ])
            .on_conflict(OnConflict::columns(["scope", "name"]).do_nothing().to_owned())
            .take();
        let is_new = writer.execute(&insert).await? > 0;
        let found =
            if is_new { Found::New } else { self.found(state, &mut writer, fingerprint, now).await? };
        writer.commit().await?;
        Ok(found)
    }

    async fn found(
        &self,
        state: &AppState,
        writer: &mut Writer<'_>,
        fingerprint: &[u8],
        now: Moment,
    ) -> Result<Found, ApiError> {
        let Some(row) = writer.first(&self.select()).await? else { return Ok(Found::New) };
        let mut cells = row.cells();
        let (before, status): (Vec<u8>, Option<i64>) = (cells.take()?, cells.take()?);
        let (headers, body): (String, Option<Vec<u8>>) = (cells.take()?, cells.take()?);
        let began: i64 = cells.take()?;
        if before != fingerprint {
            return Err(ApiError::new(
                Code::InvalidParameters,
                "This Idempotency-Key was used for another request: take a new one for each.",
            ));
        }
        if let Some(status) = status {
            return Ok(Found::Done(replayed(status, &headers, body.unwrap_or_default())));
        }
        // A node that fell over while it carried it out never comes back to it.
        let lost = millis(state.max_execution_time).saturating_mul(2);
        if now.0 <= began.saturating_add(lost) {
            return Err(ApiError::new(
                Code::Conflict,
                "The request with this Idempotency-Key is still carried out. Try again in a moment.",
            ));
        }
        let mut again = Query::update();
        again.table(TABLE).value("created_at", now.0);
        writer.execute(&self.only(again)).await?;
        Ok(Found::New)
    }

    fn select(&self) -> SelectStatement {
        Query::select()
            .columns(["fingerprint", "status", "headers", "body", "created_at"])
            .from(TABLE)
            .and_where(Expr::col("scope").eq(&self.scope))
            .and_where(Expr::col("name").eq(&self.name))
            .lock_exclusive()
            .take()
    }

    fn only(&self, mut update: sea_query::UpdateStatement) -> sea_query::UpdateStatement {
        update
            .and_where(Expr::col("scope").eq(&self.scope))
            .and_where(Expr::col("name").eq(&self.name))
            .take()
    }

    /// Keeps an answer in the transaction that it is the answer of.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn keep(
        &self,
        writer: &mut Writer<'_>,
        status: StatusCode,
        headers: &[(HeaderName, HeaderValue)],
        body: &Bytes,
    ) -> Result<(), Error> {
        let lines: Vec<String> = headers
            .iter()
            .filter(|(name, _)| HEADERS.contains(name))
            .filter_map(|(name, value)| Some(format!("{name}: {}", value.to_str().ok()?)))
            .collect();
        let update = Query::update()
            .table(TABLE)
            .value("status", i64::from(status.as_u16()))
            .value("headers", lines.join("\n"))
            .value("body", body.to_vec())
            .take();
        writer.execute(&self.only(update)).await?;
        self.is_kept.store(true, Ordering::Release);
        Ok(())
    }

    /// Keeps a success that was not kept yet; a failure gives the key back.
    async fn settle(&self, state: &AppState, response: Response) -> Result<Response, ApiError> {
        if response.status().is_success() && self.is_kept.load(Ordering::Acquire) {
            return Ok(response);
        }
        let mut writer = state.db.write().await?;
        if !response.status().is_success() {
            let delete = Query::delete()
                .from_table(TABLE)
                .and_where(Expr::col("scope").eq(&self.scope))
                .and_where(Expr::col("name").eq(&self.name))
                .take();
            writer.execute(&delete).await?;
            writer.commit().await?;
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = whole(body).await?;
        let headers: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        self.keep(&mut writer, parts.status, &headers, &bytes).await?;
        writer.commit().await?;
        Ok(Response::from_parts(parts, Body::from(bytes)))
    }
}

fn replayed(status: i64, headers: &str, body: Vec<u8>) -> Response {
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = answer::of(status.unwrap_or(StatusCode::OK), body.into(), answer::JSON);
    let head = response.headers_mut();
    for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            head.insert(name, value);
        }
    }
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
