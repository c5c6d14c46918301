//! Decides how scheduled posts are published: by a job that comes again and again, written by one process for all.

use std::time::Duration;

use super::{store, writing};
use crate::cause::Cause;
use crate::db::Error;
use crate::moment::Moment;
use crate::state::AppState;

/// How often they are looked for, so about how late one may be.
pub const EVERY: Duration = Duration::from_secs(15);

/// Publishes every post whose moment has come, and says how many there were.
///
/// # Errors
///
/// Those of the database.
pub async fn publish(state: &AppState, cause: &Cause, now: Moment) -> Result<usize, Error> {
    let mut published = 0;
    // Without work, nobody takes the write lock.
    while store::is_any_due(state.db.read_fresh(), now).await? {
        let mut writer = state.db.write().await?;
        let posts = writing::publish_due(&mut writer, cause, now).await?;
        writer.commit().await?;
        if posts == 0 {
            // Somebody else holds them.
            break;
        }
        published += posts;
    }
    if published > 0 {
        state.written().await;
    }
    Ok(published)
}
