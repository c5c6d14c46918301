//! Decides who does which job: the one table from kinds to what is done, for workers of any process.

mod call_webhook;
mod call_webhooks;
mod clear_post_cache;
mod forget;
mod mail_confirmation;
mod mail_subscriber;
mod notify_subscribers;
mod publish_scheduled;
mod track_post_analytics;
mod update_sitemap;

use std::time::Duration;

use crate::jobs;
use crate::mail::Mailer;
use crate::posts::schedule;
use crate::queue::leader::Schedule;
use crate::queue::worker::{Duties, Worker};
use crate::queue::{Delivery, Failed, Handlers, Kind, Queue, Work};
use crate::state::AppState;

/// Does a job of one kind.
type Doer = fn(AppState, Delivery) -> Work;

/// Every kind, and who does it.
const DOERS: &[(&Kind, Doer)] = &[
    (jobs::CLEAR_POST_CACHE, clear_post_cache::run),
    (jobs::UPDATE_SITEMAP, update_sitemap::run),
    (jobs::NOTIFY_SUBSCRIBERS, notify_subscribers::run),
    (jobs::MAIL_SUBSCRIBER, mail_subscriber::run),
    (jobs::MAIL_CONFIRMATION, mail_confirmation::run),
    (jobs::TRACK_POST_ANALYTICS, track_post_analytics::run),
    (jobs::CALL_WEBHOOKS, call_webhooks::run),
    (jobs::CALL_WEBHOOK, call_webhook::run),
    (jobs::FORGET, forget::run),
    (jobs::PUBLISH_SCHEDULED, publish_scheduled::run),
];

/// What is done again and again, by one process for all.
const SCHEDULES: &[Schedule] = &[
    Schedule {
        name: "forget",
        kind: jobs::FORGET,
        every: Duration::from_secs(3600),
        offset: Duration::from_secs(7 * 60),
    },
    Schedule {
        name: "publish_scheduled",
        kind: jobs::PUBLISH_SCHEDULED,
        every: schedule::EVERY,
        offset: Duration::ZERO,
    },
];

/// What a worker of this version can do.
#[derive(Clone, Debug)]
pub struct Listeners(pub AppState);

impl Handlers for Listeners {
    fn kind(&self, name: &str) -> Option<&'static Kind> {
        jobs::kind(name)
    }

    fn run(&self, delivery: Delivery) -> Work {
        match DOERS.iter().find(|(kind, _)| kind.name == delivery.kind) {
            Some((_, doer)) => doer(self.0.clone(), delivery),
            None => Box::pin(async { Err(Failed::now("nobody does such jobs")) }),
        }
    }
}

/// A worker over `state` for these queues.
pub fn worker(state: &AppState, queues: Vec<Queue>, grace: Duration) -> Worker {
    for kind in jobs::ALL.iter().filter(|kind| queues.contains(&kind.queue)) {
        state.queue_metrics.kind(kind.queue.word(), kind.name);
    }
    Worker {
        db: state.db.clone(),
        handlers: std::sync::Arc::new(Listeners(state.clone())),
        duties: Duties(SCHEDULES),
        config: state.queue.clone(),
        queues,
        metrics: state.queue_metrics.clone(),
        traces: state.traces.clone(),
        bell: state.bell.clone(),
        clock: state.clock.clone(),
        grace,
    }
}

/// The way to the mail server; a process without one leaves mails to those that have it.
fn mailer(state: &AppState) -> Result<&Mailer, Failed> {
    state.mailer.as_ref().ok_or_else(|| Failed::now("no mail server is configured here: set mail.smtp"))
}

/// Reads what a job is about.
fn about<T: serde::de::DeserializeOwned>(delivery: &Delivery) -> Result<T, Failed> {
    serde_json::from_str(&delivery.payload)
        .map_err(|error| Failed::for_good(format!("could not read what the job is about: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_job_is_done_by_somebody() {
        for kind in jobs::ALL {
            assert_eq!(DOERS.iter().filter(|(known, _)| known.name == kind.name).count(), 1, "{}", kind.name);
        }
        assert_eq!(DOERS.len(), jobs::ALL.len());
    }
}
