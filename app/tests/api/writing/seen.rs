//! What authors see of what they wrote and have not published, and what tells a version of a post from another.

use axum::body::Body;
use cirque_app::identity::Ability;
use http::Request;
use serde_json::json;

use super::{POSTS, article, published, write};
use crate::site::{Site, ids, json_request};

#[tokio::test]
async fn defect_04_authors_see_their_drafts_with_their_token_on_public_routes() {
    let site = Site::seeded(3).await;
    let chiyo = site.data.full_token("chiyo").await;
    write(&site, &chiyo, &article("Not yet")).await;
    for version in ["v1", "v2"] {
        let path = format!("/api/{version}/posts/not-yet");
        assert_eq!(site.get(&path).await.status.as_u16(), 404);
        for (username, abilities, expected) in [
            ("chiyo", &[Ability::ReadPosts][..], 200),
            ("chiyo", &[Ability::WritePosts], 404),
            ("dario", &[Ability::ReadPosts], 404),
            ("bruno", &[Ability::ReadPosts], 200),
        ] {
            let token = site.data.token(username, abilities).await;
            let answer = site.get_as(&token, &path).await;
            assert_eq!(answer.status.as_u16(), expected, "{username} {abilities:?} {path}");
        }
        assert_eq!(site.get_as("cirque_bad", &path).await.status.as_u16(), 401);
    }
    assert!(site.json(POSTS).await["data"].as_array().unwrap().iter().all(|post| post["title"] != "Not yet"));
}

#[tokio::test]
async fn defect_04_authors_list_what_they_have_not_published_with_their_token() {
    let site = Site::seeded(200).await;
    let chiyo = site.data.full_token("chiyo").await;
    write(&site, &chiyo, &article("Not yet")).await;
    let own = "author_id = 3 AND deleted_at IS NULL";
    for status in ["draft", "scheduled", "archived"] {
        for list in [
            "/api/v1/posts?per_page=50",
            "/api/v2/posts?limit=100",
            "/api/v2/posts?limit=100&sort=created_at",
        ] {
            let path = format!("{list}&status={status}");
            assert_eq!(site.get(&path).await.status.as_u16(), 401, "{path}");
            for (username, restricted) in [("chiyo", own), ("bruno", "deleted_at IS NULL")] {
                let token = site.data.token(username, &[Ability::ReadPosts]).await;
                let expected = site
                    .data
                    .ids(&format!(
                        "SELECT id FROM posts WHERE status = '{status}' AND {restricted} ORDER BY created_at DESC, id DESC"
                    ))
                    .await;
                let answer = site.get_as(&token, &path).await;
                assert_eq!(answer.status.as_u16(), 200, "{path} {}", answer.body);
                assert_eq!(ids(&answer.json()), expected[..expected.len().min(50)], "{username} {path}");
                assert!(!expected.is_empty());
            }
        }
        let writer = site.data.token("chiyo", &[Ability::WritePosts]).await;
        let refused = site.get_as(&writer, &format!("/api/v2/posts?status={status}")).await;
        assert_eq!(refused.status.as_u16(), 403);
    }
    // In categories as well, and a page by cursor goes on.
    let towers = site.get_as(&chiyo, "/api/v1/categories/towers/posts?status=draft").await;
    assert_eq!(towers.status.as_u16(), 200, "{}", towers.body);
    let first = site.get_as(&chiyo, "/api/v2/posts?limit=1&status=draft").await.json();
    let next = site.get_as(&chiyo, first["links"]["next"].as_str().unwrap()).await;
    assert_ne!(ids(&next.json()), ids(&first));
}

#[tokio::test]
async fn a_reader_who_has_the_answer_gets_304_and_a_writer_who_knows_an_old_one_412() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let id = published(&site, &token, "Tagged").await["id"].clone();
    let get = |etag: String| {
        let request = Request::get("/api/v1/posts/tagged").header("if-none-match", etag);
        site.send(request.body(Body::empty()).unwrap())
    };
    let first = site.get("/api/v1/posts/tagged").await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag:?} is strong");
    let known = get(etag.clone()).await;
    assert_eq!((known.status.as_u16(), known.body.as_str(), known.header("etag")), (304, "", &*etag));
    let patch = |if_match: String, title: &str| {
        let mut request =
            json_request("PATCH", &format!("{POSTS}/{id}"), Some(&token), &json!({ "title": title }));
        request.headers_mut().insert("if-match", if_match.parse().unwrap());
        site.send(request)
    };
    // A reader who looks at the post is not in the way of whoever changes it.
    site.data.change(&format!("UPDATE posts SET view_count = view_count + 7 WHERE id = {id}")).await;
    assert_ne!(site.get("/api/v1/posts/tagged").await.header("etag"), etag, "other bytes have another tag");
    let changed = patch(format!("\"other\", {etag}"), "One").await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.body);
    let late = patch(etag.clone(), "Two").await;
    assert_eq!(late.status.as_u16(), 412, "{}", late.body);
    assert_eq!(patch(format!("W/{}", changed.header("etag")), "Two").await.status.as_u16(), 412, "weak");
    assert_eq!(patch(changed.header("etag").to_owned(), "Two").await.status.as_u16(), 200);
    assert_eq!(patch("*".to_owned(), "Three").await.status.as_u16(), 200);
    let anew = get(etag).await;
    assert_eq!((anew.status.as_u16(), anew.json()["data"]["title"].as_str()), (200, Some("Three")));
    let mut delete = json_request("DELETE", &format!("{POSTS}/{id}"), Some(&token), &json!({}));
    delete.headers_mut().insert("if-match", "\"old\"".parse().unwrap());
    assert_eq!(site.send(delete).await.status.as_u16(), 412);
}
