//! Writes a message as Slack takes it: one attachment with a colour and fields.

use serde_json::{Value, json};

use super::spoken;
use crate::alert::Severity;
use crate::alert::message::Message;

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
                "title": escaped(&spoken(name), MOST_FIELD),
                "value": escaped(value, MOST_FIELD),
                "short": true,
            })
        })
        .collect();
    let title = escaped(&message.title, 150);
    let mut text = escaped(&message.text, MOST_TEXT - 600);
    for (name, url) in [("Runbook", &message.runbook), ("Dashboard", &message.dashboard)] {
        let link = escaped(url, 250);
        // A link that was cut leads nowhere.
        if !url.is_empty() && !link.ends_with('…') {
            text += &format!("\n<{link}|{name}>");
        }
    }
    json!({
        "text": format!("{emoji} *{title}*"),
        "attachments": [{
            "fallback": format!("{}: {}", message.severity.word(), title),
            "color": color,
            "text": text,
            "fields": fields,
            "footer": escaped(&message.sender, MOST_FIELD),
            "ts": message.at / 1000,
        }],
    })
}

/// A text with the three characters that mean something to Slack written as it wants them, in `most` characters with
/// that: of a longer one its beginning, and a sign that there was more.
fn escaped(text: &str, most: usize) -> String {
    let written = |c: char| match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        _ => 1,
    };
    let mut short = text;
    if text.chars().map(written).sum::<usize>() > most {
        let mut length = 1;
        let fits = text.char_indices().take_while(|(_, c)| {
            length += written(*c);
            length <= most
        });
        short = &text[..fits.last().map_or(0, |(at, c)| at + c.len_utf8())];
    }
    let sign = if short.len() < text.len() { "…" } else { "" };
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") + sign
}
