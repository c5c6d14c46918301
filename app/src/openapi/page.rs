//! Decides how the document is shown to people: one page of plain HTML.

use std::fmt::Write as _;

use serde_json::Value;

use crate::feeds::escaped;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    h2{margin-top:2.5rem;text-transform:capitalize}h3{margin:1.5rem 0 .3rem;font:600 1rem ui-monospace,monospace}\
    table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;vertical-align:top;\
    padding:.25rem .6rem .25rem 0;border-top:1px solid #ddd}code{overflow-wrap:anywhere}";

const GROUPS: [&str; 12] = [
    "posts",
    "categories",
    "tags",
    "authors",
    "accounts",
    "subscriptions",
    "feeds",
    "service",
    "jobs",
    "webhooks",
    "alerts",
    "log",
];

/// The page of an OpenAPI document.
pub(super) fn html(document: &Value) -> String {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let info = &document["info"];
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>{title}</h1><p>{}</p><p>For machines: <a href=\"/api/openapi.json\">openapi.json</a>.</p>",
        text(&info["description"]),
        title = text(&info["title"]),
    );
    let paths = document["paths"].as_object();
    for group in GROUPS {
        let _ = write!(html, "<h2>{group}</h2>");
        for (path, methods) in paths.into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if operation["tags"][0] == group {
                    shown(&mut html, path, method, operation);
                }
            }
        }
    }
    html.push_str("</body></html>");
    html
}

fn shown(html: &mut String, path: &str, method: &str, operation: &Value) {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let token = match operation["security"].as_array().map(Vec::len) {
        None => "",
        Some(1) => " <em>With a token.</em>",
        Some(_) => " <em>With or without a token.</em>",
    };
    let method = method.to_ascii_uppercase();
    let _ = write!(html, "<h3>{method} {}</h3><p>{}{token}</p>", escaped(path), text(&operation["summary"]));
    let mut rows = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] != "path" {
            rows.push((
                text(&parameter["name"]),
                text(&parameter["description"]),
                words(&parameter["schema"]),
            ));
        }
    }
    let fields = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
    for (name, schema) in fields.as_object().into_iter().flatten() {
        rows.push((escaped(name), text(&schema["description"]), words(schema)));
    }
    if rows.is_empty() {
        return;
    }
    html.push_str("<table><tr><th>name</th><th>what it does</th><th>what it may be</th></tr>");
    for (name, about, words) in rows {
        let words = escaped(&words);
        let _ = write!(
            html,
            "<tr><td><code>{name}</code></td><td>{about}</td><td><code>{words}</code></td></tr>"
        );
    }
    html.push_str("</table>");
}

/// What a schema allows, in words.
fn words(schema: &Value) -> String {
    if let Some(first) = schema["anyOf"].get(0) {
        return words(first);
    }
    if let Some(names) = schema["enum"].as_array().or_else(|| schema["items"]["enum"].as_array()) {
        let names: Vec<&str> =
            names.iter().filter_map(Value::as_str).filter(|name| !name.is_empty()).collect();
        return names.join(if schema["type"] == "array" { ", " } else { " | " });
    }
    if schema["type"] == "array" {
        return format!("at most {}", schema["maxItems"]);
    }
    match (&schema["minimum"], &schema["minLength"]) {
        (Value::Null, Value::Null) => {
            schema["format"].as_str().or(schema["type"].as_str()).unwrap_or_default().to_owned()
        }
        (Value::Null, least) => format!("{least} to {} characters", schema["maxLength"]),
        (least, _) => format!("{least} to {}", schema["maximum"]),
    }
}
