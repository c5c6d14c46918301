//! Decides which messages each service takes: which fields there are, of which kind, and how long they may be.

use serde_json::Value;

use super::Taken;

/// Checks one message; what is wrong is handed to `fault`.
pub(super) fn judge(channel: &str, body: &Value, bytes: usize, fault: &mut dyn FnMut(String)) {
    let mut check = Check { fault };
    match channel {
        "slack" => slack(body, bytes, &mut check),
        "discord" => discord(body, &mut check),
        "pagerduty" => pagerduty(body, bytes, &mut check),
        _ => webhook(body, &mut check),
    }
}

/// What a message says, where its shape lets that be read.
pub(super) fn taken(channel: &str, body: &Value) -> Option<Taken> {
    let title = match channel {
        "slack" => body["text"].as_str()?.split('*').nth(1)?.to_owned(),
        "discord" => body["embeds"][0]["title"].as_str()?.to_owned(),
        "pagerduty" => {
            let summary = body["payload"]["summary"].as_str()?;
            summary.trim_start_matches("Resolved: ").split(": ").next()?.to_owned()
        }
        _ => body["alerts"][0]["annotations"]["title"].as_str()?.to_owned(),
    };
    let is_resolved = match channel {
        "pagerduty" => body["event_action"] == "resolve",
        "webhook" => body["status"] == "resolved",
        _ => title.starts_with("Resolved: "),
    };
    Some(Taken { title: title.trim_start_matches("Resolved: ").to_owned(), is_resolved })
}

struct Check<'f> {
    fault: &'f mut dyn FnMut(String),
}

impl Check<'_> {
    fn that(&mut self, holds: bool, what: &str, found: &Value) {
        if !holds {
            (self.fault)(format!("{what}: {found}"));
        }
    }

    /// An object with these fields: all of `needed`, none but those and `others`.
    fn object(&mut self, what: &str, value: &Value, needed: &[&str], others: &[&str]) {
        let Some(fields) = value.as_object() else { return self.that(false, what, value) };
        for name in needed {
            self.that(fields.contains_key(*name), &format!("{what} lacks {name}"), value);
        }
        for name in fields.keys().filter(|name| !needed.contains(&name.as_str())) {
            self.that(others.contains(&name.as_str()), &format!("{what} has {name}"), value);
        }
    }

    /// A text that is not empty and has at most so many characters.
    fn text(&mut self, what: &str, value: &Value, most: usize) {
        let length = value.as_str().map_or(0, |text| text.chars().count());
        self.that((1..=most).contains(&length), &format!("{what} has {length} characters"), value);
    }

    fn one_of(&mut self, what: &str, value: &Value, words: &[&str]) {
        self.that(value.as_str().is_some_and(|word| words.contains(&word)), what, value);
    }

    /// RFC 3339 in UTC, as in `2023-11-14T22:13:20Z`.
    fn moment(&mut self, what: &str, value: &Value) {
        let is_moment = |text: &str| {
            text.len() == 20
                && text.bytes().enumerate().all(|(at, byte)| match at {
                    4 | 7 => byte == b'-',
                    10 => byte == b'T',
                    13 | 16 => byte == b':',
                    19 => byte == b'Z',
                    _ => byte.is_ascii_digit(),
                })
        };
        self.that(value.as_str().is_some_and(is_moment), what, value);
    }

    fn address(&mut self, what: &str, value: &Value) {
        self.that(value.as_str().is_some_and(|url| url.starts_with("http")), what, value);
    }
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An incoming webhook with the guide's attachment.
fn slack(body: &Value, bytes: usize, check: &mut Check<'_>) {
    check.that(bytes < 13_000, "longer than Slack surely takes", &Value::from(bytes));
    check.object("the body", body, &["text", "attachments"], &[]);
    check.text("text", &body["text"], 3000);
    check.that(rows(&body["attachments"]).len() == 1, "one attachment", &body["attachments"]);
    let attachment = &body["attachments"][0];
    check.object("the attachment", attachment, &["color", "text", "fields", "footer", "ts", "fallback"], &[]);
    let first = body["text"].as_str().unwrap_or_default();
    let colors = [
        (":rotating_light:", "danger"),
        (":x:", "warning"),
        (":warning:", "warning"),
        (":information_source:", "good"),
        (":white_check_mark:", "good"),
    ];
    let color = colors.iter().find(|(sign, _)| first.starts_with(sign)).map(|(_, color)| *color);
    check.that(attachment["color"].as_str() == color, "a colour that is not its sign's", body);
    check.that(
        first.ends_with('*') && first.matches('*').count() == 2,
        "a title in asterisks",
        &body["text"],
    );
    for key in ["text", "fallback"] {
        check.text(key, &attachment[key], 3000);
    }
    check.text("footer", &attachment["footer"], 300);
    check.that(attachment["ts"].as_u64().is_some_and(|ts| ts < 10_000_000_000), "seconds", &attachment["ts"]);
    check.that(rows(&attachment["fields"]).len() <= 10, "ten fields", &attachment["fields"]);
    for field in rows(&attachment["fields"]) {
        check.object("a field", field, &["title", "value", "short"], &[]);
        check.text("a field's title", &field["title"], 2000);
        check.text("a field's value", &field["value"], 2000);
        check.that(field["short"] == true, "a short field", field);
    }
    // `<` begins a link or a mention of everybody, and nothing else.
    for piece in attachment["text"].as_str().unwrap_or_default().split('<').skip(1) {
        check.that(piece.starts_with("http"), "a sign of Slack's that was not escaped", &attachment["text"]);
    }
}

