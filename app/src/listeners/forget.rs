//! Forgets what is too old to matter: visitors of days gone, hours of months gone, those who never confirmed.

use super::Work;
use crate::queue::{Delivery, Done};
use crate::state::AppState;
use crate::{subscriptions, views};

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let now = state.clock.now();
        // Small steps: nobody waits behind one for long.
        while views::store::forget(&state.db, now).await? > 0 {}
        let mut writer = delivery.complete(&state.db, now).await?;
        subscriptions::store::forget(&mut writer, now).await?;
        writer.commit().await?;
        Ok(Done::Settled)
    })
}
