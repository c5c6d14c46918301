//! What goes wrong says so: one shape, one language, all problems at once, and never a 500 for a client's mistake.

use axum::body::Body;
use cirque_app::identity::Ability;
use http::Request;
use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn all_wrong_parameters_are_named_at_once() {
    let site = Site::seeded(5).await;
    let answer = site
        .get("/api/v1/posts?page=0&per_page=51&sort=title&direction=up&is_featured=2&colour=red&tag=")
        .await;
    assert_eq!(answer.status.as_u16(), 422);
    assert_eq!(
        answer.json(),
        json!({
            "message": "6 parameters are not valid.",
            "errors": {
                "colour": ["is not a parameter here; known: page, per_page, search, category_id, category_slug, tag, author, author_id, is_featured, status, sort, direction"],
                "page": ["must be a whole number between 1 and 1000000"],
                "per_page": ["must be a whole number between 1 and 50"],
                "is_featured": ["must be true or false"],
                "sort": ["must be one of: published_at, view_count, created_at, trending"],
                "direction": ["must be one of: desc, asc"],
            }
        })
    );
}

#[tokio::test]
async fn defect_17_every_size_has_a_bound_and_one_wrong_parameter_is_a_sentence() {
    // In the original, page sizes had no bound, and `include` went to the ORM unchecked.
    let site = Site::seeded(5).await;
    for (path, message) in [
        ("/api/v2/posts?limit=101", "The parameter `limit` must be a whole number between 1 and 100."),
        ("/api/v2/posts?limit=0", "The parameter `limit` must be a whole number between 1 and 100."),
        ("/api/v2/posts?limit=ten", "The parameter `limit` must be a whole number between 1 and 100."),
        ("/api/v2/posts?search=a", "The parameter `search` must have between 2 and 100 characters."),
        (
            "/api/v2/posts?include=roles",
            "The parameter `include` `roles` cannot be included; known: category, category.parent, author, tags.",
        ),
        (
            "/api/v2/posts?page=2",
            "The parameter `page` is not a parameter here; known: cursor, limit, fields, include, sort, direction, search, category_slug, tag, author, is_featured, status.",
        ),
        ("/api/v1/posts?per_page=1000", "The parameter `per_page` must be a whole number between 1 and 50."),
        ("/api/v1/posts?page=1&page=2", "The parameter `page` must be given only once."),
    ] {
        let answer = site.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["message"].as_str()),
            (422, Some(message)),
            "{path}"
        );
    }
    let answer = site.get("/api/v2/posts?fields=id,password").await;
    assert!(answer.body.contains("`password` is not a field; known: id, title"), "{}", answer.body);
}

#[tokio::test]
async fn no_input_is_our_fault() {
    let site = Site::seeded(5).await;
    let long = "x".repeat(5000);
    for path in [
        "/api/v1/posts?search=%00".to_owned(),
        "/api/v1/posts?search=%ff%fe".to_owned(),
        "/api/v1/posts?search=%".to_owned(),
        "/api/v1/posts?%00=1".to_owned(),
        format!("/api/v1/posts?search={long}"),
        format!("/api/v1/posts?{long}=1"),
        format!("/api/v1/posts?tag={long}"),
        "/api/v1/posts?category_id=99999999999999999999".to_owned(),
        "/api/v1/posts?page=18446744073709551616".to_owned(),
        "/api/v1/posts/%00".to_owned(),
        "/api/v1/posts/%ff".to_owned(),
        "/api/v2/posts/%c3%28".to_owned(),
        format!("/api/v2/posts/{long}"),
        "/api/v2/posts?fields=,,,&cursor=%00".to_owned(),
        "/api/v2/posts?fields=_links.self,author.,.name,author.name.x".to_owned(),
        "/api/v1/posts/a%2Fb".to_owned(),
        "/api/v1/posts/' OR 1=1 --".replace(' ', "%20"),
        "/api/v1/posts?search[]=x".to_owned(),
    ] {
        let answer = site.get(&path).await;
        assert!(answer.status.is_client_error(), "{path}: {} {}", answer.status, answer.body);
        assert!(answer.json()["message"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods_say_so_in_json() {
    let site = Site::seeded(5).await;
    let missing = site.get("/api/v3/posts").await;
    assert_eq!((missing.status.as_u16(), missing.header("content-type")), (404, "application/json"));
    assert_eq!(missing.body, r#"{"message":"There is nothing at /api/v3/posts."}"#);
    let wrong = site.send(Request::delete("/api/v2/posts").body(Body::empty()).unwrap()).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET,HEAD"));
    assert!(wrong.body.contains("does not answer DELETE"), "{}", wrong.body);
}

#[tokio::test]
async fn defect_22_refusals_are_in_one_language_and_say_what_to_do() {
    // Some texts of the original were in one language, some in another.
    let site = Site::seeded(5).await;
    let token = site.data.token("chiyo", &[Ability::ReadPosts]).await;
    let write = serde_json::json!({});
    for (answer, message) in [
        (
            site.get("/api/v1/auth/profile").await,
            "This needs a token, in the header Authorization: Bearer TOKEN.",
        ),
        (site.get_as("cirque_bad", "/api/v1/auth/profile").await, "The token is not valid, or not any more."),
        (
            site.call("POST", "/api/v1/posts", Some(&token), &write).await,
            "The token does not have the ability posts:write.",
        ),
        (site.get("/api/v1/posts/nothing-here").await, "There is no post at this address."),
        (site.get("/api/v1/categories/nowhere").await, "There is no category at this address."),
    ] {
        assert_eq!(answer.json()["message"], message, "{}", answer.status);
    }
}

#[tokio::test]
async fn problem_details_are_for_those_who_ask() {
    let site = Site::seeded(5).await;
    let request = Request::get("/api/v1/posts?page=0").header("accept", "application/problem+json");
    let answer = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        answer.json(),
        json!({
            "type": "about:blank",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "The parameter `page` must be a whole number between 1 and 1000000.",
            "code": "invalid_parameters",
            "errors": { "page": ["must be a whole number between 1 and 1000000"] },
        })
    );
}

#[tokio::test]
async fn what_the_database_says_stays_in_the_log() {
    let site = Site::seeded(5).await;
    site.data.change("ALTER TABLE post_tags RENAME TO elsewhere").await;
    let answer = site.get("/api/v1/posts").await;
    assert_eq!(answer.status.as_u16(), 500);
    assert_eq!(answer.body, r#"{"message":"Something went wrong on our side."}"#);
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let site = Site::seeded(5).await;
    for path in ["/api/v1/posts", "/api/v2/posts?limit=1", "/api/health", "/api/v1/posts/none"] {
        let get = site.get(path).await;
        let head = site.send(Request::head(path).body(Body::empty()).unwrap()).await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn defect_20_a_request_keeps_its_id_if_that_is_harmless() {
    // Defect 20: the id was echoed unchecked.
    let site = Site::seeded(5).await;
    for (given, is_kept) in [("edge-0123", true), ("a b", false), ("x;y", false), ("", false)] {
        let request = Request::get("/livez").header("x-request-id", given).body(Body::empty()).unwrap();
        let answer = site.send(request).await;
        let id = answer.header("x-request-id");
        assert_eq!(id == given, is_kept, "{given:?} became {id:?}");
        assert!(id.len() >= 9 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{id:?}");
        assert_eq!(answer.header("x-powered-by"), "");
    }
}
