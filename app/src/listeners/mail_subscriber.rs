//! Tells one subscriber of one post, unless they or the post are gone meanwhile, at the pace of their domain.

use std::time::Duration;

use sea_query::{Expr, ExprTrait, OnConflict, Query};

use super::notify_subscribers::Told;
use super::{about, mailer};
use crate::config::Rate;
use crate::db::Error;
use crate::feeds::escaped;
use crate::links::Links;
use crate::mail::Mail;
use crate::mail_link::Purpose;
use crate::moment::Moment;
use crate::posts::writing::current;
use crate::queue::rate::{fits_at, granted};
use crate::queue::{Delivery, Done, Failed, Work};
use crate::state::AppState;
use crate::subscriptions::link;
use crate::subscriptions::store::{self, Status};

/// How late a mail may use the moment that was set aside for it.
const LATE: Duration = Duration::from_secs(10);

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let mailer = mailer(&state)?;
        let told: Told = about(&delivery)?;
        let Some(to) = store::address(state.db.read_fresh(), told.subscriber, Status::Confirmed).await?
        else {
            return Ok(Done::Finished);
        };
        let post = current(state.db.read_fresh(), told.post).await?.filter(|post| post.status == "published");
        let Some(post) = post else { return Ok(Done::Finished) };
        if let Some(rate) = state.mail_per_domain
            && let Some(slot) = wait(&state, &to, rate, told.slot).await?
        {
            let payload = serde_json::to_string(&Told { slot: Some(slot.0), ..told });
            let payload = payload.map_err(|error| Failed::for_good(error.to_string()))?;
            return Ok(Done::PutOff { until: slot, payload: Some(payload) });
        }
        let unsubscribe = link(&state, Purpose::Unsubscribe, told.subscriber, delivery.created_at);
        let address = Links { base: &state.public_url }.post("v2", &post.slug);
        let text = format!(
            "{}\n\n{}\n\nRead it: {address}\n\nTo hear no more of this site: {unsubscribe}\n",
            post.title, post.excerpt
        );
        let html = format!(
            "<h1>{}</h1><p>{}</p><p><a href=\"{}\">Read it</a></p><p><a href=\"{}\">Hear no more of this site</a></p>",
            escaped(&post.title),
            escaped(&post.excerpt),
            escaped(&address),
            escaped(&unsubscribe)
        );
        let id = format!("post.{}.{}", told.post, told.subscriber);
        mailer.send(Mail { to, subject: post.title, text, html, id, unsubscribe }).await?;
        Ok(Done::Finished)
    })
}

/// Until when a mail to `to` has to wait; `None` when it may leave now. A moment is set aside for each that waits, so
/// that they do not all ask again at once.
async fn wait(state: &AppState, to: &str, rate: Rate, slot: Option<i64>) -> Result<Option<Moment>, Error> {
    let now = state.clock.now();
    if slot.is_some_and(|slot| slot <= now.0 && now.since(Moment(slot)) <= LATE) {
        return Ok(None);
    }
    let domain = to.rsplit('@').next().unwrap_or_default();
    let mut writer = state.db.write().await?;
    let first = Query::insert()
        .into_table("mail_domains")
        .columns(["domain", "next_at"])
        .values_panic([domain.into(), 0_i64.into()])
        .on_conflict(OnConflict::column("domain").do_nothing().to_owned())
        .take();
    writer.execute(&first).await?;
    let select = Query::select()
        .column("next_at")
        .from("mail_domains")
        .and_where(Expr::col("domain").eq(domain))
        .lock_exclusive()
        .take();
    let counter: i64 = match writer.first(&select).await? {
        Some(row) => row.cells().take()?,
        None => 0,
    };
    let (fits, mut after) = granted(rate, counter, 1, now);
    let mut slot = None;
    if fits == 0 {
        let at = fits_at(rate, counter);
        (_, after) = granted(rate, counter, 1, at);
        slot = Some(at);
    }
    let count = Query::update()
        .table("mail_domains")
        .value("next_at", after)
        .and_where(Expr::col("domain").eq(domain))
        .take();
    writer.execute(&count).await?;
    writer.commit().await?;
    Ok(slot)
}
