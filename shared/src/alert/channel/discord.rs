//! Writes a message as Discord takes it: one embed, within its limits, that nobody is pinged by.

use serde_json::{Value, json};

use super::spoken;
use crate::alert::message::{Message, cut};
use crate::alert::{Severity, shown};

/// All texts of an embed together.
const MOST: usize = 6000;

/// Fields of an embed.
const MOST_FIELDS: usize = 25;

pub(super) fn body(message: &Message) -> Value {
    let color = match (message.is_resolved, message.severity) {
        (true, _) => 0x2E_CC71,
        (false, Severity::Critical | Severity::Emergency) => 0xFF_0000,
        (false, Severity::Error) => 0xFF_6600,
        (false, Severity::Warning) => 0xFF_CC00,
        (false, Severity::Info) => 0x00_99FF,
    };
    let title = cut(&message.title, 256);
    let footer = cut(&message.sender, 256);
    let mut links = String::new();
    for (name, url) in [("Runbook", &message.runbook), ("Dashboard", &message.dashboard)] {
        if !url.is_empty() && url.len() < 500 {
            links += &format!("\n[{name}]({url})");
        }
    }
    let description = cut(&message.text, 2500) + &links;
    // What is left for fields.
    let mut left = MOST - length(&title) - length(&footer) - length(&description);
    let mut fields = Vec::new();
    for (name, value) in message.facts.iter().take(MOST_FIELDS) {
        // An empty one would have the whole message refused.
        let value = if value.is_empty() { "-" } else { value };
        let (name, value) = (cut(&spoken(name), 256), cut(value, 1024));
        let Some(rest) = left.checked_sub(length(&name) + length(&value)) else { break };
        left = rest;
        fields.push(json!({ "name": name, "value": value, "inline": true }));
    }
    let mut embed = json!({
        "title": title,
        "description": description,
        "color": color,
        "fields": fields,
        "timestamp": shown(message.at),
    });
    if !footer.is_empty() {
        embed["footer"] = json!({ "text": footer });
    }
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

fn length(text: &str) -> usize {
    text.chars().count()
}
