//! Decides what answers look like, in JSON Schema: the fields are those that answers are written from.

use serde_json::{Map, Value, json};

use crate::authors::Author;
use crate::categories::{self, Category};
use crate::fields::Resource;
use crate::identity::Role;
use crate::posts::v2::V2Post;
use crate::tags::Tag;

/// A schema by its name.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema of a field, which has the same meaning wherever it is.
pub(super) fn field(name: &str) -> Value {
    match name {
        "id" | "view_count" | "reading_time" | "sort_order" | "posts_count" => json!({ "type": "integer" }),
        "parent_id" => json!({ "type": ["integer", "null"] }),
        "is_featured" | "is_sticky" | "is_active" => json!({ "type": "boolean" }),
        "published_at" | "scheduled_at" => json!({ "type": ["string", "null"], "format": "date-time" }),
        "created_at" | "updated_at" => json!({ "type": "string", "format": "date-time" }),
        "avatar" | "featured_image" | "image" | "icon" | "color" => json!({ "type": ["string", "null"] }),
        _ => json!({ "type": "string" }),
    }
}

/// The fields of `R`, all of which may be left out.
fn part<R: Resource>() -> Map<String, Value> {
    R::FIELDS.iter().map(|name| ((*name).to_owned(), field(name))).collect()
}

/// An object with these properties; all of them are there, or any.
fn object(properties: &Map<String, Value>, is_whole: bool) -> Value {
    let names: Vec<String> = properties.keys().cloned().collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if is_whole {
        schema["required"] = names.into();
    }
    schema
}

fn with(mut properties: Map<String, Value>, more: &[(&str, Value)]) -> Map<String, Value> {
    properties.extend(more.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    properties
}

pub(super) fn whole(properties: &[(&str, Value)]) -> Value {
    object(&with(Map::new(), properties), true)
}

fn nullable(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

pub(super) fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn text_or_null() -> Value {
    json!({ "type": ["string", "null"] })
}

/// Everything that operations refer to.
pub(super) fn components() -> Value {
    let mut schemas = resources();
    for (name, item) in [("Post", "PostV1"), ("Categorie", "CategoryV1"), ("Tag", "TagV1")] {
        schemas.insert(format!("{name}sByNumber"), by_number(&reference(item)));
    }
    for (name, item) in
        [("Post", "PostV2"), ("Categorie", "CategoryV2"), ("Tag", "TagV2"), ("Author", "AuthorV2")]
    {
        schemas.insert(format!("{name}sByCursor"), by_cursor(&reference(item)));
    }
    for item in ["PostV1", "CategoryV1", "AuthorV1"] {
        schemas.insert(format!("{item}Answer"), whole(&[("data", reference(item))]));
    }
    for item in ["PostV2", "CategoryV2", "TagV2", "AuthorV2"] {
        let meta = whole(&[("version", text())]);
        schemas.insert(format!("{item}Answer"), whole(&[("data", reference(item)), ("meta", meta)]));
    }
    let found = whole(&[
        ("slug", text()),
        ("title", text()),
        ("excerpt", text()),
        ("category", text()),
        ("date", text()),
    ]);
    schemas.insert("Found".into(), whole(&[("data", list(&found))]));
    schemas.insert("Stats".into(), stats());
    schemas.insert("Index".into(), index());
    schemas.insert("Document".into(), json!({ "type": "object", "required": ["openapi", "info", "paths"] }));
    schemas.insert("Said".into(), whole(&[("message", text())]));
    accounts(&mut schemas);
    schemas.insert("Health".into(), json!({ "type": "object", "required": ["status", "services"] }));
    schemas.insert("Word".into(), whole(&[("status", text())]));
    schemas.extend(super::operators::schemas());
    let errors = json!({ "type": "object", "additionalProperties": list(&text()) });
    let mut error = object(&with(Map::new(), &[("message", text()), ("errors", errors.clone())]), false);
    error["required"] = json!(["message"]);
    schemas.insert("Error".into(), error);
    schemas.insert(
        "Problem".into(),
        json!({
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": text(), "title": text(), "status": { "type": "integer" }, "detail": text(), "code": text(),
                "errors": errors,
            },
        }),
    );
    json!({
        "schemas": schemas,
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of POST /api/v1/auth/login, or of `cirque app token create`.",
            },
        },
        "headers": headers(),
        "responses": {
            "Error": {
                "description": "What went wrong; `errors` says it for each parameter.",
                "content": {
                    "application/json": { "schema": reference("Error") },
                    "application/problem+json": { "schema": reference("Problem") },
                },
            },
        },
    })
}

