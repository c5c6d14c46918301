//! Decides when each channel is told what: one message at a time, at its pace, and what waits is decided anew.
//!
//! There is no queue that could overflow: what is due is what fires, less what was told. While a channel is slow,
//! problems come and go; once it takes messages again it hears of those that are still there, many of them at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::channel::{Answered, Channel, Outcome, Pace, Post};
use super::config::Settings;
use super::message::MOST_AT_ONCE;
use super::notice::Notice;
use super::watch::Inner;
use super::{Millis, now};
use crate::request_id::random;

/// How often a channel looks by itself: time passes without a bell.
const LOOK: Duration = Duration::from_millis(500);

/// Everything that is told by this process.
#[derive(Debug)]
pub(super) struct Outbox(Arc<Inner>);

impl Outbox {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// One task per channel; they are made anew when the settings change.
    pub(super) async fn run(self) {
        let post = match Post::new() {
            Ok(post) => post,
            Err(error) => {
                tracing::error!(%error, "alerts cannot be sent from this machine");
                return std::future::pending().await;
            }
        };
        loop {
            let settings = self.0.settings();
            let mut tasks = JoinSet::new();
            for channel in settings.channels.clone() {
                tasks.spawn(told(Arc::clone(&self.0), channel, post.clone()));
            }
            self.changed(&settings).await;
        }
    }

    async fn changed(&self, settings: &Arc<Settings>) {
        let mut bell = self.0.bell.subscribe();
        while Arc::ptr_eq(settings, &self.0.settings()) {
            if bell.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Tells one channel what is due there, for ever.
async fn told(inner: Arc<Inner>, channel: Channel, post: Post) {
    let mut bell = inner.bell.subscribe();
    let mut pace = Pace::new(channel.rate(), now());
    // Since when there is something to tell.
    let mut waiting = None;
    loop {
        // The bell is heard at once, and time without it.
        let _ = tokio::time::timeout(LOOK, bell.changed()).await;
        if pace.disabled().is_some() && !inner.is_disabled(channel.name) {
            pace = Pace::new(channel.rate(), now());
        }
        let at = now();
        if inner.due(&channel, at).is_empty() {
            waiting = None;
            continue;
        }
        let since = *waiting.get_or_insert(at);
        // A test may have found it gone, too.
        if inner.is_disabled(channel.name) || pace.ready_at(at).is_none_or(|ready| at < ready) {
            continue;
        }
        inner.hear().await;
        let at = now();
        let notices = chosen(inner.due(&channel, at), channel.is_for_people());
        let Some(message) = inner.message(&notices, at) else { continue };
        let answered = send(&inner, &channel, &post, &message, &notices, at).await;
        inner.note(channel.name, &answered.outcome, Duration::from_millis(now().saturating_sub(since)));
        pace.note(&answered, now(), random());
        if let Some(why) = pace.disabled() {
            inner.disable(channel.name, why);
        }
    }
}

/// The notices of the next message: the first, or, for people, all that come after the first few.
fn chosen(mut due: Vec<Notice>, is_for_people: bool) -> Vec<Notice> {
    if is_for_people && due.len() > MOST_AT_ONCE {
        // The worst ones are told one by one afterwards.
        return due.split_off(MOST_AT_ONCE - 1);
    }
    due.truncate(1);
    due
}

async fn send(
    inner: &Inner,
    channel: &Channel,
    post: &Post,
    message: &super::message::Message,
    notices: &[Notice],
    at: Millis,
) -> Answered {
    let is_first = notices.iter().all(|notice| notice.why == super::notice::Why::New);
    let answered = channel.send(post, message, is_first).await;
    let (name, rule) = (channel.name, message.key.as_str());
    match &answered.outcome {
        Outcome::Sent => inner.told(name, notices, at).await,
        Outcome::Later { why, .. } => {
            tracing::warn!(channel = name, rule, why, "alert could not be told yet")
        }
        // It would be refused again: it counts as told.
        Outcome::Refused(why) => {
            tracing::error!(
                channel = name,
                rule,
                why,
                "alert was refused by its channel and is not told there"
            );
            inner.told(name, notices, at).await;
        }
        // It is disabled, see there.
        Outcome::Gone(_) => {}
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notice::Why;

    fn due(count: usize) -> Vec<Notice> {
        let notice =
            |n: usize| Notice { group: format!("R{n}"), why: Why::New, firing: vec![], resolved: vec![] };
        (0..count).map(notice).collect()
    }

    #[test]
    fn a_flood_is_collapsed_for_people_and_not_for_machines() {
        assert_eq!(chosen(due(3), true).len(), 1);
        assert_eq!(chosen(due(5), true).len(), 1);
        let many: Vec<String> = chosen(due(20), true).into_iter().map(|notice| notice.group).collect();
        assert_eq!((many.len(), many[0].as_str()), (16, "R4"), "the four worst are told by themselves");
        assert_eq!(chosen(due(20), false).len(), 1);
    }
}
