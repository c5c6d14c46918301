//! What the services would refuse is noticed.

use serde_json::json;

use super::shapes::{judge, taken};
use super::{Taken, Value};

fn faults(channel: &str, body: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    judge(channel, body, body.to_string().len(), &mut |fault| faults.push(fault));
    faults
}

fn slack() -> Value {
    json!({
        "text": ":warning: *Backend Down*",
        "attachments": [{ "fallback": "x", "color": "warning", "text": "x", "fields": [], "footer": "cirque", "ts": 1 }],
    })
}

#[test]
fn a_message_as_it_should_be_has_no_fault_and_any_other_has() {
    assert_eq!(faults("slack", &slack()), Vec::<String>::new());
    for (pointer, wrong) in [
        ("/text", json!("")),
        ("/text", json!(":x: *A* *B*")),
        ("/attachments", json!([])),
        ("/attachments/0/color", json!("danger")),
        ("/attachments/0/text", json!("x".repeat(3001))),
        ("/attachments/0/text", json!("<!channel> look")),
        ("/attachments/0/ts", json!("1")),
        ("/attachments/0/fields", json!([{ "title": "a", "value": "", "short": true }])),
    ] {
        let mut body = slack();
        *body.pointer_mut(pointer).unwrap() = wrong;
        assert!(!faults("slack", &body).is_empty(), "{body}");
    }
    let discord = json!({ "embeds": [{ "title": "x", "description": "x", "color": 0, "fields": [], "timestamp": "today" }] });
    assert_eq!(faults("discord", &discord).len(), 2, "colour and moment");
    let event = json!({ "routing_key": "x", "event_action": "trigger", "dedup_key": "x", "extra": 1,
        "payload": { "summary": "x", "source": "", "severity": "bad", "timestamp": "2023-11-14T22:13:20Z" } });
    assert_eq!(faults("pagerduty", &event).len(), 3);
    assert!(faults("webhook", &json!({})).len() > 10);
}

#[test]
fn what_was_taken_is_read_from_each_shape() {
    let is = |title: &str, is_resolved| Some(Taken { title: title.to_owned(), is_resolved });
    assert_eq!(taken("slack", &slack()), is("Backend Down", false));
    let over = json!({ "embeds": [{ "title": "Resolved: Backend Down" }] });
    assert_eq!(taken("discord", &over), is("Backend Down", true));
    let over =
        json!({ "event_action": "resolve", "payload": { "summary": "Resolved: Backend Down: it is back" } });
    assert_eq!(taken("pagerduty", &over), is("Backend Down", true));
    let fires = json!({ "status": "firing", "alerts": [{ "annotations": { "title": "Backend Down" } }] });
    assert_eq!(taken("webhook", &fires), is("Backend Down", false));
}
