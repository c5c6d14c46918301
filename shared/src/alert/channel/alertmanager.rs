//! Writes a message as an Alertmanager takes alerts, which it then groups, silences and tells by itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::{annotations, labels, millis};
use crate::alert::message::Message;
use crate::alert::{Alert, Millis, shown};

/// How often what is still there is said again.
pub(super) const AGAIN: Duration = Duration::from_secs(60);

/// What is not said again for so long is over: two lost messages are no end.
const UNTIL: Duration = Duration::from_secs(240);

pub(super) fn body(message: &Message) -> Value {
    let one = |alert: &Alert, end: Millis| {
        json!({
            "labels": labels(alert),
            "annotations": annotations(alert, message),
            "startsAt": shown(alert.since),
            "endsAt": shown(end),
        })
    };
    let firing = message.firing.iter().map(|alert| one(alert, message.at + millis(UNTIL)));
    let resolved = message.resolved.iter().map(|alert| one(alert, message.at));
    firing.chain(resolved).collect()
}
