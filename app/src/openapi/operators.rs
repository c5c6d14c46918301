//! Decides how what operators ask is described: jobs, webhooks, alerts and the log, each for an admin's token.
//!
//! Their bodies are read into types of `shared`, with one sentence about the first problem; so they are described here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::operations::{Access, Answer, Operation};
use super::schemas::{field, list, reference, text, text_or_null, whole};
use crate::alerting;
use crate::events::PUBLIC;
use crate::steering::handlers as queue;
use crate::webhooks::admin::LONGEST;

const QUEUE: &str = "/api/admin/queue";
const WEBHOOKS: &str = "/api/admin/webhooks";
const LOG: &str = "/api/admin/log";

/// Nothing that could not be shown in a line.
const READABLE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// Any rule.
const EVERY_RULE: &str = "*";

/// Levels of the log, alone or for parts of the program.
const LEVELS: &str = "^(?:[a-z0-9_:]+=)?(?:off|error|warn|info|debug|trace)(?:,(?:[a-z0-9_:]+=)?(?:off|error|warn|info|debug|trace)){0,19}$";

/// Everything that is described of it.
pub(super) fn operations() -> Vec<Operation> {
    let all = [of_jobs(), of_webhooks(), of_alerts_and_log()].concat();
    all.into_iter().map(|operation| Operation { access: Access::Token, ..operation }).collect()
}

fn of(
    group: &'static str,
    method: &'static str,
    path: &'static str,
    about: &'static str,
    answer: Answer,
) -> Operation {
    Operation { group, ..Operation::write(method, path, about, answer) }
}

fn of_jobs() -> Vec<Operation> {
    let json = Answer::Json;
    let jobs = |method, path, about, answer| of("jobs", method, path, about, answer);
    vec![
        jobs("get", QUEUE, "How many jobs of each queue wait, and since when.", json("Queues")),
        Operation {
            specs: queue::LIST,
            ..jobs("get", "/api/admin/queue/jobs", "Jobs, the newest first.", json("Jobs"))
        },
        jobs("get", "/api/admin/queue/jobs/{id}", "A job.", json("JobAnswer")),
        Operation {
            more: &[409],
            ..jobs(
                "post",
                "/api/admin/queue/jobs/{id}/retry",
                "Does a job again, or at once.",
                json("JobAnswer"),
            )
        },
        Operation {
            more: &[409],
            ..jobs(
                "post",
                "/api/admin/queue/jobs/{id}/discard",
                "Does not do a job any more.",
                json("JobAnswer"),
            )
        },
        jobs("post", "/api/admin/queue/{queue}/pause", "Takes no more jobs of a queue.", json("QueueAnswer")),
        jobs("post", "/api/admin/queue/{queue}/resume", "Takes jobs of a queue again.", json("QueueAnswer")),
    ]
}

fn of_webhooks() -> Vec<Operation> {
    let json = Answer::Json;
    let hooks = |method, path, about, answer| of("webhooks", method, path, about, answer);
    vec![
        hooks("get", WEBHOOKS, "Every webhook, without its secret.", json("Webhooks")),
        Operation {
            schema: Some(new_webhook),
            success: (201, "It is added; its secret is shown here only."),
            more: &[409],
            ..hooks("post", WEBHOOKS, "Adds a webhook.", json("NewWebhook"))
        },
        Operation {
            success: (204, "It is gone."),
            ..hooks("delete", "/api/admin/webhooks/{id}", "Removes a webhook.", Answer::Nothing)
        },
        hooks(
            "post",
            "/api/admin/webhooks/{id}/enable",
            "Switches a webhook on again that was switched off for its failures.",
            json("WebhookAnswer"),
        ),
    ]
}

fn of_alerts_and_log() -> Vec<Operation> {
    let json = Answer::Json;
    let alerts = |method, path, about, answer| of("alerts", method, path, about, answer);
    let log = |method, about| of("log", method, LOG, about, json("LogLevels"));
    vec![
        alerts("get", alerting::LIST, "What fires, where it is told, and what is silenced.", json("Alerts")),
        alerts("get", alerting::HISTORY, "What happened lately, the latest first.", json("AlertHistory")),
        Operation {
            schema: Some(new_silence),
            success: (201, "From now on."),
            ..alerts("post", alerting::SILENCES, "Tells nothing about a rule for a while.", json("Silence"))
        },
        Operation {
            success: (204, "It has ended."),
            ..alerts("delete", alerting::SILENCE, "Ends a silence.", Answer::Nothing)
        },
        Operation {
            schema: Some(test),
            ..alerts(
                "post",
                alerting::TEST,
                "Sends a message that says that it is a test, to one channel or to all.",
                json("AlertTest"),
            )
        },
        log("get", "Which lines this process writes to its log."),
        Operation { schema: Some(level), ..log("put", "Lets it write other lines for a while.") },
        log("delete", "Lets the configuration's level hold again."),
    ]
}