/// A header of an answer.
pub(super) fn header(about: &str) -> Value {
    json!({ "description": about, "required": true, "schema": text() })
}

fn headers() -> Value {
    let mut cache = header("Whether the answer was kept: HIT, MISS, or STALE while it is made anew.");
    cache["schema"] = json!({ "type": "string", "enum": ["HIT", "MISS", "STALE"] });
    let mut left = header("For how many seconds the answer will be kept.");
    left["schema"] = json!({ "type": "integer", "minimum": 0 });
    let mut token = header(
        "Where the database was after this write. Where replicas are, a read that sends it back in the same header sees the \
         write, on any node; for half a minute, unless `own_writes` says otherwise.",
    );
    token["required"] = false.into();
    json!({
        "X-Consistency-Token": token,
        "ETag": header("The strong tag of the answer, for If-None-Match."),
        "Location": header("Where it is."),
        "X-Cache": cache,
        "X-Cache-TTL": left,
        "X-Request-ID": header("The name of this request in the logs; that of the client, if it sends a good one."),
    })
}

fn stats() -> Value {
    let (number, moment) = (field("view_count"), field("created_at"));
    let hour = whole(&[("hour", moment.clone()), ("views", number.clone())]);
    let day = whole(&[("day", moment), ("views", number.clone()), ("visitors", number.clone())]);
    let stats = whole(&[("views", number), ("hourly", list(&hour)), ("daily", list(&day))]);
    whole(&[("data", stats)])
}

fn index() -> Value {
    let flag = json!({ "type": "boolean" });
    let features = object(
        &["cursor_pagination", "sparse_fields", "includes"]
            .map(|name| (name.to_owned(), flag.clone()))
            .into_iter()
            .collect(),
        true,
    );
    let map = json!({ "type": "object", "additionalProperties": text() });
    let mut index = whole(&[
        ("version", text()),
        ("status", text()),
        ("message", text()),
        ("features", features),
        ("endpoints", map.clone()),
        ("documentation", map),
    ]);
    // Features are added as they come.
    index["properties"]["features"]["additionalProperties"] = flag;
    index
}

/// An account, as its owner sees it.
fn accounts(schemas: &mut Map<String, Value>) {
    let profile = whole(&[
        ("id", field("id")),
        ("name", text()),
        ("username", text()),
        ("email", text()),
        ("avatar", text_or_null()),
        ("bio", text()),
        ("roles", list(&json!({ "type": "string", "enum": Role::WORDS.map(|(word, _)| word) }))),
        ("permissions", list(&text())),
        ("is_active", json!({ "type": "boolean" })),
        ("last_login_at", field("published_at")),
        ("created_at", field("created_at")),
        ("updated_at", field("updated_at")),
    ]);
    let meta = whole(&[
        ("token", text()),
        ("token_type", json!({ "const": "Bearer" })),
        ("expires_at", field("created_at")),
        ("abilities", list(&text())),
    ]);
    schemas.insert("Profile".into(), profile);
    schemas.insert("ProfileAnswer".into(), whole(&[("data", reference("Profile"))]));
    schemas.insert("SignedIn".into(), whole(&[("data", reference("Profile")), ("meta", meta)]));
}

