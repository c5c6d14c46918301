//! Asks somebody by mail whether it was them who subscribed.

use serde::Deserialize;

use super::{about, mailer};
use crate::feeds::escaped;
use crate::mail::Mail;
use crate::mail_link::Purpose;
use crate::queue::{Delivery, Done, Work};
use crate::state::AppState;
use crate::subscriptions::link;
use crate::subscriptions::store::{self, Status};

#[derive(Deserialize)]
struct Requested {
    subscriber: i64,
}

pub(super) fn run(state: AppState, delivery: Delivery) -> Work {
    Box::pin(async move {
        let mailer = mailer(&state)?;
        let Requested { subscriber } = about(&delivery)?;
        let Some(to) = store::address(state.db.read_fresh(), subscriber, Status::Pending).await? else {
            return Ok(Done::Finished);
        };
        // The link counts from when they asked, however late the mail leaves.
        let confirm = link(&state, Purpose::Confirm, subscriber, delivery.created_at);
        let unsubscribe = link(&state, Purpose::Unsubscribe, subscriber, delivery.created_at);
        let site = &state.public_url;
        let text = format!(
            "Hello,\n\nsomebody, hopefully you, wants news of {site} to be sent to this address.\n\n\
             If it was you, follow this link within two days:\n{confirm}\n\n\
             If it was not, do nothing: no other mail will come.\n\n\
             To hear no more of it later:\n{unsubscribe}\n"
        );
        let (href, end, site) = (escaped(&confirm), escaped(&unsubscribe), escaped(site));
        let html = format!(
            "<p>Hello,</p><p>somebody, hopefully you, wants news of {site} to be sent to this address.</p>\
             <p>If it was you, <a href=\"{href}\">confirm it</a> within two days. If it was not, do nothing: no \
             other mail will come.</p><p><a href=\"{end}\">To hear no more of it later</a></p>"
        );
        let id = format!("confirm.{subscriber}.{}", delivery.event.as_deref().unwrap_or_default());
        let subject = "Please confirm your subscription".to_owned();
        mailer.send(Mail { to, subject, text, html, id, unsubscribe }).await?;
        Ok(Done::Finished)
    })
}
