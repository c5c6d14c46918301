//! What is written for each channel, within its limits, and what its answers mean.

use serde_json::{Value, json};

use super::*;
use crate::alert::{Alert, Severity};

fn alert(backend: &str) -> Alert {
    Alert {
        rule: "HighErrorRate".into(),
        labels: [("backend".to_owned(), backend.to_owned())].into(),
        severity: Severity::Critical,
        title: "High Error Rate Detected".into(),
        summary: "42 errors".into(),
        facts: vec![],
        since: 1_700_000_000_000,
    }
}

fn message(severity: Severity, is_resolved: bool) -> Message {
    let (firing, resolved) =
        if is_resolved { (vec![], vec![alert("a")]) } else { (vec![alert("a"), alert("b")], vec![]) };
    Message {
        key: "HighErrorRate".into(),
        is_resolved,
        severity,
        title: "High Error Rate <Detected>".into(),
        text: "42 errors & more".into(),
        facts: vec![("error_count".into(), "42".into()), ("time_window".into(), "1 minute".into())],
        runbook: "https://example.com/HighErrorRate.md".into(),
        dashboard: String::new(),
        sender: "cirque".into(),
        at: 1_700_000_060_000,
        firing,
        resolved,
    }
}

#[test]
fn slack_gets_the_guides_shape() {
    assert_eq!(
        slack::body(&message(Severity::Critical, false)),
        json!({
            "text": ":rotating_light: *High Error Rate &lt;Detected&gt;*",
            "attachments": [{
                "fallback": "critical: High Error Rate &lt;Detected&gt;",
                "color": "danger",
                "text": "42 errors &amp; more\n<https://example.com/HighErrorRate.md|Runbook>",
                "fields": [
                    {"title": "Error count", "value": "42", "short": true},
                    {"title": "Time window", "value": "1 minute", "short": true},
                ],
                "footer": "cirque",
                "ts": 1_700_000_060,
            }],
        })
    );
    for (severity, is_resolved, emoji, color) in [
        (Severity::Emergency, false, ":rotating_light:", "danger"),
        (Severity::Error, false, ":x:", "warning"),
        (Severity::Warning, false, ":warning:", "warning"),
        (Severity::Info, false, ":information_source:", "good"),
        (Severity::Critical, true, ":white_check_mark:", "good"),
    ] {
        let body = slack::body(&message(severity, is_resolved));
        assert!(body["text"].as_str().unwrap().starts_with(emoji), "{body}");
        assert_eq!(body["attachments"][0]["color"], color);
    }
}

#[test]
fn discord_gets_the_guides_shape() {
    let body = discord::body(&message(Severity::Critical, false));
    assert_eq!(
        body["embeds"][0],
        json!({
            "title": "High Error Rate <Detected>",
            "description": "42 errors & more\n[Runbook](https://example.com/HighErrorRate.md)",
            "color": 0xFF_0000,
            "fields": [
                {"name": "Error count", "value": "42", "inline": true},
                {"name": "Time window", "value": "1 minute", "inline": true},
            ],
            "footer": {"text": "cirque"},
            "timestamp": "2023-11-14T22:14:20Z",
        })
    );
    assert_eq!(body["allowed_mentions"], json!({"parse": []}), "nobody is pinged by a label");
    for (severity, is_resolved, color) in [
        (Severity::Error, false, 0xFF_6600),
        (Severity::Warning, false, 0xFF_CC00),
        (Severity::Info, false, 0x00_99FF),
        (Severity::Critical, true, 0x2E_CC71),
    ] {
        assert_eq!(discord::body(&message(severity, is_resolved))["embeds"][0]["color"], color);
    }
}

fn enormous(letter: &str) -> Message {
    let long = letter.repeat(50_000);
    Message {
        title: long.clone(),
        text: long.clone(),
        facts: (0..100).map(|_| (long.clone(), long.clone())).collect(),
        sender: long.clone(),
        runbook: format!("https://example.com/{}", "x".repeat(10_000)),
        firing: (0..500).map(|n| alert(&n.to_string())).collect(),
        ..message(Severity::Critical, false)
    }
}

fn length(value: &Value) -> usize {
    value.as_str().unwrap().chars().count()
}