fn resources() -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut add = |name: &str, schema: Value| schemas.insert(name.to_owned(), schema);
    let nested_category: Map<String, Value> =
        Category::FIELDS[..categories::NESTED].iter().map(|name| ((*name).to_owned(), field(name))).collect();
    add("Category", object(&nested_category, true));
    add("Author", object(&part::<Author>(), true));
    add("Tag", object(&part::<Tag>(), true));
    let links = ("links", whole(&[("self", text()), ("posts", text())]));
    let link = whole(&[("href", text())]);
    let links_v2 = ("_links", whole(&[("self", link.clone()), ("posts", link.clone())]));
    let some_category = object(&nested_category, false);
    let family = [("parent", nullable(&some_category)), ("children", list(&some_category))];
    let mut category = object(&with(with(part::<Category>(), &family), std::slice::from_ref(&links)), false);
    category["required"] = json!(Category::FIELDS);
    add("CategoryV1", category);
    add("TagV1", object(&with(part::<Tag>(), std::slice::from_ref(&links)), true));
    add("AuthorV1", object(&with(part::<Author>(), &[links]), true));
    add(
        "CategoryV2",
        object(&with(with(part::<Category>(), &family), std::slice::from_ref(&links_v2)), false),
    );
    add("TagV2", object(&with(part::<Tag>(), std::slice::from_ref(&links_v2)), false));
    add("AuthorV2", object(&with(part::<Author>(), &[links_v2]), false));
    let some_tag = object(&part::<Tag>(), false);
    let post_links = object(
        &with(Map::new(), &[("self", link.clone()), ("category", link.clone()), ("author", link)]),
        false,
    );
    let nested = object(&with(nested_category, &[("parent", nullable(&some_category))]), false);
    let relations = [
        ("category", nullable(&nested)),
        ("author", nullable(&object(&part::<Author>(), false))),
        ("tags", list(&some_tag)),
        ("_links", post_links),
    ];
    add("PostV2", object(&with(part::<V2Post<'_>>(), &relations), false));
    schemas.insert("PostV1".into(), post_v1());
    schemas
}

fn post_v1() -> Value {
    let links = whole(&[("self", text()), ("category", text_or_null()), ("author", text_or_null())]);
    let seo = whole(&[
        ("title", text_or_null()),
        ("description", text_or_null()),
        ("keywords", text_or_null()),
        ("og_image", text_or_null()),
    ]);
    let extra = [
        ("type", json!({ "enum": ["article", "page", "news"] })),
        ("is_featured", field("is_featured")),
        ("is_sticky", field("is_sticky")),
        ("scheduled_at", field("scheduled_at")),
        ("seo", seo),
        ("category", nullable(&reference("Category"))),
        ("author", nullable(&reference("Author"))),
        ("tags", list(&reference("Tag"))),
        ("links", links),
    ];
    let mut post = object(&with(part::<V2Post<'_>>(), &extra), true);
    // More may be added to a post of v1; what is here stays.
    post["additionalProperties"] = true.into();
    post
}

fn by_number(item: &Value) -> Value {
    let links =
        whole(&[("first", text()), ("last", text()), ("prev", text_or_null()), ("next", text_or_null())]);
    let number = json!({ "type": "integer" });
    let number_or_null = json!({ "type": ["integer", "null"] });
    let link = whole(&[("url", text_or_null()), ("label", text()), ("active", json!({ "type": "boolean" }))]);
    let meta = whole(&[
        ("current_page", number.clone()),
        ("from", number_or_null.clone()),
        ("last_page", number.clone()),
        ("links", list(&link)),
        ("path", text()),
        ("per_page", number.clone()),
        ("to", number_or_null),
        ("total", number),
    ]);
    whole(&[("data", list(item)), ("links", links), ("meta", meta)])
}

fn by_cursor(item: &Value) -> Value {
    let ends = [
        ("first", text_or_null()),
        ("last", text_or_null()),
        ("prev", text_or_null()),
        ("next", text_or_null()),
    ];
    let cursor = whole(&[("next", text_or_null()), ("prev", text_or_null())]);
    let meta = whole(&[
        ("path", text()),
        ("per_page", json!({ "type": "integer" })),
        ("next_cursor", text_or_null()),
        ("prev_cursor", text_or_null()),
        ("version", text()),
        ("cursor", cursor),
    ]);
    whole(&[("data", list(item)), ("links", whole(&ends)), ("meta", meta)])
}
