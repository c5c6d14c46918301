//! Decides how the API describes itself: an OpenAPI 3.1 document, made from the tables that requests are checked with.
//!
//! Parameters are described by the [`crate::query::Spec`]s and bodies by the [`crate::body::Field`]s that read them, and
//! answers by the fields they are written from. A generator like utoipa describes Rust types instead; here requests are
//! not read into types (all problems at once, no field twice), and most answers are parts that a client chooses, so its
//! types would be made for the description alone, and could differ from what happens.

mod operations;
mod operators;
mod page;
mod parameters;
mod schemas;

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, Uri};
use serde_json::{Map, Value, json};

use self::operations::{Access, Answer, Operation, operations};
use self::operators::Rules;
use crate::cache::{self, Caller, Made, Making, Shelf};
use crate::error::ApiError;
use crate::query::{Params, Rule};
use crate::state::AppState;

/// Where the document is.
pub const DOCUMENT: &str = "/api/openapi.json";
/// Where the readable page is.
pub const PAGE: &str = "/api/documentation";

const JSON: &str = "application/json";

/// The document; its server is at `public_url`, or wherever it was read when that is empty. `rules` are those that alerts
/// are made by.
pub fn document(public_url: &str, rules: &Rules) -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(&operation, rules);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cirque content API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Posts with their categories, tags and authors: by page in v1, by cursor with chosen \
                fields in v2. Every problem of a request is reported at once; unknown parameters are problems. Errors \
                are application/problem+json (RFC 9457) for clients that accept it. What is grouped under jobs, webhooks, \
                alerts and log is for operators: it takes a token of an admin's, for jobs and webhooks one with the ability \
                queue:manage.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": if public_url.is_empty() { "/" } else { public_url } }],
        "paths": paths,
        "components": schemas::components(),
    })
}

