//! Decides how somebody signs in and out, and sees who they are.

use axum::extract::{Request, State};
use axum::response::Response;
use http::Uri;
use serde::Serialize;
use serde_json::json;

use super::accounts::{self, Account, By, Change};
use super::profile::Profile;
use super::throttle::{self, Limit, Subjects};
use super::{Abilities, Signed, tokens};
use crate::answer;
use crate::body::{self, Body, Field, Presence, Rule};
use crate::client::Client;
use crate::error::{ApiError, Code};
use crate::moment::Moment;
use crate::query::Params;
use crate::state::AppState;

/// What `POST /api/v1/auth/login` takes. The original's documents say `email`, its code `login`: both are read.
pub const LOGIN: &[Field] = &[
    Field::new("email", Rule::Text(1, 255), Presence::Optional, "The e-mail address of the account."),
    Field::new("login", Rule::Text(1, 255), Presence::Optional, "The same under its other name."),
    Field::new("password", Rule::Text(1, 128), Presence::Required, "The password of the account."),
    Field::new("device_name", Rule::Text(1, 120), Presence::Optional, "What the token is called in lists."),
];

/// What a token is called when the client does not say.
const DEVICE: &str = "api";

#[derive(Debug, Serialize)]
struct SignedIn<'a> {
    data: Profile<'a>,
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Meta {
    token: String,
    token_type: &'static str,
    expires_at: Moment,
    abilities: Vec<&'static str>,
}

/// `POST /api/v1/auth/login`: a token for an e-mail address and its password.
///
/// # Errors
///
/// 401 for a wrong address or password, alike in words and time; 403 for an account that was switched off, once its
/// password was right; 422 for fields that are missing or wrong; 429 after too many tries; those of the database.
pub async fn login(State(state): State<AppState>, uri: Uri, request: Request) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let client = request.extensions().get::<Client>().copied();
    let mut body = Body::parse(&body::bytes(request).await?, LOGIN)?;
    let email = match (body.text("email").value(), body.text("login").value()) {
        (Some(_), Some(_)) => {
            body.problem("login", "cannot be combined with email");
            None
        }
        (None, None) => {
            body.problem("email", "is required");
            None
        }
        (email, login) => email.or(login),
    };
    body.finish()?;
    let email = email.unwrap_or_default().trim().to_lowercase();
    let password = body.text("password").value().unwrap_or_default();
    let subjects = Subjects::new(&email, client);
    count(&state, &subjects).await?;
    let found = accounts::find(state.db.read_fresh(), By::Email(&email)).await?;
    let hash = found.as_ref().and_then(|(_, hash)| hash.clone());
    let is_right = state.passwords.is_right(password, hash).await.map_err(|_| {
        ApiError::new(Code::Overloaded, "Too many are signing in right now. Try again in a moment.")
    })?;
    let Some((account, _)) = found.filter(|_| is_right) else {
        return Err(ApiError::new(Code::Unauthenticated, "The e-mail address or the password is wrong."));
    };
    if !account.is_active {
        return Err(ApiError::new(Code::Forbidden, "This account is switched off."));
    }
    let device = body.text("device_name").value().unwrap_or_else(|| DEVICE.to_owned());
    sign_in(&state, account, &device, &subjects).await
}

async fn count(state: &AppState, subjects: &Subjects) -> Result<(), ApiError> {
    let limit = Limit { tries: state.auth.login_attempts, window: state.auth.login_window };
    let mut writer = state.db.write().await?;
    let wait = throttle::count(&mut writer, subjects, limit, Moment::now()).await?;
    writer.commit().await?;
    match wait {
        None => Ok(()),
        Some(seconds) => Err(ApiError::too_many(
            format!("There were too many tries to sign in. The next one makes sense in {seconds} seconds."),
            seconds,
        )),
    }
}

async fn sign_in(
    state: &AppState,
    mut account: Account,
    device: &str,
    subjects: &Subjects,
) -> Result<Response, ApiError> {
    let now = Moment::now();
    let abilities = Abilities::all();
    let expires_at = now.after(state.auth.token_lifetime);
    let mut writer = state.db.write().await?;
    throttle::forgive(&mut writer, subjects).await?;
    let new = tokens::New { author: account.id, name: device, abilities: &abilities, expires_at };
    let token = tokens::create(&mut writer, new, now).await?;
    accounts::change(&mut writer, account.id, Change::LoggedIn, now).await?;
    writer.commit().await?;
    account.last_login_at = Some(now);
    let meta = Meta { token, token_type: "Bearer", expires_at, abilities: abilities.words() };
    Ok(answer::secret(answer::json(&SignedIn { data: Profile::new(&account, &abilities), meta })))
}

/// `POST /api/v1/auth/logout`: ends the token at hand.
///
/// # Errors
///
/// 401 without a token; those of the database.
pub async fn logout(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let mut writer = state.db.write().await?;
    tokens::revoke(&mut writer, identity.token, Moment::now()).await?;
    writer.commit().await?;
    Ok(answer::json(&json!({ "message": "You are signed out." })))
}

/// `GET /api/v1/auth/profile`: the account behind the token.
///
/// # Errors
///
/// 401 without a token; those of the database.
pub async fn profile(
    State(state): State<AppState>,
    Signed(identity): Signed,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let found = accounts::find(state.db.read(), By::Id(identity.author)).await?;
    let (account, _) = found.ok_or_else(|| ApiError::not_found("There is no such account any more."))?;
    let data = Profile::new(&account, &identity.abilities);
    Ok(answer::secret(answer::json(&json!({ "data": data }))))
}
