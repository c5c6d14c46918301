//! Tells a cache in front of the site, a CDN, what has changed; the nodes' own caches learnt it with the change itself.

use serde_json::json;

use super::about;
use crate::changes::Tag;
use crate::events::PostChanged;
use crate::links::Links;
use crate::queue::{Delivery, Done, Failed, Work};
use crate::state::AppState;
use cirque_shared::report::chain;

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let Some(url) = &state.purge_url else { return Ok(Done::Finished) };
        let post: PostChanged = about(&delivery)?;
        let tags =
            [Tag::Posts, Tag::Post(post.id), Tag::Category(post.category_id), Tag::Author(post.author_id)];
        let links = Links { base: &state.public_url };
        let urls = ["v1", "v2"].map(|version| links.post(version, &post.slug));
        let body = json!({ "tags": tags.map(|tag| tag.to_string()), "urls": urls });
        let request = state.outbound.trusted().post(url).header("content-type", "application/json");
        let key = delivery.event.as_deref().unwrap_or_default();
        let request = request.header("idempotency-key", key).body(body.to_string());
        let answer = request.send().await.map_err(|error| Failed::now(chain(&error.without_url())))?;
        if answer.status().is_success() {
            return Ok(Done::Finished);
        }
        Err(Failed::now(format!("the cache in front answered {}", answer.status())))
    })
}
