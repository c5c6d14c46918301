//! Decides which operations are described: one row for each method of each route, with the tables it is read by.

use serde_json::{Value, json};

use super::operators::Rules;
use super::{DOCUMENT, PAGE};
use crate::authors::Author;
use crate::body::Field;
use crate::catalog::Kind;
use crate::categories::Category;
use crate::feeds;
use crate::identity::handlers as identity;
use crate::posts::{fields, handlers as posts, search, v1, v2};
use crate::query::Spec;
use crate::subscriptions::{CONFIRM, PATH, UNSUBSCRIBE, handlers as subscriptions};
use crate::tags::Tag;

/// Who may do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody; a token makes no difference.
    Everybody,
    /// Everybody; who comes with a token sees more, and one that is not good is refused.
    Viewer,
    /// Those with a token.
    Token,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// JSON of the schema with this name.
    Json(&'static str),
    /// Text of this media type.
    Text(&'static str),
    /// No body.
    Nothing,
}

/// A link to another operation, by its name, for clients that follow descriptions.
pub(super) type Link = (&'static str, fn() -> Value);

/// One thing that can be asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) group: &'static str,
    pub(super) about: &'static str,
    pub(super) specs: &'static [Spec],
    pub(super) body: Option<&'static [Field]>,
    /// A body that is not read by a table of fields, in JSON Schema.
    pub(super) schema: Option<fn(&Rules) -> Value>,
    /// What holds between fields of the body, in JSON Schema.
    pub(super) conditions: fn() -> Value,
    pub(super) access: Access,
    pub(super) success: (u16, &'static str),
    pub(super) answer: Answer,
    /// Whether it is answered from memory and by 304.
    pub(super) is_kept: bool,
    /// Whether an old name leads to the new one.
    pub(super) is_moved: bool,
    /// Whether an answer that is not kept has a tag.
    pub(super) has_etag: bool,
    /// Other refusals than those that follow from the rest.
    pub(super) more: &'static [u16],
    pub(super) links: &'static [Link],
}

impl Operation {
    /// Reading something that everybody may.
    pub(super) const fn get(
        path: &'static str,
        group: &'static str,
        about: &'static str,
        answer: Answer,
    ) -> Self {
        Self {
            method: "get",
            path,
            group,
            about,
            specs: &[],
            body: None,
            schema: None,
            conditions: nothing,
            access: Access::Everybody,
            success: (200, "As asked."),
            answer,
            is_kept: false,
            is_moved: false,
            has_etag: false,
            more: &[],
            links: &[],
        }
    }

    /// The same, answered from memory.
    const fn kept(path: &'static str, group: &'static str, about: &'static str, answer: Answer) -> Self {
        Self { is_kept: true, ..Self::get(path, group, about, answer) }
    }

    /// A kept list or part that takes parameters.
    const fn list(
        path: &'static str,
        group: &'static str,
        about: &'static str,
        specs: &'static [Spec],
        schema: &'static str,
    ) -> Self {
        Self { specs, ..Self::kept(path, group, about, Answer::Json(schema)) }
    }

    /// Changing something, which takes a token.
    pub(super) const fn write(
        method: &'static str,
        path: &'static str,
        about: &'static str,
        answer: Answer,
    ) -> Self {
        Self { method, access: Access::Token, ..Self::get(path, "posts", about, answer) }
    }
}

const V1_POST: &str = "/api/v1/posts/{slug}";

/// Everything that is described.
pub(super) fn operations() -> Vec<Operation> {
    let of_operators = super::operators::operations();
    [reading_posts(), writing_posts(), sorting(), signing_in(), subscribing(), of_operators, around()]
        .concat()
}

fn reading_posts() -> Vec<Operation> {
    let list = Operation::list;
    let single = |operation| Operation { access: Access::Viewer, is_moved: true, ..operation };
    vec![
        Operation {
            access: Access::Viewer,
            links: &[("post", by_first_slug)],
            ..list(v1::PATH, "posts", "A page of posts, by number.", posts::V1_LIST, "PostsByNumber")
        },
        single(list(V1_POST, "posts", "A post.", &[], "PostV1Answer")),
        Operation {
            access: Access::Viewer,
            links: &[("next", next_page)],
            ..list(v2::PATH, "posts", "A page of posts, by cursor.", posts::V2_LIST, "PostsByCursor")
        },
        single(list(
            "/api/v2/posts/{slug}",
            "posts",
            "A post, or a part of it.",
            posts::V2_SINGLE,
            "PostV2Answer",
        )),
        Operation::get(
            "/api/v2/posts/{slug}/stats",
            "posts",
            "How often a post was read: by hour for a day, by day for thirty days.",
            Answer::Json("Stats"),
        ),
        list(search::PATH, "posts", "The posts that fit some words best.", search::SPECS, "Found"),
    ]
}

fn writing_posts() -> Vec<Operation> {
    let change = |method| Operation {
        body: Some(fields::CHANGE),
        has_etag: true,
        more: &[409, 412],
        ..Operation::write(
            method,
            V1_POST,
            "Changes what is given of the post with this id, and leaves the rest. Needs the ability posts:write.",
            Answer::Json("PostV1Answer"),
        )
    };
    vec![
        Operation {
            body: Some(fields::NEW),
            conditions: of_a_new_post,
            success: (201, "The post was written."),
            has_etag: true,
            more: &[409],
            links: &[("post", by_slug), ("change", by_id_to_change), ("delete", by_id_to_delete)],
            ..Operation::write(
                "post",
                v1::PATH,
                "Writes a post. Needs the ability posts:write.",
                Answer::Json("PostV1Answer"),
            )
        },
        change("put"),
        change("patch"),
        Operation {
            success: (204, "It is gone."),
            more: &[409, 412],
            ..Operation::write(
                "delete",
                V1_POST,
                "Deletes the post with this id. Needs the ability posts:write.",
                Answer::Nothing,
            )
        },
    ]
}

fn sorting() -> Vec<Operation> {
    let list = Operation::list;
    vec![
        list(Category::V1, "categories", "A page of categories.", Category::V1_LIST, "CategoriesByNumber"),
        list("/api/v1/categories/{slug}", "categories", "A category.", &[], "CategoryV1Answer"),
        Operation {
            access: Access::Viewer,
            ..list(
                "/api/v1/categories/{slug}/posts",
                "categories",
                "The posts of a category, by number.",
                posts::V1_IN_CATEGORY,
                "PostsByNumber",
            )
        },
        list(
            Category::V2,
            "categories",
            "A page of categories, by cursor.",
            Category::V2_LIST,
            "CategoriesByCursor",
        ),
        list(
            "/api/v2/categories/{slug}",
            "categories",
            "A category, or a part of it.",
            Category::V2_SINGLE,
            "CategoryV2Answer",
        ),
        list(Tag::V1, "tags", "A page of tags.", Tag::V1_LIST, "TagsByNumber"),
        list(Tag::V2, "tags", "A page of tags, by cursor.", Tag::V2_LIST, "TagsByCursor"),
        list("/api/v2/tags/{slug}", "tags", "A tag, or a part of it.", Tag::V2_SINGLE, "TagV2Answer"),
        list("/api/v1/authors/{username}", "authors", "An author.", &[], "AuthorV1Answer"),
        list(Author::V2, "authors", "A page of authors, by cursor.", Author::V2_LIST, "AuthorsByCursor"),
        list(
            "/api/v2/authors/{username}",
            "authors",
            "An author, or a part of what is known.",
            Author::V2_SINGLE,
            "AuthorV2Answer",
        ),
    ]
}

fn signing_in() -> Vec<Operation> {
    let json = Answer::Json;
    let access = Access::Token;
    vec![
        Operation {
            method: "post",
            body: Some(identity::LOGIN),
            conditions: of_a_login,
            more: &[401, 403],
            ..Operation::get(
                "/api/v1/auth/login",
                "accounts",
                "A token for an e-mail address and its password.",
                json("SignedIn"),
            )
        },
        Operation {
            method: "post",
            access,
            ..Operation::get("/api/v1/auth/logout", "accounts", "Ends the token at hand.", json("Said"))
        },
        Operation {
            access,
            more: &[404],
            ..Operation::get(
                "/api/v1/auth/profile",
                "accounts",
                "The account behind the token.",
                json("ProfileAnswer"),
            )
        },
    ]
}

fn subscribing() -> Vec<Operation> {
    let said = Answer::Json("Said");
    let of_a_link = |operation| Operation {
        specs: subscriptions::LINK,
        group: "subscriptions",
        more: &[404],
        ..operation
    };
    vec![
        Operation {
            method: "post",
            body: Some(subscriptions::NEW),
            success: (202, "If it is not subscribed yet, the address gets a mail with a link to confirm."),
            ..Operation::get(PATH, "subscriptions", "Subscribes an address to mails about new posts.", said)
        },
        of_a_link(Operation::get(CONFIRM, "", "Confirms a subscription: the link in the mail.", said)),
        of_a_link(Operation::get(
            UNSUBSCRIBE,
            "",
            "A page with a button that ends a subscription.",
            Answer::Text("text/html"),
        )),
        of_a_link(Operation {
            method: "post",
            ..Operation::get(UNSUBSCRIBE, "", "Ends a subscription, at one click (RFC 8058).", said)
        }),
    ]
}

fn around() -> Vec<Operation> {
    let (get, kept) = (Operation::get, Operation::kept);
    let (json, text) = (Answer::Json, Answer::Text);
    vec![
        kept(feeds::SITEMAP, "feeds", "The index of the sitemap.", text("application/xml")),
        kept(feeds::SITEMAP_PART, "feeds", "A part of the sitemap.", text("application/xml")),
        kept(feeds::FEED, "feeds", "The newest posts, as Atom.", text("application/atom+xml")),
        Operation {
            more: &[422, 429],
            ..get("/api/v2", "service", "What there is in v2, and where.", json("Index"))
        },
        kept(DOCUMENT, "service", "This description.", json("Document")),
        kept(PAGE, "service", "The same, for people.", text("text/html")),
        get("/api/health", "service", "Whether the node can do its work.", json("Health")),
        get("/api/metrics", "service", "Metrics, for Prometheus.", text("text/plain")),
        get("/livez", "service", "Whether the process runs.", json("Word")),
        get("/readyz", "service", "Whether to send traffic here.", json("Word")),
    ]
}

fn nothing() -> Value {
    json!({})
}

/// What [`crate::posts::publishing`] says of posts that are not there yet.
fn of_a_new_post() -> Value {
    let is =
        |status: &str| json!({ "properties": { "status": { "const": status } }, "required": ["status"] });
    let moment = |field: &str| json!({ "properties": { field: { "type": "string" } }, "required": [field] });
    json!({
        "allOf": [
            { "if": is("scheduled"), "then": moment("scheduled_at") },
            { "if": moment("published_at"), "then": is("published") },
        ],
    })
}

/// One name for the address, not both.
fn of_a_login() -> Value {
    json!({ "oneOf": [{ "required": ["email"] }, { "required": ["login"] }] })
}

fn by_slug() -> Value {
    link("v1_posts_slug", "slug", "/data/slug")
}

fn by_first_slug() -> Value {
    link("v2_posts_slug", "slug", "/data/0/slug")
}

fn by_id_to_change() -> Value {
    link("patch_v1_posts_slug", "slug", "/data/id")
}

fn by_id_to_delete() -> Value {
    link("delete_v1_posts_slug", "slug", "/data/id")
}

fn next_page() -> Value {
    link("v2_posts", "cursor", "/meta/next_cursor")
}

fn link(operation: &str, parameter: &str, pointer: &str) -> Value {
    json!({ "operationId": operation, "parameters": { parameter: format!("$response.body#{pointer}") } })
}
