//! Writes a message as Slack takes it: one attachment with a colour and fields.

use serde_json::{Value, json};

use super::spoken;
use crate::alert::Severity;
use crate::alert::message::{Message, cut};

/// A field's name and value; more is folded away by Slack.
const MOST_FIELD: usize = 300;

/// Fields in an attachment.
const MOST_FIELDS: usize = 10;

/// Slack folds or refuses longer texts.
const MOST_TEXT: usize = 3000;

pub(super) fn body(message: &Message) -> Value {
    let emoji = match (message.is_resolved, message.severity) {
        (true, _) => ":white_check_mark:",
        (false, Severity::Critical | Severity::Emergency) => ":rotating_light:",
        (false, Severity::Error) => ":x:",
        (false, Severity::Warning) => ":warning:",
        (false, Severity::Info) => ":information_source:",
    };
    let color = match (message.is_resolved, message.severity) {
        (true, _) | (false, Severity::Info) => "good",
        (false, Severity::Critical | Severity::Emergency) => "danger",
        (false, Severity::Error | Severity::Warning) => "warning",
    };
    let fields: Vec<Value> = message
        .facts
        .iter()
        .take(MOST_FIELDS)
        .map(|(name, value)| {
            json!({
                "title": escaped(&cut(&spoken(name), MOST_FIELD)),
                "value": escaped(&cut(value, MOST_FIELD)),
                "short": true,
            })
        })
        .collect();
    let title = escaped(&cut(&message.title, 150));
    let mut text = escaped(&cut(&message.text, MOST_TEXT - 600));
    for (name, url) in [("Runbook", &message.runbook), ("Dashboard", &message.dashboard)] {
        if !url.is_empty() && url.len() < 250 {
            text += &format!("\n<{}|{name}>", escaped(url));
        }
    }
    json!({
        "text": format!("{emoji} *{title}*"),
        "attachments": [{
            "fallback": format!("{}: {}", message.severity.word(), title),
            "color": color,
            "text": text,
            "fields": fields,
            "footer": escaped(&cut(&message.sender, MOST_FIELD)),
            "ts": message.at / 1000,
        }],
    })
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