/// What these answer with, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let (number, flag) = (field("id"), |words: &[&str]| json!({ "type": "string", "enum": words }));
    let (moment, moment_or_null) = (field("created_at"), field("published_at"));
    let number_or_null = json!({ "type": ["integer", "null"] });
    let queue = whole(&[
        ("queue", flag(&queue::QUEUE_WORDS)),
        ("pending", number.clone()),
        ("delayed", number.clone()),
        ("running", number.clone()),
        ("buried", number.clone()),
        ("oldest", moment_or_null.clone()),
        ("paused_at", moment_or_null.clone()),
    ]);
    let job = whole(&[
        ("id", number.clone()),
        ("queue", text()),
        ("kind", text()),
        ("state", text()),
        ("reason", text_or_null()),
        ("event", text_or_null()),
        ("key", text_or_null()),
        // Each kind has its own.
        ("payload", json!({})),
        ("run_at", moment.clone()),
        ("attempt", number.clone()),
        ("failures", number.clone()),
        ("losses", number.clone()),
        ("owner", text_or_null()),
        ("errors", json!({})),
        ("created_at", moment),
        ("ended_at", moment_or_null.clone()),
    ]);
    let of_a_webhook = [
        ("id", number.clone()),
        ("url", text()),
        ("events", list(&flag(&PUBLIC))),
        ("failures", number.clone()),
        ("last_error", text_or_null()),
        ("disabled_at", moment_or_null),
    ];
    let mut of_a_new_one = of_a_webhook.to_vec();
    of_a_new_one.push(("secret", text()));
    let levels =
        [("configured", text()), ("level", text()), ("by", text_or_null()), ("seconds", number_or_null)];
    let data = |schema: &Value| whole(&[("data", schema.clone())]);
    let mut schemas = Map::new();
    for (name, schema) in [
        ("Queue", queue),
        ("Queues", data(&list(&reference("Queue")))),
        ("QueueAnswer", data(&reference("Queue"))),
        ("Job", job),
        ("Jobs", data(&list(&reference("Job")))),
        ("JobAnswer", data(&reference("Job"))),
        ("Webhook", whole(&of_a_webhook)),
        ("Webhooks", data(&list(&reference("Webhook")))),
        ("WebhookAnswer", data(&reference("Webhook"))),
        ("NewWebhook", data(&whole(&of_a_new_one))),
        ("LogLevels", whole(&levels)),
    ] {
        schemas.insert(name.to_owned(), schema);
    }
    schemas.extend(of_alerts());
    schemas
}

fn of_alerts() -> [(String, Value); 4] {
    let labels = json!({ "type": "object", "additionalProperties": text() });
    let moment = json!({ "type": "integer", "description": "Milliseconds since 1970 UTC." });
    let severity = json!({ "type": "string", "enum": ["info", "warning", "error", "critical", "emergency"] });
    let mut alert = whole(&[
        ("fingerprint", text()),
        ("state", json!({ "type": "string", "enum": ["pending", "firing", "muted"] })),
        ("rule", text()),
        ("severity", severity.clone()),
        ("labels", labels.clone()),
        ("summary", text()),
        ("since", field("created_at")),
    ]);
    alert["properties"]["muted"] =
        json!({ "type": "object", "description": "Which silence, or which rule explains it." });
    let mut channel = whole(&[("name", text()), ("min_severity", severity)]);
    channel["properties"]["disabled"] =
        json!({ "type": "string", "description": "Why it is not asked any more." });
    let happened = whole(&[
        ("at", moment.clone()),
        ("what", text()),
        ("rule", text()),
        ("labels", labels.clone()),
        ("detail", text()),
    ]);
    let silence = whole(&[
        ("id", text()),
        ("rule", text()),
        ("labels", labels),
        ("author", text()),
        ("reason", text()),
        ("from", moment.clone()),
        ("until", moment),
    ]);
    let tested = whole(&[("channel", text()), ("outcome", text()), ("why", text())]);
    let view = whole(&[
        ("standing", json!({ "type": "string", "enum": ["leads", "follows", "in_line"] })),
        ("alerts", list(&alert)),
        ("channels", list(&channel)),
        ("rules", list(&text())),
        ("silences", list(&reference("Silence"))),
    ]);
    [
        ("Alerts".to_owned(), view),
        ("AlertHistory".to_owned(), whole(&[("history", list(&happened))])),
        ("Silence".to_owned(), silence),
        ("AlertTest".to_owned(), whole(&[("channels", list(&tested))])),
    ]
}

