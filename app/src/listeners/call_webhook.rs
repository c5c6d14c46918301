//! Calls one webhook, signed; switches it off when it has failed again and again.

use std::time::Duration;

use http::header::RETRY_AFTER;

use super::about;
use crate::queue::{Delivery, Done, Failed, Work};
use crate::state::AppState;
use crate::webhooks::{Call, signature, store};
use cirque_shared::report::chain;

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let call: Call = about(&delivery)?;
        let Some(webhook) = store::enabled(state.db.read_fresh(), call.webhook).await? else {
            return Ok(Done::Finished);
        };
        let outcome = send(&state, &webhook, &call).await;
        let error = outcome.as_ref().err().map(|failed| failed.message.as_str());
        let mut writer = state.db.write().await?;
        let disabled =
            store::note(&mut writer, call.webhook, error, state.webhook_failures, state.clock.now()).await?;
        writer.commit().await?;
        if disabled {
            tracing::error!(
                webhook = call.webhook,
                error,
                "webhook was switched off after failing again and again: see `cirque app webhook list`"
            );
        }
        outcome.map(|()| Done::Finished)
    })
}

async fn send(state: &AppState, webhook: &store::Webhook, call: &Call) -> Result<(), Failed> {
    let url = state.outbound.checked(&webhook.url).map_err(Failed::for_good)?;
    let seconds = state.clock.now().0.div_euclid(1000);
    let request = state
        .outbound
        .guarded()
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", &call.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature(&webhook.secret, &call.id, seconds, &call.body))
        .body(call.body.clone());
    let answer = request.send().await.map_err(|error| Failed::now(chain(&error.without_url())))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Failed {
        wait: asked.map(Duration::from_secs),
        ..Failed::now(format!("it answered {}", answer.status()))
    })
}
