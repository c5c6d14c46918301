//! Decides how the API describes itself: an OpenAPI 3.1 document, made from the tables that requests are checked with.

mod page;
mod schemas;

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, Uri};
use serde_json::{Map, Value, json};

use crate::authors::Author;
use crate::cache::{self, Caller, Made, Making, Shelf};
use crate::catalog::Kind;
use crate::categories::Category;
use crate::error::ApiError;
use crate::feeds;
use crate::posts::{handlers as posts, search, v1, v2};
use crate::query::{Params, Rule, Spec};
use crate::state::AppState;
use crate::tags::Tag;

/// Where the document is.
pub const DOCUMENT: &str = "/api/openapi.json";
/// Where the readable page is.
pub const PAGE: &str = "/api/documentation";

const JSON: &str = "application/json";

/// One thing that can be read.
struct Operation {
    path: &'static str,
    group: &'static str,
    about: &'static str,
    specs: &'static [Spec],
    media_type: &'static str,
    schema: Value,
}

impl Operation {
    fn new(
        path: &'static str,
        group: &'static str,
        about: &'static str,
        specs: &'static [Spec],
        schema: &str,
    ) -> Self {
        Self { path, group, about, specs, media_type: JSON, schema: schemas::reference(schema) }
    }

    fn text(path: &'static str, group: &'static str, about: &'static str, media_type: &'static str) -> Self {
        Self { path, group, about, specs: &[], media_type, schema: json!({ "type": "string" }) }
    }
}

fn operations() -> Vec<Operation> {
    let op = Operation::new;
    vec![
        op(v1::PATH, "posts", "A page of posts, by number.", posts::V1_LIST, "PostsByNumber"),
        op("/api/v1/posts/{slug}", "posts", "A post.", &[], "PostV1Answer"),
        op(Category::V1, "categories", "A page of categories.", Category::V1_LIST, "CategoriesByNumber"),
        op("/api/v1/categories/{slug}", "categories", "A category.", &[], "CategoryV1Answer"),
        op(
            "/api/v1/categories/{slug}/posts",
            "categories",
            "The posts of a category, by number.",
            posts::V1_IN_CATEGORY,
            "PostsByNumber",
        ),
        op(Tag::V1, "tags", "A page of tags.", Tag::V1_LIST, "TagsByNumber"),
        op("/api/v1/authors/{username}", "authors", "An author.", &[], "AuthorV1Answer"),
        op("/api/v2", "service", "What there is in v2, and where.", &[], "Index"),
        op(v2::PATH, "posts", "A page of posts, by cursor.", posts::V2_LIST, "PostsByCursor"),
        op("/api/v2/posts/{slug}", "posts", "A post, or a part of it.", posts::V2_SINGLE, "PostV2Answer"),
        op(
            Category::V2,
            "categories",
            "A page of categories, by cursor.",
            Category::V2_LIST,
            "CategoriesByCursor",
        ),
        op(
            "/api/v2/categories/{slug}",
            "categories",
            "A category, or a part of it.",
            Category::V2_SINGLE,
            "CategoryV2Answer",
        ),
        op(Tag::V2, "tags", "A page of tags, by cursor.", Tag::V2_LIST, "TagsByCursor"),
        op("/api/v2/tags/{slug}", "tags", "A tag, or a part of it.", Tag::V2_SINGLE, "TagV2Answer"),
        op(Author::V2, "authors", "A page of authors, by cursor.", Author::V2_LIST, "AuthorsByCursor"),
        op(
            "/api/v2/authors/{username}",
            "authors",
            "An author, or a part of what is known.",
            Author::V2_SINGLE,
            "AuthorV2Answer",
        ),
        op(search::PATH, "posts", "The posts that fit some words best.", search::SPECS, "Found"),
        op("/api/health", "service", "Whether the node can do its work.", &[], "Health"),
        op("/livez", "service", "Whether the process runs.", &[], "Word"),
        op("/readyz", "service", "Whether to send traffic here.", &[], "Word"),
        Operation::text("/api/metrics", "service", "Metrics, for Prometheus.", "text/plain"),
        Operation::text(feeds::SITEMAP, "feeds", "The index of the sitemap.", "application/xml"),
        Operation::text(feeds::SITEMAP_PART, "feeds", "A part of the sitemap.", "application/xml"),
        Operation::text(feeds::FEED, "feeds", "The newest posts, as Atom.", "application/atom+xml"),
    ]
}

