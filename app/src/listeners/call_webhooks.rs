//! Writes a call for each webhook that wants to hear of an event, in the transaction that ends this job.

use serde_json::json;

use super::about;
use crate::events::PostChanged;
use crate::jobs;
use crate::links::Links;
use crate::queue::enqueue::{New, enqueue};
use crate::queue::{Delivery, Done, Failed, Work};
use crate::state::AppState;
use crate::webhooks::{Call, store};

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let post: PostChanged = about(&delivery)?;
        let event = about::<serde_json::Value>(&delivery)?["event"].as_str().unwrap_or_default().to_owned();
        let now = state.clock.now();
        let id = delivery.event.clone().unwrap_or_default();
        let body = json!({
            "type": event,
            "timestamp": delivery.created_at,
            "data": {
                "id": post.id, "slug": post.slug, "title": post.title, "previous_status": post.previous_status,
                "url": Links { base: &state.public_url }.post("v2", &post.slug),
            },
        });
        let mut writer = delivery.complete(&state.db, now).await?;
        let mut calls = Vec::new();
        for webhook in store::wanting(&mut writer, &event).await? {
            let call = Call { webhook, id: id.clone(), body: body.to_string() };
            let payload =
                serde_json::to_string(&call).map_err(|error| Failed::for_good(error.to_string()))?;
            let cause = delivery.cause.clone();
            calls.push(New { kind: jobs::CALL_WEBHOOK, event: None, key: None, payload, run_at: now, cause });
        }
        enqueue(&mut writer, &calls, now).await?;
        writer.commit().await?;
        state.bell.ring();
        Ok(Done::Settled)
    })
}
