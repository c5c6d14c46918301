//! Decides how what a request may say is described: by the rules it is checked with.

use serde_json::{Map, Value, json};

use super::operations::Operation;
use crate::body::{self, Field, Presence};
use crate::query::{NAMES, Rule, Spec};
use crate::steering::handlers::QUEUE_WORDS;

/// No control characters but those of plain text.
const LETTER: &str = r"[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]";
/// The longest text that is written with its bounds in a pattern.
const COUNTED: usize = 1000;

/// The parameters of an operation.
pub(super) fn of(operation: &Operation) -> Vec<Value> {
    let mut parameters: Vec<Value> = in_path(operation).collect();
    parameters.extend(operation.specs.iter().map(in_query));
    let header = |name: &str, about: &str, schema: Value| json!({ "name": name, "in": "header", "description": about, "schema": schema });
    let tags = |format: &str| json!({ "type": "string", "format": format });
    if operation.is_kept {
        parameters.push(header(
            "If-None-Match",
            "Tags of answers that the client holds; 304 when one of them is still the answer.",
            tags("entity-tags"),
        ));
    }
    if operation.more.contains(&412) {
        parameters.push(header(
            "If-Match",
            "The tag of the post as the client knows it; 412 when it has changed since.",
            tags("known-entity-tags"),
        ));
    }
    if operation.takes_a_key() {
        parameters.push(header(
            "Idempotency-Key",
            "A name for this request, kept for 24 hours: sent again with it, the request is carried out once.",
            json!({ "type": "string", "format": "idempotency-key", "pattern": "^[!-~]{1,255}$" }),
        ));
    }
    parameters
}

/// Names in the path. Reading a post takes its slug, changing it its id.
fn in_path(operation: &Operation) -> impl Iterator<Item = Value> {
    let group = operation.group;
    let takes_an_id = matches!(group, "jobs" | "webhooks") || group == "posts" && operation.method != "get";
    let names = operation.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(move |name| {
        let (about, schema) = match name {
            "queue" => ("The queue's name.", json!({ "type": "string", "enum": QUEUE_WORDS })),
            _ if takes_an_id => ("Its id.", json!({ "type": "integer", "format": "int64", "minimum": 1 })),
            _ => ("Its name in addresses.", json!({ "type": "string", "minLength": 1, "maxLength": 200 })),
        };
        json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
    })
}

fn in_query(spec: &Spec) -> Value {
    let mut parameter = json!({ "name": spec.name, "in": "query", "description": spec.about });
    if spec.required {
        parameter["required"] = true.into();
    }
    parameter["schema"] = schema_of(spec);
    if matches!(spec.rule, Rule::List(_)) {
        parameter["style"] = "form".into();
        parameter["explode"] = false.into();
    }
    parameter
}

/// What a value may be. An empty one is as good as none, unless it is required.
fn schema_of(spec: &Spec) -> Value {
    let empty = json!({ "type": "string", "maxLength": 0 });
    let or_empty = |schema: Value| json!({ "anyOf": [schema, empty] });
    match spec.rule {
        Rule::Text(least, most) if spec.required => text(least, most),
        Rule::Text(least, most) => or_empty(text(least, most)),
        Rule::Cursor => {
            or_empty(json!({ "type": "string", "format": "cursor", "pattern": "^[A-Za-z0-9_-]+$" }))
        }
        Rule::Number(least, most) => {
            or_empty(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Rule::Id => or_empty(id()),
        Rule::Flag => json!({ "enum": ["true", "false", "1", "0", "yes", "no", "on", "off", ""] }),
        Rule::Word(words) => {
            let mut words: Vec<&str> = words.to_vec();
            words.push("");
            json!({ "enum": words })
        }
        Rule::List(names) => {
            json!({ "type": "array", "minItems": 1, "maxItems": NAMES, "items": { "enum": names() } })
        }
    }
}

fn id() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX })
}

fn text(least: usize, most: usize) -> Value {
    let count = if most > COUNTED { "*".to_owned() } else { format!("{{{least},{most}}}") };
    json!({ "type": "string", "minLength": least, "maxLength": most, "pattern": format!("^{LETTER}{count}$") })
}

/// A body of these fields, of which more may be said by `conditions`.
pub(super) fn body(fields: &[Field], conditions: fn() -> Value) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| field.presence == Presence::Required).map(|field| field.name).collect();
    let mut body = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        body["required"] = json!(required);
    }
    if let (Some(body), Value::Object(conditions)) = (body.as_object_mut(), conditions()) {
        body.extend(conditions);
    }
    body
}

fn property(field: &Field) -> Value {
    let with = |format: &str, most: usize| {
        let mut text = text(1, most);
        text["format"] = format.into();
        text
    };
    let mut schema = match field.rule {
        body::Rule::Text(least, most) => text(least, most),
        body::Rule::Line(most) => with("line", most),
        body::Rule::Html(most) => with("html", most),
        body::Rule::Slug(most) => with("slug", most),
        body::Rule::Address(most) => {
            let mut address = with("web-address", most);
            address["pattern"] = r"^(https?://|/(?!/))\S*$".into();
            address
        }
        body::Rule::Id => id(),
        body::Rule::Ids(most) => {
            json!({ "type": "array", "maxItems": most, "uniqueItems": true, "items": id() })
        }
        body::Rule::Flag => json!({ "type": "boolean" }),
        body::Rule::Moment => json!({
            "anyOf": [{ "type": "string", "format": "date-time" }, { "type": "string", "format": "date" }],
        }),
        body::Rule::Word(words) => json!({ "type": "string", "enum": words }),
    };
    if field.presence == Presence::Clearable {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    schema["description"] = field.about.into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_described_by_the_rule_it_is_checked_with() {
        let of = |rule| schema_of(&Spec::new("x", rule, ""));
        assert_eq!(
            of(Rule::Number(1, 50))["anyOf"][0],
            json!({ "type": "integer", "minimum": 1, "maximum": 50 })
        );
        assert_eq!(of(Rule::Word(&["a", "b"])), json!({ "enum": ["a", "b", ""] }));
        let list = in_query(&Spec::new("fields", Rule::List(|| vec!["id".to_owned()]), "Some."));
        assert_eq!((&list["explode"], &list["schema"]["items"]["enum"]), (&json!(false), &json!(["id"])));
    }

    #[test]
    fn a_body_is_described_by_the_fields_it_is_read_with() {
        const FIELDS: &[Field] = &[
            Field::new("title", body::Rule::Line(9), Presence::Required, "A title."),
            Field::new("tags", body::Rule::Ids(3), Presence::Clearable, "Some."),
        ];
        let body = body(FIELDS, || json!({ "minProperties": 1 }));
        assert_eq!(body["required"], json!(["title"]));
        assert_eq!((&body["additionalProperties"], &body["minProperties"]), (&json!(false), &json!(1)));
        assert_eq!(body["properties"]["title"]["maxLength"], 9);
        assert_eq!(body["properties"]["tags"]["anyOf"][0]["maxItems"], 3);
    }
}