fn described(operation: &Operation, rules: &Rules) -> Value {
    let mut described = json!({
        "summary": operation.about,
        "tags": [operation.group],
        "operationId": operation_id(operation),
        "parameters": parameters::of(operation),
        "responses": responses(operation),
    });
    let schema = operation.body.map(|fields| parameters::body(fields, operation.conditions));
    if let Some(schema) = schema.or_else(|| operation.schema.map(|schema| schema(rules))) {
        let content = json!({ JSON: { "schema": schema } });
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    if let Some(security) = operation.access.security() {
        described["security"] = security;
    }
    described
}

impl Access {
    /// Whose token is asked for.
    fn security(self) -> Option<Value> {
        match self {
            Self::Everybody => None,
            Self::Viewer => Some(json!([{}, { "token": [] }])),
            Self::Token => Some(json!([{ "token": [] }])),
        }
    }
}

fn responses(operation: &Operation) -> Value {
    let error = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    let mut responses = Map::new();
    let mut success = json!({ "description": operation.success.1 });
    let content = match operation.answer {
        Answer::Json(schema) => Some((JSON, schemas::reference(schema))),
        Answer::Text(media_type) => Some((media_type, json!({ "type": "string" }))),
        Answer::Nothing => None,
    };
    if let Some((media_type, schema)) = content {
        success["content"] = json!({ media_type: { "schema": schema } });
    }
    success["headers"] = operation.headers();
    if !operation.links.is_empty() {
        let links = operation.links.iter().map(|(name, link)| ((*name).to_owned(), link()));
        success["links"] = links.collect::<Map<_, _>>().into();
    }
    responses.insert(operation.success.0.to_string(), success);
    if operation.is_kept {
        let unchanged = json!({ "description": "What `If-None-Match` names is still the answer.", "headers": operation.headers() });
        responses.insert("304".into(), unchanged);
    }
    if operation.is_moved {
        let headers = json!({ "Location": schemas::header("Where the post is now.") });
        responses
            .insert("301".into(), json!({ "description": "It has another name now.", "headers": headers }));
    }
    for status in operation.refusals() {
        responses.insert(status.to_string(), error("Error"));
    }
    if let (Answer::Json(schema @ ("Health" | "Word")), "service") = (operation.answer, operation.group) {
        // 503 is their way of saying no.
        let content = json!({ JSON: { "schema": schemas::reference(schema) } });
        responses.insert("503".into(), json!({ "description": "No.", "content": content }));
    }
    responses.insert("default".into(), error("Error"));
    responses.into()
}

impl Operation {
    /// What the head of its answer has.
    fn headers(&self) -> Value {
        let mut headers = Map::new();
        let mut has = |name: &str| {
            let header = json!({ "$ref": format!("#/components/headers/{name}") });
            headers.insert(name.to_owned(), header);
        };
        has("X-Request-ID");
        if self.is_kept {
            ["ETag", "X-Cache", "X-Cache-TTL"].into_iter().for_each(&mut has);
        }
        if self.has_etag {
            has("ETag");
        }
        if self.success.0 == 201 && self.group == "posts" {
            has("Location");
        }
        if self.method != "get" {
            has("X-Consistency-Token");
        }
        headers.into()
    }

    /// Whether it is carried out once, however often it is sent with the same `Idempotency-Key`: every `POST`, but for
    /// signing in and out.
    fn takes_a_key(&self) -> bool {
        self.method == "post" && self.group != "accounts"
    }

    /// The statuses it may answer with when it does not do what was asked.
    fn refusals(&self) -> BTreeSet<u16> {
        let mut refusals = BTreeSet::from([503]);
        if self.group != "service" || self.is_kept {
            refusals.extend([422, 429]);
        }
        if self.path.contains('{') {
            refusals.extend([400, 404]);
        }
        if self.specs.iter().any(|spec| matches!(spec.rule, Rule::Cursor)) {
            refusals.insert(400);
        }
        if self.body.is_some() || self.schema.is_some() {
            refusals.extend([400, 413, 415]);
        }
        if self.takes_a_key() {
            refusals.insert(409);
        }
        match self.access {
            Access::Everybody => {}
            Access::Viewer => drop(refusals.insert(401)),
            Access::Token => refusals.extend([401, 403]),
        }
        refusals.extend(self.more);
        refusals
    }
}

fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty() && *word != "api");
    let path = words.collect::<Vec<_>>().join("_");
    if operation.method == "get" { path } else { format!("{}_{path}", operation.method) }
}

/// The rules as a part of an answer's name: the description changes when they do, and nodes may differ in them.
fn spelled(rules: &Rules) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    rules.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// `GET /api/openapi.json`.
///
/// # Errors
///
/// 422 for any parameter.
pub async fn openapi(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let (cache, rules) = (state.cache.clone(), state.watch.silenceable());
    let key = cache::key(DOCUMENT, &[("rules", spelled(&rules))]);
    let make = || -> Making {
        Box::pin(async move { Ok(Made::json(&document(&state.public_url, &rules), BTreeSet::new())) })
    };
    cache.answer(&caller, Shelf::V1Detail, key, make).await
}

/// `GET /api/documentation`: the same for people, without anything from elsewhere.
///
/// # Errors
///
/// 422 for any parameter.
pub async fn documentation(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let (cache, rules) = (state.cache.clone(), state.watch.silenceable());
    let key = cache::key(PAGE, &[("rules", spelled(&rules))]);
    let make = || -> Making {
        Box::pin(async move {
            let html = page::html(&document(&state.public_url, &rules));
            Ok(Made::of(html.into(), HeaderValue::from_static("text/html; charset=utf-8"), BTreeSet::new()))
        })
    };
    cache.answer(&caller, Shelf::V1Detail, key, make).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
        let document = document("", &Rules::new());
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        let names: BTreeSet<String> = operations().iter().map(operation_id).collect();
        assert_eq!(names.len(), operations().len());
        // Links lead to operations by their names.
        for operation in operations() {
            for (_, link) in operation.links {
                assert!(names.contains(link()["operationId"].as_str().unwrap()), "{}", link());
            }
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| collect(value, references));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }
}
