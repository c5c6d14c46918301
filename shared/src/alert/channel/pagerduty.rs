//! Writes a message as PagerDuty's events take it: a problem is triggered and resolved under one key.

use serde_json::{Map, Value, json};

use crate::alert::message::{Message, cut};
use crate::alert::{Severity, shown};

pub(super) fn body(message: &Message, routing_key: &str) -> Value {
    let severity = match message.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical | Severity::Emergency => "critical",
    };
    let mut details = Map::new();
    for (name, value) in message.facts.iter().take(50) {
        details.insert(cut(name, 200), cut(value, 1000).into());
    }
    details.insert("text".to_owned(), cut(&message.text, 10_000).into());
    let links: Vec<Value> = [("Runbook", &message.runbook), ("Dashboard", &message.dashboard)]
        .into_iter()
        .filter(|(_, url)| !url.is_empty())
        .map(|(text, href)| json!({ "href": href, "text": text }))
        .collect();
    let first = message.text.lines().next().unwrap_or_default();
    let source = if message.sender.is_empty() { "cirque" } else { &message.sender };
    json!({
        "routing_key": routing_key,
        "event_action": if message.is_resolved { "resolve" } else { "trigger" },
        "dedup_key": cut(&format!("cirque/{}/{}", message.sender, message.key), 255),
        "client": "cirque",
        "links": links,
        "payload": {
            "summary": cut(&format!("{}: {first}", message.title), 1024),
            "source": cut(source, 255),
            "severity": severity,
            "timestamp": shown(message.at),
            "class": message.key,
            "custom_details": details,
        },
    })
}
