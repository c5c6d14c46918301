//! Decides which kinds of jobs there are: in which queue each waits, how often and how long it is tried.
//!
//! Whoever adds one adds the doing of it in `listeners.rs`; which events lead to it stands in `events.rs`.

use std::time::Duration;

use crate::queue::{Kind, Queue};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Tells caches outside of what has changed.
pub const CLEAR_POST_CACHE: &Kind = &Kind {
    name: "clear_post_cache",
    queue: Queue::Default,
    tries: 15,
    time: secs(30),
    first_wait: secs(2),
    longest_wait: secs(600),
};

/// Brings the part of the sitemap up to date that a post is in.
pub const UPDATE_SITEMAP: &Kind = &Kind {
    name: "update_sitemap",
    queue: Queue::Default,
    tries: 15,
    time: secs(60),
    first_wait: secs(2),
    longest_wait: secs(600),
};

/// Writes a mail job for each subscriber, batch by batch.
pub const NOTIFY_SUBSCRIBERS: &Kind = &Kind {
    name: "notify_subscribers",
    queue: Queue::Default,
    tries: 15,
    time: secs(120),
    first_wait: secs(2),
    longest_wait: secs(600),
};

/// Adds up views.
pub const TRACK_POST_ANALYTICS: &Kind = &Kind {
    name: "track_post_analytics",
    queue: Queue::Default,
    tries: 25,
    time: secs(60),
    first_wait: secs(1),
    longest_wait: secs(600),
};

/// Writes a call for each webhook that wants to hear of an event.
pub const CALL_WEBHOOKS: &Kind = &Kind {
    name: "call_webhooks",
    queue: Queue::Default,
    tries: 15,
    time: secs(30),
    first_wait: secs(2),
    longest_wait: secs(600),
};

/// Tells one subscriber of one post.
pub const MAIL_SUBSCRIBER: &Kind = &Kind {
    name: "mail_subscriber",
    queue: Queue::Mail,
    tries: 12,
    time: secs(60),
    first_wait: secs(10),
    longest_wait: secs(3600),
};

/// Asks somebody by mail whether they asked.
pub const MAIL_CONFIRMATION: &Kind = &Kind {
    name: "mail_confirmation",
    queue: Queue::Mail,
    tries: 12,
    time: secs(60),
    first_wait: secs(10),
    longest_wait: secs(3600),
};

/// Calls one webhook.
pub const CALL_WEBHOOK: &Kind = &Kind {
    name: "call_webhook",
    queue: Queue::Webhooks,
    tries: 10,
    time: secs(30),
    first_wait: secs(5),
    longest_wait: secs(6 * 3600),
};

/// Removes what is too old to matter: visitors of days gone, subscribers who never confirmed.
pub const FORGET: &Kind = &Kind {
    name: "forget",
    queue: Queue::Default,
    tries: 5,
    time: secs(120),
    first_wait: secs(30),
    longest_wait: secs(600),
};

/// Publishes posts whose moment has come. One that fails is tried again by the next tick anyhow.
pub const PUBLISH_SCHEDULED: &Kind = &Kind {
    name: "publish_scheduled",
    queue: Queue::Default,
    tries: 3,
    time: secs(60),
    first_wait: secs(2),
    longest_wait: secs(15),
};

/// Every kind.
pub const ALL: &[&Kind] = &[
    CLEAR_POST_CACHE,
    UPDATE_SITEMAP,
    NOTIFY_SUBSCRIBERS,
    TRACK_POST_ANALYTICS,
    CALL_WEBHOOKS,
    MAIL_SUBSCRIBER,
    MAIL_CONFIRMATION,
    CALL_WEBHOOK,
    FORGET,
    PUBLISH_SCHEDULED,
];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_waits_that_grow() {
        let names: BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
        for kind in ALL {
            assert!(kind.tries > 0 && kind.first_wait < kind.longest_wait, "{}", kind.name);
        }
    }
}
