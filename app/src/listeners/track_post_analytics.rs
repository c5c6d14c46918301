//! Adds up views that a node counted: once, because the sums and the end of the job are one transaction.

use super::about;
use crate::events::Views;
use crate::queue::{Delivery, Done, Work};
use crate::state::AppState;
use crate::views;

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let viewed: Views = about(&delivery)?;
        let mut writer = delivery.complete(&state.db, state.clock.now()).await?;
        views::store::add(&mut writer, &viewed).await?;
        writer.commit().await?;
        Ok(Done::Settled)
    })
}
