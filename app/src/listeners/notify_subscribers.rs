//! Decides who is told of a new post: every subscriber once, in batches that go on where they ended.
//!
//! Each step writes the mails of a batch and how far it came in one transaction: after a crash nothing is written
//! twice, nothing is left out. A post is announced once, however often it is published.

use sea_query::{OnConflict, Query};
use serde::{Deserialize, Serialize};

use super::about;
use crate::events::PostChanged;
use crate::jobs;
use crate::moment::Moment;
use crate::queue::enqueue::{New, enqueue};
use crate::queue::{Delivery, Done, Failed, Work};
use crate::state::AppState;
use crate::subscriptions::store;

/// Mails that are written in one transaction.
const BATCH: u64 = 500;

/// A mail to one subscriber about one post.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) post: i64,
    pub(super) subscriber: i64,
    /// When it may leave, by the rate of its domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) slot: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    #[serde(flatten)]
    post: PostChanged,
    /// Everybody up to this number has a job.
    #[serde(default)]
    up_to: i64,
}

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        if state.mailer.is_none() {
            return Ok(Done::Finished);
        }
        let mut progress: Progress = about(&delivery)?;
        let now = state.clock.now();
        let mut writer = delivery.complete(&state.db, now).await?;
        if progress.up_to == 0 && !is_news(&mut writer, progress.post.id, now).await? {
            writer.commit().await?;
            return Ok(Done::Settled);
        }
        let subscribers = store::confirmed(&mut writer, progress.up_to, BATCH).await?;
        let Some(last) = subscribers.last().copied() else {
            writer.commit().await?;
            return Ok(Done::Settled);
        };
        let mails = subscribers.iter().map(|subscriber| mail(&delivery, progress.post.id, *subscriber, now));
        let mails = mails.collect::<Result<Vec<New>, Failed>>()?;
        enqueue(&mut writer, &mails, now).await?;
        progress.up_to = last;
        let payload =
            serde_json::to_string(&progress).map_err(|error| Failed::for_good(error.to_string()))?;
        delivery.go_on_with(&mut writer, &payload, now).await?;
        writer.commit().await?;
        state.bell.ring();
        Ok(Done::Settled)
    })
}

async fn is_news(writer: &mut crate::db::Writer<'_>, post: i64, now: Moment) -> Result<bool, Failed> {
    let note = Query::insert()
        .into_table("notified_posts")
        .columns(["post_id", "notified_at"])
        .values_panic([post.into(), now.0.into()])
        .on_conflict(OnConflict::column("post_id").do_nothing().to_owned())
        .take();
    Ok(writer.execute(&note).await? > 0)
}

fn mail(delivery: &Delivery, post: i64, subscriber: i64, now: Moment) -> Result<New, Failed> {
    let payload = serde_json::to_string(&Told { post, subscriber, slot: None });
    let payload = payload.map_err(|error| Failed::for_good(error.to_string()))?;
    let cause = delivery.cause.clone();
    Ok(New { kind: jobs::MAIL_SUBSCRIBER, event: None, key: None, payload, run_at: now, cause })
}
