//! What the admin interface answers about the level of the process's own log.

use bytes::Bytes;
use cirque_shared::telemetry::levels::{Levels, Wanted, levels};

use super::answer::{self, Answer};
use crate::control::Author;

/// What holds now.
pub(super) fn look() -> Answer {
    told(|levels| answer::json(&levels.shown()))
}

/// Sets other levels for a while, or ends them.
pub(super) fn change(method: &str, body: &Bytes, author: &Author) -> Answer {
    match method {
        "PUT" => match super::api::read::<Wanted>(body) {
            Ok(wanted) => told(|levels| match levels.set(&wanted, &author.by) {
                Ok(shown) => answer::json(&shown),
                Err(refused) => answer::bad_request(&refused.to_string()),
            }),
            Err(why) => answer::bad_request(&why),
        },
        "DELETE" => told(|levels| answer::json(&levels.reset())),
        _ => answer::wrong_method("GET, PUT, DELETE"),
    }
}

fn told(answer: impl FnOnce(&'static Levels) -> Answer) -> Answer {
    levels().map_or_else(|| answer::not_found("this process writes no log of its own\n"), answer)
}