/// The paths that are described.
pub fn paths() -> BTreeSet<&'static str> {
    operations().iter().map(|operation| operation.path).collect()
}

/// The document; its server is at `public_url`, or wherever it was read when that is empty.
pub fn document(public_url: &str) -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        paths.insert(operation.path.to_owned(), json!({ "get": described(&operation) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cirque content API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Posts with their categories, tags and authors: by page in v1, by cursor with chosen \
                fields in v2. Every problem of a request is reported at once; unknown parameters are problems.",
        },
        "servers": [{ "url": if public_url.is_empty() { "/" } else { public_url } }],
        "paths": paths,
        "components": schemas::components(),
    })
}

fn described(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = path_parameters(operation.path).collect();
    parameters.extend(operation.specs.iter().map(parameter));
    let error = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    let mut responses = json!({
        "200": {
            "description": "As asked.",
            "content": { operation.media_type: { "schema": operation.schema } },
        },
        "422": error("Error"),
        "429": error("Error"),
        "503": error("Error"),
        "default": error("Error"),
    });
    if operation.path.contains('{') {
        responses["404"] = error("Error");
    }
    if operation.specs.iter().any(|spec| spec.name == "cursor") {
        responses["400"] = error("Error");
    }
    if operation.schema == schemas::reference("Health") || operation.schema == schemas::reference("Word") {
        // 503 is their way of saying no.
        responses["503"] = json!({
            "description": "No.",
            "content": { JSON: { "schema": operation.schema } },
        });
    }
    json!({
        "summary": operation.about,
        "tags": [operation.group],
        "operationId": operation_id(operation.path),
        "parameters": parameters,
        "responses": responses,
    })
}

fn operation_id(path: &str) -> String {
    let words =
        path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty() && *word != "api");
    words.collect::<Vec<_>>().join("_")
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        json!({
            "name": name, "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 200 },
        })
    })
}

fn parameter(spec: &Spec) -> Value {
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
    const LETTER: &str = r"[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]";
    let empty = json!({ "type": "string", "maxLength": 0 });
    let or_empty = |schema: Value| json!({ "anyOf": [schema, empty] });
    match spec.rule {
        Rule::Text(least, most) => {
            let most = most.min(2000);
            let pattern = format!("^{LETTER}{{{least},{most}}}$");
            let text = json!({ "type": "string", "minLength": least, "maxLength": most, "pattern": pattern });
            if spec.required { text } else { or_empty(text) }
        }
        Rule::Number(least, most) => {
            or_empty(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Rule::Id => or_empty(json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX })),
        Rule::Flag => json!({ "enum": ["true", "false", "1", "0", "yes", "no", "on", "off", ""] }),
        Rule::Word(words) => {
            let mut words: Vec<&str> = words.to_vec();
            words.push("");
            json!({ "enum": words })
        }
        Rule::List(names) => {
            json!({ "type": "array", "minItems": 1, "maxItems": 30, "items": { "enum": names() } })
        }
    }
}

/// `GET /api/openapi.json`.
///
/// # Errors
///
/// 422 for any parameter.
pub async fn openapi(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move { Ok(Made::json(&document(&state.public_url), BTreeSet::new())) })
    };
    cache.answer(&caller, Shelf::V1Detail, cache::key(DOCUMENT, &[]), make).await
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
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let html = page::html(&document(&state.public_url));
            Ok(Made::of(html.into(), HeaderValue::from_static("text/html; charset=utf-8"), BTreeSet::new()))
        })
    };
    cache.answer(&caller, Shelf::V1Detail, cache::key(PAGE, &[]), make).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
        let document = document("");
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        let names: BTreeSet<String> =
            operations().iter().map(|operation| operation_id(operation.path)).collect();
        assert_eq!(names.len(), operations().len());
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

    #[test]
    fn a_parameter_is_described_by_the_rule_it_is_checked_with() {
        let of = |rule| schema_of(&Spec::new("x", rule, ""));
        assert_eq!(
            of(Rule::Number(1, 50))["anyOf"][0],
            json!({ "type": "integer", "minimum": 1, "maximum": 50 })
        );
        assert_eq!(of(Rule::Word(&["a", "b"])), json!({ "enum": ["a", "b", ""] }));
        let list = parameter(&Spec::new("fields", Rule::List(|| vec!["id".to_owned()]), "Some."));
        assert_eq!((&list["explode"], &list["schema"]["items"]["enum"]), (&json!(false), &json!(["id"])));
    }
}
