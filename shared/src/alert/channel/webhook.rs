//! Writes a message in Alertmanager's JSON, version 4, and signs it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{annotations, labels};
use crate::alert::message::Message;
use crate::alert::{Alert, Labels, Millis, hex, shown};
use crate::config::secret::Secret;

/// Alerts in a message; the others are counted.
const MOST_ALERTS: usize = 100;

/// What Alertmanager writes for an end that is not known.
const NO_END: &str = "0001-01-01T00:00:00Z";

pub(super) fn body(message: &Message) -> Value {
    let one = |alert: &Alert, is_firing: bool| {
        json!({
            "status": if is_firing { "firing" } else { "resolved" },
            "labels": labels(alert),
            "annotations": annotations(alert, message),
            "startsAt": shown(alert.since),
            "endsAt": if is_firing { NO_END.to_owned() } else { shown(message.at) },
            "generatorURL": message.dashboard,
            "fingerprint": alert.fingerprint(),
        })
    };
    let firing = message.firing.iter().map(|alert| (alert, true));
    let all: Vec<(&Alert, bool)> =
        firing.chain(message.resolved.iter().map(|alert| (alert, false))).collect();
    let alerts: Vec<Value> =
        all.iter().take(MOST_ALERTS).map(|(alert, is_firing)| one(alert, *is_firing)).collect();
    let group: Labels = [("alertname".to_owned(), message.key.clone())].into();
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname=\"{}\"}}", message.key),
        "truncatedAlerts": all.len().saturating_sub(MOST_ALERTS),
        "status": if message.is_resolved { "resolved" } else { "firing" },
        "receiver": "cirque",
        "groupLabels": group,
        "commonLabels": common(all.iter().map(|(alert, _)| labels(alert))),
        "commonAnnotations": common(all.iter().map(|(alert, _)| annotations(alert, message))),
        "externalURL": "",
        "alerts": alerts,
    })
}

/// What all of them have.
fn common(mut all: impl Iterator<Item = Labels>) -> Labels {
    let mut common = all.next().unwrap_or_default();
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

/// `X-Cirque-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`, so that nobody can say it again later.
pub(super) fn signed(key: &Secret, body: &str, now: Millis) -> Vec<(&'static str, String)> {
    if key.is_empty() {
        return Vec::new();
    }
    let seconds = now / 1000;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("a key of any length will do");
    mac.update(format!("{seconds}.{body}").as_bytes());
    vec![("x-cirque-signature", format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes())))]
}
