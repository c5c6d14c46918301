//! Brings one part of the sitemap up to date: how many posts it has, when one of them changed last.
//!
//! Changes that come close together are one job; only the part that a post is in is made anew, on every node.

use std::collections::BTreeSet;

use sea_query::{OnConflict, Query};

use super::about;
use crate::changes::{self, Tag};
use crate::events::{PostChanged, sitemap_part};
use crate::feeds;
use crate::queue::{Delivery, Done, Work};
use crate::state::AppState;

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let part = sitemap_part(about::<PostChanged>(&delivery)?.id);
        let now = state.clock.now();
        // Read before the transaction begins: what changes meanwhile has a job of its own.
        let (posts, changed_at) = feeds::part_summary(state.db.read_fresh(), part, now).await?;
        let mut writer = delivery.complete(&state.db, now).await?;
        let note = Query::insert()
            .into_table("sitemap_parts")
            .columns(["part", "posts", "changed_at"])
            .values_panic([part.into(), posts.into(), changed_at.0.into()])
            .on_conflict(OnConflict::column("part").update_columns(["posts", "changed_at"]).to_owned())
            .take();
        writer.execute(&note).await?;
        changes::bump(&mut writer, &BTreeSet::from([Tag::Sitemap, Tag::SitemapPart(part)])).await?;
        writer.commit().await?;
        state.cache.catch_up().await;
        Ok(Done::Settled)
    })
}