#[test]
fn whatever_there_is_to_say_stays_within_each_channels_limits() {
    let slack = slack::body(&enormous("ü"));
    let attachment = &slack["attachments"][0];
    assert!(length(&attachment["text"]) <= 3000 && attachment["fields"].as_array().unwrap().len() == 10);
    assert!(slack.to_string().chars().count() < 13_000, "{}", slack.to_string().chars().count());

    let embed = &discord::body(&enormous("ü"))["embeds"][0];
    let fields = embed["fields"].as_array().unwrap();
    assert!(length(&embed["title"]) <= 256 && length(&embed["description"]) <= 4096 && fields.len() <= 25);
    let of_fields: usize = fields.iter().map(|field| length(&field["name"]) + length(&field["value"])).sum();
    let all = length(&embed["title"])
        + length(&embed["description"])
        + length(&embed["footer"]["text"])
        + of_fields;
    assert!(all <= 6000, "{all}");
    assert!(!fields.is_empty());

    let event = pagerduty::body(&enormous("ü"), "key");
    assert!(length(&event["payload"]["summary"]) <= 1024 && length(&event["dedup_key"]) <= 255);
    assert!(event.to_string().len() < 512 * 1024, "{}", event.to_string().len());

    // What is said at all is never empty: Discord and PagerDuty refuse that.
    let mute = Message {
        facts: vec![("upstream".into(), String::new())],
        sender: String::new(),
        ..message(Severity::Critical, false)
    };
    let embed = &discord::body(&mute)["embeds"][0];
    assert_eq!((&embed["fields"][0]["value"], embed.get("footer")), (&json!("-"), None));
    assert_eq!(pagerduty::body(&mute, "key")["payload"]["source"], "cirque");

    let hook = webhook::body(&enormous("ü"));
    assert_eq!((hook["alerts"].as_array().unwrap().len(), &hook["truncatedAlerts"]), (100, &json!(400)));
}

#[test]
fn a_webhook_gets_alertmanagers_version_4() {
    let body = webhook::body(&message(Severity::Critical, false));
    for (key, expected) in [
        ("version", json!("4")),
        ("status", json!("firing")),
        ("receiver", json!("cirque")),
        ("groupKey", json!("{}:{alertname=\"HighErrorRate\"}")),
        ("groupLabels", json!({"alertname": "HighErrorRate"})),
        ("commonLabels", json!({"alertname": "HighErrorRate", "severity": "critical"})),
        ("truncatedAlerts", json!(0)),
        ("externalURL", json!("")),
    ] {
        assert_eq!(body[key], expected, "{key}");
    }
    let first = &body["alerts"][0];
    assert_eq!(
        first["labels"],
        json!({"alertname": "HighErrorRate", "backend": "a", "severity": "critical"})
    );
    assert_eq!(
        (&first["startsAt"], &first["endsAt"]),
        (&json!("2023-11-14T22:13:20Z"), &json!("0001-01-01T00:00:00Z"))
    );
    assert_eq!(first["fingerprint"], alert("a").fingerprint());
    let over = webhook::body(&message(Severity::Critical, true));
    assert_eq!((&over["status"], &over["alerts"][0]["status"]), (&json!("resolved"), &json!("resolved")));
    assert_eq!(over["alerts"][0]["endsAt"], "2023-11-14T22:14:20Z");
}

#[test]
fn a_webhook_is_signed_over_its_time_and_its_body() {
    // printf '1700000060.{}' | openssl dgst -sha256 -hmac hunter2
    let signed = webhook::signed(&Secret::new("hunter2"), "{}", 1_700_000_060_000);
    let (name, value) = &signed[0];
    assert_eq!(*name, "x-cirque-signature");
    assert_eq!(value, "t=1700000060,v1=f831f295076ffac254aabbde5a85e318bac3fe6e634946ba71ddd092124297d9");
    assert!(webhook::signed(&Secret::default(), "{}", 0).is_empty());
}

#[test]
fn pagerduty_triggers_and_resolves_under_one_key() {
    let firing = pagerduty::body(&message(Severity::Emergency, false), "secret");
    let over = pagerduty::body(&message(Severity::Emergency, true), "secret");
    assert_eq!((&firing["event_action"], &over["event_action"]), (&json!("trigger"), &json!("resolve")));
    assert_eq!(firing["dedup_key"], over["dedup_key"]);
    assert_eq!(firing["routing_key"], "secret");
    let payload = &firing["payload"];
    assert_eq!((&payload["severity"], &payload["source"]), (&json!("critical"), &json!("cirque")));
    assert_eq!(payload["custom_details"]["error_count"], "42");
    assert_eq!(firing["links"], json!([{"href": "https://example.com/HighErrorRate.md", "text": "Runbook"}]));
}

