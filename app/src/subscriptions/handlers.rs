//! Decides how somebody subscribes, confirms and unsubscribes; no answer tells whether an address is known.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::json;

use super::store::{self, CONFIRMABLE};
use crate::answer;
use crate::body::{self, Body, Field, Presence, Rule as FieldRule};
use crate::cause::Cause;
use crate::error::{ApiError, Code};
use crate::events::{self, Event};
use crate::mail_link::{self as token, Purpose};
use crate::moment::Moment;
use crate::query::{Params, Rule, Spec};
use crate::state::AppState;

/// What `POST /api/v2/subscriptions` takes.
pub const NEW: &[Field] = &[Field::new(
    "email",
    FieldRule::Text(3, 254),
    Presence::Required,
    "Where mails about new posts are to go.",
)];
/// What the links in mails carry.
pub const LINK: &[Spec] = &[Spec::new("token", Rule::Text(1, 200), "The token from the mail.")];

/// `POST /api/v2/subscriptions`: sends a mail that asks whether they asked.
///
/// # Errors
///
/// 422 for what is no address; 503 where no mail is sent; those of the database.
pub async fn subscribe(
    State(state): State<AppState>,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let cause = Cause::of(request.extensions());
    let mut body = Body::parse(&body::bytes(request).await?, NEW)?;
    let email = body.text("email").value().unwrap_or_default().trim().to_lowercase();
    let is_address = email.is_ascii() && email.parse::<lettre::Address>().is_ok();
    if !email.is_empty() && !is_address {
        body.problem("email", "must be an e-mail address");
    }
    body.finish()?;
    if state.mailer.is_none() || state.public_url.is_empty() {
        return Err(ApiError::new(Code::Unavailable, "This site sends no mail."));
    }
    let now = state.clock.now();
    let mut writer = state.db.write().await?;
    if let Some(subscriber) = store::request(&mut writer, &email, now).await? {
        let event = Event::SubscriptionRequested { subscriber };
        events::record(&mut writer, &event, &cause, now).await?;
    }
    writer.commit().await?;
    state.bell.ring();
    let message = "If this address is not subscribed yet, a mail with a link to confirm is on its way to it.";
    Ok(answer::secret(answer::with_status(
        StatusCode::ACCEPTED,
        &json!({ "message": message }),
        answer::JSON,
    )))
}

/// `GET /api/v2/subscriptions/confirm`: from now on mails are sent.
///
/// # Errors
///
/// 404 for a link that is not ours, or too old; those of the database.
pub async fn confirm(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let (id, made) = linked(&state, &uri, Purpose::Confirm)?;
    let now = state.clock.now();
    let mut writer = state.db.write().await?;
    if now > made.after(CONFIRMABLE) || !store::confirm(&mut writer, id, now).await? {
        return Err(bad_link());
    }
    writer.commit().await?;
    Ok(answer::secret(answer::json(&json!({ "message": "You are subscribed." }))))
}

/// `POST /api/v2/subscriptions/unsubscribe`: no more mails, at one click (RFC 8058). The body does not matter.
///
/// # Errors
///
/// 404 for a link that is not ours; those of the database.
pub async fn unsubscribe(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let (id, _) = linked(&state, &uri, Purpose::Unsubscribe)?;
    let mut writer = state.db.write().await?;
    store::unsubscribe(&mut writer, id, state.clock.now()).await?;
    writer.commit().await?;
    Ok(answer::secret(answer::json(&json!({ "message": "You are not subscribed any more." }))))
}

/// `GET /api/v2/subscriptions/unsubscribe`: a page with the button. Programs that only look at links change nothing.
///
/// # Errors
///
/// 404 for a link that is not ours.
pub async fn unsubscribe_page(State(state): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    linked(&state, &uri, Purpose::Unsubscribe)?;
    let page = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Unsubscribe</title>\
                <form method=\"post\"><p>No more mails from this site?</p><button>Unsubscribe</button></form></html>";
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(answer::secret(answer::of(StatusCode::OK, page.into(), html)))
}

fn linked(state: &AppState, uri: &Uri, purpose: Purpose) -> Result<(i64, Moment), ApiError> {
    let mut params = Params::parse(uri.query(), LINK);
    params.finish()?;
    let token = params.text("token").unwrap_or_default();
    token::read(&state.link_key, purpose, token).ok_or_else(bad_link)
}

fn bad_link() -> ApiError {
    ApiError::not_found("This link is not good, or not any more: subscribe again.")
}
