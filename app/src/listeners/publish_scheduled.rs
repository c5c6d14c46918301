//! Publishes the posts whose moment has come.

use crate::posts::schedule;
use crate::queue::{Delivery, Done, Work};
use crate::state::AppState;

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let posts = schedule::publish(&state, &delivery.cause, state.clock.now()).await?;
        if posts > 0 {
            tracing::info!(posts, "scheduled posts were published");
        }
        Ok(Done::Finished)
    })
}
