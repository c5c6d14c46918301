//! Decides who gets mail about new posts: whoever asked for it and then said so again from their own mailbox.

pub mod handlers;
pub mod store;

use crate::mail_link::{self, Purpose};
use crate::moment::Moment;
use crate::state::AppState;

/// The path of subscriptions.
pub const PATH: &str = "/api/v2/subscriptions";
/// Where the link in the first mail leads.
pub const CONFIRM: &str = "/api/v2/subscriptions/confirm";
/// Where the link in every mail leads.
pub const UNSUBSCRIBE: &str = "/api/v2/subscriptions/unsubscribe";

/// The link by which a subscriber does one thing.
pub fn link(state: &AppState, purpose: Purpose, subscriber: i64, now: Moment) -> String {
    let path = match purpose {
        Purpose::Confirm => CONFIRM,
        Purpose::Unsubscribe => UNSUBSCRIBE,
    };
    format!("{}{path}?token={}", state.public_url, mail_link::make(&state.link_key, purpose, subscriber, now))
}
