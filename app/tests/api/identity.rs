//! Signing in and out, tokens, and what is told to whom.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use cirque_app::identity::Ability;
use cirque_app::middleware::Peer;
use http::Request;
use serde_json::{Value, json};

use crate::site::{Answer, Data, Site, json_request, names};

const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
const PROFILE: &str = "/api/v1/auth/profile";

fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

async fn log_in(site: &Site, email: &str, password: &str) -> Answer {
    site.call("POST", LOGIN, None, &credentials(email, password)).await
}

/// As [`log_in`], behind the edge on this machine, for a client at `address`.
async fn log_in_from(site: &Site, address: &str, email: &str, password: &str) -> Answer {
    let mut request = json_request("POST", LOGIN, None, &credentials(email, password));
    request.extensions_mut().insert(Peer(SocketAddr::from(([127, 0, 0, 1], 9))));
    request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    site.send(request).await
}

#[tokio::test]
async fn signing_in_gives_a_token_that_is_good_until_signing_out() {
    let site = Site::seeded(3).await;
    let admin = site.data.admin.clone().unwrap();
    // Letter case of an address does not matter.
    let answer = log_in(&site, &admin.email.to_uppercase(), &admin.password).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("cache-control")),
        (200, "no-store"),
        "{}",
        answer.body
    );
    let json = answer.json();
    assert_eq!(names(&json), ["data", "meta"]);
    assert_eq!(
        (json["meta"]["token_type"].as_str(), &json["data"]["roles"]),
        (Some("Bearer"), &json!(["admin"]))
    );
    assert_eq!(json["data"]["username"], "ada");
    let token = json["meta"]["token"].as_str().unwrap();
    let profile = site.get_as(token, PROFILE).await;
    assert_eq!(profile.status.as_u16(), 200, "{}", profile.body);
    assert_eq!(profile.json()["data"]["email"], admin.email);
    assert!(profile.json()["data"]["last_login_at"].is_string());
    assert!(!profile.body.contains("argon2") && !profile.body.contains("hash"), "{}", profile.body);
    let out = site.call("POST", LOGOUT, Some(token), &json!({})).await;
    assert_eq!((out.status.as_u16(), out.body.as_str()), (200, r#"{"message":"You are signed out."}"#));
    assert_eq!(site.get_as(token, PROFILE).await.status.as_u16(), 401);
}

#[tokio::test]
async fn defect_02_missing_or_bad_credentials_are_a_401_and_never_a_500() {
    let site = Site::seeded(3).await;
    let good = site.data.full_token("ada").await;
    let bearer = format!("Bearer {good}");
    for (header, expected) in [
        (None, 401),
        (Some(""), 401),
        (Some("Bearer"), 401),
        (Some("Bearer "), 401),
        (Some("Bearer nonsense"), 401),
        (Some("Bearer cirque_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 401),
        (Some("Basic YWRhOng="), 401),
        (Some(&good), 401),
        (Some(&bearer), 200),
    ] {
        let mut request = Request::get(PROFILE);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), expected, "{header:?}: {}", answer.body);
        let challenge = if expected == 401 { "Bearer realm=\"cirque\"" } else { "" };
        assert_eq!(answer.header("www-authenticate"), challenge, "{header:?}");
    }
    let bytes =
        Request::get(PROFILE).header("authorization", &b"Bearer \xff"[..]).body(Body::empty()).unwrap();
    assert_eq!(site.send(bytes).await.status.as_u16(), 401);
}

#[tokio::test]
async fn defect_16_signing_in_tells_nothing_about_accounts_before_the_password_is_right() {
    let mut data = Data::seeded(3).await;
    data.config.auth.login_attempts = 100;
    let site = data.open().await;
    let admin = site.data.admin.clone().unwrap();
    site.data.change("UPDATE accounts SET is_active = FALSE WHERE author_id = 1").await;
    let wrong = log_in(&site, &admin.email, "wrong password").await;
    let nobody = log_in(&site, "nobody@example.com", "wrong password").await;
    // Bruno has an account without a password.
    let without = log_in(&site, "bruno@example.com", "wrong password").await;
    for answer in [&nobody, &without] {
        assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body));
    }
    assert_eq!(
        (wrong.status.as_u16(), wrong.body.as_str()),
        (401, r#"{"message":"The e-mail address or the password is wrong."}"#)
    );
    let off = log_in(&site, &admin.email, &admin.password).await;
    assert_eq!(
        (off.status.as_u16(), off.body.as_str()),
        (403, r#"{"message":"This account is switched off."}"#)
    );
    site.data.change("UPDATE accounts SET is_active = TRUE WHERE author_id = 1").await;
    // The documents say `email`, the original's code `login`.
    let other_name = json!({ "login": admin.email, "password": admin.password, "device_name": "phone" });
    assert_eq!(site.call("POST", LOGIN, None, &other_name).await.status.as_u16(), 200);
    let named = site.data.column::<String>("SELECT name FROM tokens").await;
    assert_eq!(named, ["phone"]);
}

#[tokio::test]
async fn everything_wrong_with_a_login_is_said_at_once() {
    let site = Site::seeded(0).await;
    let answer = site.call("POST", LOGIN, None, &json!({ "password": 7, "remember": true })).await;
    assert_eq!(answer.status.as_u16(), 422);
    assert_eq!(
        answer.json(),
        json!({
            "message": "3 fields are not valid.",
            "errors": {
                "password": ["must be a text"],
                "remember": ["is not a field here; known: email, login, password, device_name"],
                "email": ["is required"],
            }
        })
    );
    let form = Request::post(LOGIN).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(site.send(form.body(Body::from("email=x")).unwrap()).await.status.as_u16(), 415);
}

// key: auth.login_attempts
#[tokio::test]
async fn an_account_can_be_tried_only_so_often_from_wherever_and_an_address_only_so_often_for_whomever() {
    let mut data = Data::seeded(3).await;
    data.config.auth.login_attempts = 3;
    let site = data.open().await;
    let admin = site.data.admin.clone().unwrap();
    for last in 1..=3 {
        let wrong = log_in_from(&site, &format!("192.0.2.{last}"), &admin.email, "wrong password").await;
        assert_eq!(wrong.status.as_u16(), 401);
    }
    let right = log_in_from(&site, "192.0.2.9", &admin.email, &admin.password).await;
    assert_eq!(right.status.as_u16(), 429, "the right password is not read any more: {}", right.body);
    let wait: u64 = right.header("retry-after").parse().unwrap();
    assert!((200..=300).contains(&wait), "{wait}");
    // One address, accounts that do not exist.
    for number in 1..=3 {
        let email = format!("nobody{number}@example.com");
        assert_eq!(log_in_from(&site, "198.51.100.1", &email, "x").await.status.as_u16(), 401);
    }
    assert_eq!(log_in_from(&site, "198.51.100.1", "other@example.com", "x").await.status.as_u16(), 429);
    assert_eq!(log_in_from(&site, "198.51.100.2", "other@example.com", "x").await.status.as_u16(), 401);
}

// key: auth.login_window
#[tokio::test]
async fn tries_are_forgotten_after_a_while_and_those_that_succeed_at_once() {
    let mut data = Data::seeded(3).await;
    data.config.auth.login_attempts = 2;
    data.config.auth.login_window = Duration::from_secs(60);
    let site = data.open().await;
    let admin = site.data.admin.clone().unwrap();
    for _ in 0..5 {
        assert_eq!(log_in_from(&site, "192.0.2.1", &admin.email, &admin.password).await.status.as_u16(), 200);
    }
    for expected in [401, 401, 429] {
        let answer = log_in_from(&site, "192.0.2.1", &admin.email, "wrong password").await;
        assert_eq!(answer.status.as_u16(), expected);
    }
    // A minute passes.
    site.data.change("UPDATE login_tries SET since = since - 60000").await;
    assert_eq!(log_in_from(&site, "192.0.2.1", &admin.email, &admin.password).await.status.as_u16(), 200);
}

// key: server.trusted_proxies
#[tokio::test]
async fn an_address_in_a_header_is_believed_only_from_a_trusted_proxy() {
    let mut data = Data::seeded(3).await;
    data.config.server.trusted_proxies = Vec::new();
    data.config.auth.login_attempts = 2;
    let site = data.open().await;
    for (number, expected) in [(1, 401), (2, 401), (3, 429)] {
        let email = format!("nobody{number}@example.com");
        let answer = log_in_from(&site, &format!("192.0.2.{number}"), &email, "x").await;
        assert_eq!(answer.status.as_u16(), expected, "all of them come from 127.0.0.1");
    }
}

// key: auth.token_lifetime
#[tokio::test]
async fn a_token_ends_when_its_time_is_over_or_its_account_is_switched_off() {
    let mut data = Data::seeded(3).await;
    data.config.auth.token_lifetime = Duration::from_secs(600);
    let site = data.open().await;
    let admin = site.data.admin.clone().unwrap();
    let json = log_in(&site, &admin.email, &admin.password).await.json();
    let token = json["meta"]["token"].as_str().unwrap();
    assert_eq!(site.data.ids("SELECT expires_at - created_at FROM tokens").await, [600_000]);
    assert_eq!(site.get_as(token, PROFILE).await.status.as_u16(), 200);
    site.data.change("UPDATE accounts SET is_active = FALSE").await;
    assert_eq!(site.get_as(token, PROFILE).await.status.as_u16(), 401);
    site.data.change("UPDATE accounts SET is_active = TRUE").await;
    site.data.change("UPDATE tokens SET expires_at = 1").await;
    assert_eq!(site.get_as(token, PROFILE).await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_token_is_kept_as_a_hash_and_nobody_has_more_than_a_hundred() {
    let site = Site::seeded(3).await;
    let first = site.data.token("chiyo", &[Ability::ReadPosts]).await;
    let kept = site.data.column::<Vec<u8>>("SELECT hash FROM tokens").await;
    assert_eq!(kept[0].len(), 32);
    assert_eq!(site.get_as(&first, PROFILE).await.json()["data"]["permissions"], json!(["posts:read"]));
    let accounts = cirque_app::identity::admin::Accounts::open(&site.data.config).await.unwrap();
    let abilities = cirque_app::identity::Abilities::all();
    for _ in 0..104 {
        accounts.create_token("chiyo", "many", &abilities, Duration::from_secs(3600)).await.unwrap();
    }
    assert_eq!(site.data.ids("SELECT count(*) FROM tokens").await, [100]);
    assert_eq!(site.get_as(&first, PROFILE).await.status.as_u16(), 401, "the oldest went first");
    accounts.close().await;
}