fn discord(body: &Value, check: &mut Check<'_>) {
    check.object("the body", body, &["embeds"], &["allowed_mentions"]);
    check.that(rows(&body["embeds"]).len() == 1, "one embed", &body["embeds"]);
    let embed = &body["embeds"][0];
    check.object("the embed", embed, &["title", "description", "color", "fields", "timestamp"], &["footer"]);
    check.text("title", &embed["title"], 256);
    check.text("description", &embed["description"], 4096);
    let colors = [0xFF_0000, 0xFF_6600, 0xFF_CC00, 0x00_99FF, 0x2E_CC71];
    check.that(embed["color"].as_u64().is_some_and(|color| colors.contains(&color)), "a colour", embed);
    check.moment("timestamp", &embed["timestamp"]);
    if embed["footer"].is_object() {
        check.object("the footer", &embed["footer"], &["text"], &[]);
        check.text("footer", &embed["footer"]["text"], 2048);
    }
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let mut all = length(&embed["title"]) + length(&embed["description"]) + length(&embed["footer"]["text"]);
    check.that(rows(&embed["fields"]).len() <= 25, "25 fields", &embed["fields"]);
    for field in rows(&embed["fields"]) {
        check.object("a field", field, &["name", "value", "inline"], &[]);
        check.text("a field's name", &field["name"], 256);
        check.text("a field's value", &field["value"], 1024);
        all += length(&field["name"]) + length(&field["value"]);
    }
    check.that(all <= 6000, "6000 characters in all", &Value::from(all));
}

/// Events API, version 2.
fn pagerduty(body: &Value, bytes: usize, check: &mut Check<'_>) {
    check.that(bytes <= 512 * 1024, "more than 512 kB", &Value::from(bytes));
    let others = ["client", "client_url", "links", "images"];
    check.object("the body", body, &["routing_key", "event_action", "dedup_key", "payload"], &others);
    check.one_of("event_action", &body["event_action"], &["trigger", "resolve"]);
    check.text("dedup_key", &body["dedup_key"], 255);
    let payload = &body["payload"];
    let others = ["timestamp", "component", "group", "class", "custom_details"];
    check.object("payload", payload, &["summary", "source", "severity"], &others);
    check.text("summary", &payload["summary"], 1024);
    check.text("source", &payload["source"], 255);
    check.one_of("severity", &payload["severity"], &["critical", "error", "warning", "info"]);
    check.moment("timestamp", &payload["timestamp"]);
    for link in rows(&body["links"]) {
        check.object("a link", link, &["href"], &["text"]);
        check.address("a link's href", &link["href"]);
    }
}

/// What Alertmanager sends, version 4.
fn webhook(body: &Value, check: &mut Check<'_>) {
    let fields = [
        "version",
        "groupKey",
        "truncatedAlerts",
        "status",
        "receiver",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "alerts",
    ];
    check.object("the body", body, &fields, &[]);
    check.that(body["version"] == "4", "the version", &body["version"]);
    check.one_of("status", &body["status"], &["firing", "resolved"]);
    check.that(!rows(&body["alerts"]).is_empty(), "an alert", body);
    let mut fires = false;
    for alert in rows(&body["alerts"]) {
        let fields = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"];
        check.object("an alert", alert, &fields, &[]);
        check.text("its name", &alert["labels"]["alertname"], 200);
        check.moment("startsAt", &alert["startsAt"]);
        check.moment("endsAt", &alert["endsAt"]);
        check.text("fingerprint", &alert["fingerprint"], 16);
        check.one_of("an alert's status", &alert["status"], &["firing", "resolved"]);
        fires |= alert["status"] == "firing";
        for (name, value) in body["commonLabels"].as_object().into_iter().flatten() {
            check.that(alert["labels"][name] == *value, "a common label that is not common", body);
        }
    }
    check.that(fires == (body["status"] == "firing"), "a status that is not that of its alerts", body);
}
