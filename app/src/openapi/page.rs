//! Decides how the document is shown to people: one page of plain HTML.

use std::fmt::Write as _;

use serde_json::Value;

use crate::feeds::escaped;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    h2{margin-top:2.5rem;text-transform:capitalize}h3{margin:1.5rem 0 .3rem;font:600 1rem ui-monospace,monospace}\
    table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;vertical-align:top;\
    padding:.25rem .6rem .25rem 0;border-top:1px solid #ddd}code{overflow-wrap:anywhere}";

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
    for group in ["posts", "categories", "tags", "authors", "feeds", "service"] {
        let _ = write!(html, "<h2>{group}</h2>");
        let paths = document["paths"].as_object().into_iter().flatten();
        for (path, operation) in paths.map(|(path, methods)| (path, &methods["get"])) {
            if operation["tags"][0] != group {
                continue;
            }
            let _ = write!(html, "<h3>GET {}</h3><p>{}</p>", escaped(path), text(&operation["summary"]));
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let queries: Vec<&Value> =
                parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
            if !queries.is_empty() {
                html.push_str(
                    "<table><tr><th>parameter</th><th>what it does</th><th>what it may be</th></tr>",
                );
                for query in queries {
                    let _ = write!(
                        html,
                        "<tr><td><code>{}</code></td><td>{}</td><td><code>{}</code></td></tr>",
                        text(&query["name"]),
                        text(&query["description"]),
                        escaped(&words(&query["schema"])),
                    );
                }
                html.push_str("</table>");
            }
        }
    }
    html.push_str("</body></html>");
    html
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
    match (&schema["minimum"], &schema["minLength"]) {
        (Value::Null, least) => format!("{least} to {} characters", schema["maxLength"]),
        (least, _) => format!("{least} to {}", schema["maximum"]),
    }
}
