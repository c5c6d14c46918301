//! Decides when scheduled posts are published: every node looks every few seconds, the database lets one of them do it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{store, writing};
use crate::db::Error;
use crate::moment::Moment;
use crate::state::AppState;

/// How often a node looks.
const EVERY: Duration = Duration::from_secs(15);

/// Looks until `stop`.
pub async fn run(state: AppState, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match publish(&state, state.clock.now()).await {
            Ok(0) => {}
            Ok(posts) => tracing::info!(posts, "scheduled posts were published"),
            Err(error) => {
                tracing::warn!(
                    error.chain = cirque_shared::report::chain(&error),
                    "could not publish scheduled posts; trying again soon"
                );
            }
        }
    }
}

/// Publishes every post whose moment has come, and says how many there were.
///
/// # Errors
///
/// Those of the database.
pub async fn publish(state: &AppState, now: Moment) -> Result<usize, Error> {
    let mut published = 0;
    // Without work, nobody takes the write lock.
    while store::is_any_due(state.db.read(), now).await? {
        let mut writer = state.db.write().await?;
        let posts = writing::publish_due(&mut writer, now).await?;
        writer.commit().await?;
        if posts == 0 {
            // Another node is at it.
            break;
        }
        published += posts;
    }
    if published > 0 {
        state.written().await;
    }
    Ok(published)
}
