//! What the admin interface answers about alerts.

use bytes::Bytes;
use cirque_shared::alert::channel::Outcome;
use cirque_shared::alert::silence::Wanted;
use cirque_shared::alert::watch::NotSilenced;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::answer::{self, Answer};
use crate::control::Author;

/// Things that happened that are told at once.
const MOST: usize = 200;

/// Questions below `/v1/alerts`.
pub(super) async fn look(desk: &Desk, parts: &[&str]) -> Answer {
    match parts {
        [] => answer::json(&desk.watch.view()),
        ["history"] => match desk.watch.history(MOST).await {
            Ok(history) => answer::json(&json!({ "history": history })),
            Err(error) => unavailable(&error.to_string()),
        },
        ["word"] => answer::json(&desk.watch.word()),
        ["silences" | "test"] => answer::wrong_method("POST"),
        _ => answer::not_found(
            "there are /v1/alerts, /v1/alerts/history, /v1/alerts/silences and /v1/alerts/test\n",
        ),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tested {
    #[serde(default)]
    channel: Option<String>,
}

/// Changes below `/v1/alerts`.
pub(super) async fn change(
    desk: &Desk,
    method: &str,
    parts: &[&str],
    body: &Bytes,
    author: &Author,
) -> Answer {
    match (method, parts) {
        ("POST", ["silences"]) => match super::api::read::<Wanted>(body) {
            Ok(mut wanted) => {
                if wanted.author.is_empty() {
                    author.by.clone_into(&mut wanted.author);
                }
                silenced(desk, wanted).await
            }
            Err(why) => answer::bad_request(&why),
        },
        ("DELETE", ["silences", id]) => match desk.watch.unsilence(id, &author.by).await {
            Ok(true) => answer::json(&json!({ "changes": [format!("silence {id} has ended")] })),
            Ok(false) => answer::not_found(
                "there is no such silence; `cirque alerts list` shows those that there are\n",
            ),
            Err(error) => unavailable(&error.to_string()),
        },
        ("POST", ["test"]) => match super::api::read::<Tested>(body) {
            Ok(Tested { channel }) => {
                let outcomes = desk.watch.test(channel.as_deref()).await;
                answer::json(&json!({ "channels": outcomes.iter().map(shown).collect::<Vec<_>>() }))
            }
            Err(why) => answer::bad_request(&why),
        },
        (_, [] | ["history" | "word"]) => answer::wrong_method("GET"),
        (_, ["silences", _]) => answer::wrong_method("DELETE"),
        _ => answer::wrong_method("POST"),
    }
}

async fn silenced(desk: &Desk, wanted: Wanted) -> Answer {
    match desk.watch.silence(wanted).await {
        Ok(silence) => answer::json(&silence),
        Err(NotSilenced::Refused(refused)) => answer::bad_request(&refused.to_string()),
        Err(NotSilenced::Unreachable(error)) => unavailable(&error.to_string()),
    }
}

fn shown((channel, outcome): &(&'static str, Outcome)) -> serde_json::Value {
    let why = match outcome {
        Outcome::Sent => "",
        Outcome::Later { why, .. } | Outcome::Refused(why) | Outcome::Gone(why) => why,
    };
    json!({ "channel": channel, "outcome": outcome.word(), "why": why })
}

fn unavailable(why: &str) -> Answer {
    answer::problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
}