/// A body of these fields, of which these must be there.
fn body(fields: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": fields, "required": required, "additionalProperties": false })
}

fn new_webhook(_: &Rules) -> Value {
    let fields = json!({
        "url": {
            "type": "string", "format": "public-address",
            "description": format!("Where it is called: http:// or https://, at most {LONGEST} letters, none of them blank."),
        },
        "events": {
            "type": "array",
            "items": { "type": "string", "enum": PUBLIC },
            "description": "What it hears of; all events when left out.",
        },
    });
    body(&fields, &["url"])
}

/// Rules by their names, each with the labels that its alerts can have; `None`: any.
pub(super) type Rules = BTreeMap<String, Option<BTreeSet<String>>>;

fn readable() -> Value {
    json!({ "type": "string", "pattern": READABLE })
}

fn new_silence(rules: &Rules) -> Value {
    let mut names: Vec<&str> = rules.keys().map(String::as_str).collect();
    names.push(EVERY_RULE);
    let fields = json!({
        "rule": { "type": "string", "enum": names, "description": "A rule's name; `*` is any, with labels." },
        "labels": {
            "type": "object",
            "additionalProperties": readable(),
            "description": "Only alerts with these labels; which ones they can have is a matter of the rule.",
        },
        "author": { "type": "string", "maxLength": 200, "pattern": READABLE, "description": "Who says so; the account when left out." },
        "reason": {
            "type": "string", "format": "line", "minLength": 1, "maxLength": 200,
            "pattern": r"^[^\u0000-\u001F\u007F-\u009F]*\S[^\u0000-\u001F\u007F-\u009F]*$",
            "description": "Why, for whoever wonders later.",
        },
        "seconds": {
            "type": "integer", "minimum": 1, "maximum": 90 * 24 * 3600, "description": "For how long.",
        },
    });
    let mut silence = body(&fields, &["rule", "reason", "seconds"]);
    let of_every: Option<BTreeSet<String>> =
        rules.values().cloned().try_fold(BTreeSet::new(), |all, labels| Some(&all | &labels?));
    let of_rule = |(name, labels): (&str, &Option<BTreeSet<String>>)| {
        let mut of_rule = json!({ "type": "object" });
        if let Some(names) = labels {
            let named = names.iter().map(|name| (name.clone(), readable())).collect::<Map<_, _>>();
            of_rule = json!({ "type": "object", "properties": named, "additionalProperties": false });
        }
        let mut required = vec!["rule"];
        if name == EVERY_RULE {
            of_rule["minProperties"] = 1.into();
            required.push("labels");
        }
        json!({ "properties": { "rule": { "const": name }, "labels": of_rule }, "required": required })
    };
    let each = rules.iter().map(|(name, labels)| of_rule((name, labels)));
    silence["oneOf"] = each.chain([of_rule((EVERY_RULE, &of_every))]).collect();
    silence
}

fn test(_: &Rules) -> Value {
    let about = "One channel, like `slack`; all when left out.";
    body(&json!({ "channel": { "type": ["string", "null"], "description": about } }), &[])
}

fn level(_: &Rules) -> Value {
    let fields = json!({
        "level": {
            "type": "string", "pattern": LEVELS,
            "description": "Like `debug`, or `info,cirque_app::queue=debug`.",
        },
        "seconds": {
            "type": ["integer", "null"], "minimum": 1, "maximum": 24 * 3600,
            "description": "For how long; 15 minutes when left out.",
        },
    });
    body(&fields, &["level"])
}