#[test]
fn an_alertmanager_is_told_until_when_it_may_believe_us() {
    let body = alertmanager::body(&message(Severity::Critical, false));
    assert_eq!(body[0]["endsAt"], "2023-11-14T22:18:20Z");
    assert_eq!(body[0]["labels"]["alertname"], "HighErrorRate");
    let over = alertmanager::body(&message(Severity::Critical, true));
    assert_eq!(over[0]["endsAt"], "2023-11-14T22:14:20Z");
}

#[test]
fn an_answer_has_its_meaning() {
    let later = |seconds: Option<f64>, status: u16| Outcome::Later {
        after: seconds.map(Duration::from_secs_f64),
        why: format!("answered {status}"),
    };
    for (status, retry_after, body, expected) in [
        (200, None, None, Outcome::Sent),
        (204, None, None, Outcome::Sent),
        (202, None, None, Outcome::Sent),
        (429, Some("7"), None, later(Some(7.0), 429)),
        (429, None, Some("{\"retry_after\": 1.5}"), later(Some(1.5), 429)),
        (429, None, Some("nonsense"), later(None, 429)),
        (429, Some("Tue, 14 Nov 2023 22:13:50 GMT"), None, later(Some(30.0), 429)),
        (503, Some("Tue, 14 Nov 2023 22:00:00 GMT"), None, later(Some(0.0), 503)),
        (503, Some("soon"), None, later(None, 503)),
        (429, Some("-3"), None, later(None, 429)),
        (429, Some("99999999"), None, later(Some(3600.0), 429)),
        (503, Some("30"), None, later(Some(30.0), 503)),
        (500, None, None, later(None, 500)),
        (408, None, None, later(None, 408)),
        (404, None, None, Outcome::Gone("answered 404".into())),
        (410, None, None, Outcome::Gone("answered 410".into())),
        (403, None, None, Outcome::Gone("answered 403".into())),
        (400, None, None, Outcome::Refused("answered 400".into())),
        (413, None, None, Outcome::Refused("answered 413".into())),
        (301, None, None, Outcome::Gone("answered 301".into())),
        (405, None, None, Outcome::Gone("answered 405".into())),
    ] {
        assert_eq!(
            verdict(status, retry_after, body, 1_700_000_000_000),
            expected,
            "{status} {retry_after:?} {body:?}"
        );
    }
}

#[test]
fn a_channel_is_not_asked_more_often_than_it_allows() {
    let channel = |to| Channel { name: "x", least: Severity::Info, to };
    for (to, allowed) in [
        // Its short bursts are not written down anywhere.
        (To::Slack(Secret::default()), 61),
        (To::Discord(Secret::default()), 30),
        (To::PagerDuty { url: String::new(), key: Secret::default() }, 120),
    ] {
        let rate = channel(to.clone()).rate();
        let in_a_minute = u64::from(rate.burst) + 60_000 / rate.each;
        assert!(in_a_minute <= allowed, "{to:?}: {in_a_minute}");
    }
}

#[test]
fn no_secret_is_in_the_debug_text_of_a_channel() {
    let to = To::Webhook { url: Secret::new("https://example.com/s3cret"), key: Secret::new("s3cret") };
    let channel = Channel { name: "webhook", least: Severity::Info, to };
    assert!(!format!("{channel:?}").contains("s3cret"));
}

#[test]
fn a_rest_is_taken_when_nothing_is_left_and_never_for_longer_than_an_hour() {
    let seconds = |n| Some(Duration::from_secs(n));
    for (left, reset, expected) in [
        (Some("0"), Some("2"), seconds(2)),
        (Some("0"), Some("0.5"), Some(Duration::from_millis(500))),
        (Some("0"), Some("1e30"), seconds(3600)),
        (Some("1"), Some("2"), None),
        (Some("0"), None, None),
        (None, Some("2"), None),
        (Some("0"), Some("-1"), None),
        (Some("0"), Some("NaN"), None),
        (Some("0"), Some("soon"), None),
    ] {
        assert_eq!(rest(left, reset), expected, "{left:?} {reset:?}");
    }
}

#[test]
fn letters_that_slack_wants_written_out_are_counted_as_they_are_written() {
    let attachment = &slack::body(&enormous("&"))["attachments"][0];
    let text = attachment["text"].as_str().unwrap();
    assert!(length(&attachment["text"]) <= 3000 && text.ends_with("&amp;…"), "{}", text.len());
    assert!(length(&attachment["footer"]) <= 300 && length(&attachment["fields"][0]["value"]) <= 300);
    // What fits is whole.
    let short = Message { text: "<".repeat(600), ..message(Severity::Info, false) };
    let attachment = &slack::body(&short)["attachments"][0];
    assert!(attachment["text"].as_str().unwrap().starts_with(&"&lt;".repeat(600)));
}
