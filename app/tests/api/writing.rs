//! Posts that are written, changed and deleted over HTTP, and who sees what of it.

mod seen;

use axum::body::Body;
use cirque_app::body::Rule;
use cirque_app::cause::Cause;
use cirque_app::identity::Ability;
use cirque_app::moment::Moment;
use cirque_app::posts::fields::NEW;
use cirque_app::posts::schedule;
use http::Request;
use serde_json::{Value, json};

use crate::site::{Answer, Data, Site, json_request};

const POSTS: &str = "/api/v1/posts";

fn article(title: &str) -> Value {
    json!({ "title": title, "content": "<p>Some <b>words</b> about it.</p>", "category_id": 4, "tags": [2, 1] })
}

async fn write(site: &Site, token: &str, json: &Value) -> Answer {
    site.call("POST", POSTS, Some(token), json).await
}

async fn change(site: &Site, token: &str, id: &Value, json: &Value) -> Answer {
    site.call("PATCH", &format!("{POSTS}/{id}"), Some(token), json).await
}

/// A published post of chiyo's, as v1 shows it.
async fn published(site: &Site, token: &str, title: &str) -> Value {
    let mut json = article(title);
    json["status"] = "published".into();
    let answer = write(site, token, &json).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    answer.json()["data"].clone()
}

#[tokio::test]
async fn a_post_that_is_written_is_there_at_once() {
    let site = Site::seeded(10).await;
    let token = site.data.full_token("chiyo").await;
    let mut json = article("Granite, again!");
    json["status"] = "published".into();
    let answer = write(&site, &token, &json).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    assert_eq!(answer.header("location"), "/api/v1/posts/granite-again");
    let post = &answer.json()["data"];
    assert_eq!(
        (post["slug"].as_str(), post["excerpt"].as_str()),
        (Some("granite-again"), Some("Some words about it."))
    );
    assert_eq!(
        (post["author"]["username"].as_str(), post["category"]["id"].as_i64()),
        (Some("chiyo"), Some(4))
    );
    assert_eq!(post["tags"].as_array().unwrap().len(), 2);
    assert_eq!((post["reading_time"].as_i64(), post["type"].as_str()), (Some(1), Some("article")));
    assert!(post["published_at"].is_string() && post["scheduled_at"].is_null());
    let read = site.get("/api/v1/posts/granite-again").await;
    assert_eq!((read.status.as_u16(), &read.json()["data"]), (200, post));
    assert_eq!(site.json(POSTS).await["data"][0]["id"], post["id"]);
    // A second one of this title is called otherwise.
    assert_eq!(write(&site, &token, &json).await.json()["data"]["slug"], "granite-again-2");
}

#[tokio::test]
async fn writing_needs_a_token_with_the_ability() {
    let site = Site::seeded(10).await;
    let reader = site.data.token("ada", &[Ability::ReadPosts]).await;
    let chiyo = site.data.full_token("chiyo").await;
    let id = published(&site, &chiyo, "Mine").await["id"].clone();
    let path = format!("{POSTS}/{id}");
    for (method, path) in [("POST", POSTS), ("PUT", &path), ("PATCH", &path), ("DELETE", &path)] {
        let without = site.call(method, path, None, &article("x")).await;
        assert_eq!(without.status.as_u16(), 401, "{method}");
        let answer = site.call(method, path, Some(&reader), &article("x")).await;
        assert_eq!(answer.status.as_u16(), 403, "{method}");
        assert_eq!(answer.json()["message"], "The token does not have the ability posts:write.");
    }
}

#[tokio::test]
async fn authors_change_their_own_posts_and_editors_everybodys() {
    let site = Site::seeded(10).await;
    let chiyo = site.data.full_token("chiyo").await;
    let dario = site.data.full_token("dario").await;
    let editor = site.data.full_token("bruno").await;
    let id = published(&site, &chiyo, "Mine").await["id"].clone();
    let draft = write(&site, &chiyo, &article("Not yet")).await.json()["data"]["id"].clone();
    let title = json!({ "title": "Changed" });
    assert_eq!(change(&site, &dario, &id, &title).await.status.as_u16(), 403, "it is public, but not his");
    assert_eq!(change(&site, &dario, &draft, &title).await.status.as_u16(), 404, "he cannot even see it");
    let changed = change(&site, &editor, &id, &title).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["data"]["title"]), (200, &json!("Changed")));
    assert_eq!(changed.json()["data"]["author"]["username"], "chiyo", "it stays hers");
    assert_eq!(change(&site, &chiyo, &draft, &title).await.status.as_u16(), 200);
    for id in ["0", "-1", "x", "99999999999999999999", "4000000"] {
        let answer = site.call("DELETE", &format!("{POSTS}/{id}"), Some(&editor), &json!({})).await;
        assert_eq!(answer.status.as_u16(), 404, "{id}");
    }
}

#[tokio::test]
async fn everything_wrong_with_a_post_is_said_at_once() {
    let site = Site::seeded(10).await;
    let token = site.data.full_token("chiyo").await;
    let taken = site.data.column::<String>("SELECT slug FROM posts WHERE deleted_at IS NULL").await.remove(0);
    let json = json!({
        "title": "  ", "content": "<script>x</script>", "category_id": 999, "tags": [1, 998], "slug": taken,
        "status": "scheduled", "published_at": "2025-01-01", "featured_image": "javascript:x()",
        "seo_title": "x".repeat(61), "author_id": 1,
    });
    let answer = write(&site, &token, &json).await;
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
    let errors = &answer.json()["errors"];
    for (field, message) in [
        ("title", "must have more than blanks"),
        ("content", "must have something that is allowed in a post"),
        ("category_id", "names no category"),
        ("tags", "has 998, which is no tag"),
        ("slug", &*format!("is taken; free is {taken}-2")),
        ("scheduled_at", "is required when status is scheduled"),
        ("published_at", "can only be set when status is published"),
        ("featured_image", "must begin with https://, http:// or /, and have no blanks"),
        ("seo_title", "must have between 1 and 60 characters"),
    ] {
        assert_eq!(errors[field][0], message, "{field}: {errors}");
    }
    assert!(errors["author_id"][0].as_str().unwrap().starts_with("is not a field here"), "{errors}");
    let mut request = json_request("POST", POSTS, Some(&token), &json!({}));
    request.headers_mut().insert("accept", "application/problem+json".parse().unwrap());
    let problem = site.send(request).await.json();
    assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some("invalid_fields"), Some(422)));
    assert_eq!(
        problem["errors"],
        json!({ "title": ["is required"], "content": ["is required"], "category_id": ["is required"] })
    );
}

#[tokio::test]
async fn no_body_is_our_fault() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let long = "x".repeat(300_000);
    let bodies: [(Vec<u8>, &[u16]); 16] = [
        (b"".to_vec(), &[400]),
        (b"null".to_vec(), &[400]),
        (b"[]".to_vec(), &[400]),
        (b"{".to_vec(), &[400]),
        (b"{\"title\":\"\xff\xfe\"}".to_vec(), &[400]),
        (vec![0; 100], &[400]),
        (format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(), &[400]),
        (b"{\"category_id\":1e400}".to_vec(), &[400]),
        (b"{\"category_id\":123456789012345678901234567890}".to_vec(), &[422]),
        (b"{\"title\":\"a\\u0000b\"}".to_vec(), &[422]),
        (b"{\"title\":\"\\ud800\"}".to_vec(), &[400]),
        (format!("{{\"title\":\"{long}\"}}").into_bytes(), &[422]),
        (format!("{{\"tags\":[{}1]}}", "1,".repeat(1000)).into_bytes(), &[422]),
        (b"{\"title\":{\"a\":1,\"a\":2},\"title\":[]}".to_vec(), &[422]),
        (
            format!("{{{}\"z\":1}}", (0..5000).map(|n| format!("\"k{n}\":1,")).collect::<String>())
                .into_bytes(),
            &[422],
        ),
        (vec![b' '; 1_100_000], &[413]),
    ];
    for (number, (body, expected)) in bodies.into_iter().enumerate() {
        let request = Request::post(POSTS)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
        let answer = site.send(request.body(Body::from(body)).unwrap()).await;
        assert!(expected.contains(&answer.status.as_u16()), "{number}: {} {}", answer.status, answer.body);
        assert!(answer.body.len() < 600_000, "{number}: {}", answer.body.len());
    }
    for path in ["/api/v1/posts?x=1", "/api/v1/posts/1?force=1"] {
        let method = if path.contains("/1") { "PUT" } else { "POST" };
        let answer = site.call(method, path, Some(&token), &article("x")).await;
        assert_eq!(answer.status.as_u16(), 422, "{path}");
        assert!(answer.body.contains("is not a parameter here"), "{}", answer.body);
    }
}

#[tokio::test]
async fn defect_12_editing_a_published_post_leaves_its_moment() {
    let site = Site::seeded(10).await;
    let token = site.data.full_token("bruno").await;
    let found = site.json("/api/v1/posts?per_page=1").await["data"][0].clone();
    let changed =
        change(&site, &token, &found["id"], &json!({ "title": "Other", "status": "published" })).await;
    assert_eq!(changed.json()["data"]["published_at"], found["published_at"], "{}", changed.body);
    let hidden = change(&site, &token, &found["id"], &json!({ "status": "archived" })).await;
    assert!(hidden.json()["data"]["published_at"].is_null());
    let slug = found["slug"].as_str().unwrap();
    assert_eq!(site.get(&format!("{POSTS}/{slug}")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn defect_05_publishing_and_changing_a_post_ends_what_was_kept_of_it() {
    // The listener that was to empty the cache was never called, or failed.
    let mut data = Data::seeded(10).await;
    data.config.cache.max_size = 1 << 20;
    let token = data.full_token("chiyo").await;
    let site = data.open().await;
    let first = |answer: &Answer| answer.json()["data"][0]["title"].clone();
    for version in ["v1", "v2"] {
        let list = format!("/api/{version}/posts");
        site.json(&list).await;
        assert_eq!(site.get(&list).await.header("x-cache"), "HIT");
        let id = published(&site, &token, "Out now").await["id"].clone();
        let after = site.get(&list).await;
        assert_eq!((after.header("x-cache"), first(&after)), ("MISS", json!("Out now")), "{version}");
        change(&site, &token, &id, &json!({ "title": "Out again" })).await;
        assert_eq!(first(&site.get(&list).await), "Out again", "{version}");
    }
}

#[tokio::test]
async fn defect_17_the_longest_of_everything_that_is_accepted_fits_its_column() {
    // Fields were checked for more characters than their columns held. Four bytes each are the most.
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let mut body = serde_json::Map::new();
    for field in NEW {
        let (most, start, letter) = match field.rule {
            Rule::Text(_, most) | Rule::Line(most) | Rule::Html(most) => (most, "", "\u{1f3d4}"),
            Rule::Slug(most) => (most, "", "山"),
            Rule::Address(most) => (most, "/", "\u{1f3d4}"),
            _ => continue,
        };
        let most = most.min(200_000) - start.len();
        body.insert(field.name.to_owned(), format!("{start}{}", letter.repeat(most)).into());
    }
    body.insert("category_id".to_owned(), 4.into());
    let answer = write(&site, &token, &body.into()).await;
    assert_eq!(answer.status.as_u16(), 201, "{:.300}", answer.body);
    let post = answer.json()["data"].clone();
    assert_eq!(post["title"].as_str().unwrap().chars().count(), 200);
    assert_eq!(post["seo"]["keywords"].as_str().unwrap().chars().count(), 255);
}

#[tokio::test]
async fn defect_18_a_write_has_its_effect_once_and_names_no_class() {
    // A comment mailed its author twice, by an observer and by a job; and a client could name a class.
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let clock = || site.data.ids("SELECT version FROM cache_tags WHERE tag = '*'");
    let id = published(&site, &token, "Once").await["id"].clone();
    let before = clock().await[0];
    assert_eq!(change(&site, &token, &id, &json!({ "title": "Twice" })).await.status.as_u16(), 200);
    assert_eq!(clock().await[0], before + 1, "a change is announced once");
    let class = change(&site, &token, &id, &json!({ "type": "App\\Models\\User" })).await;
    assert_eq!(class.json()["errors"]["type"][0], "must be one of: article, page, news");
}

#[tokio::test]
async fn defect_14_a_change_is_whole_or_not_at_all() {
    let site = Site::seeded(10).await;
    let token = site.data.full_token("chiyo").await;
    let id = published(&site, &token, "Whole").await["id"].clone();
    site.data.change("ALTER TABLE cache_tags RENAME TO elsewhere").await;
    let answer = change(&site, &token, &id, &json!({ "title": "Half", "tags": [3] })).await;
    assert_eq!(answer.status.as_u16(), 500);
    site.data.change("ALTER TABLE elsewhere RENAME TO cache_tags").await;
    let post = site.json("/api/v1/posts/whole").await["data"].clone();
    assert_eq!((post["title"].as_str(), post["tags"].as_array().unwrap().len()), (Some("Whole"), 2));
}

#[tokio::test]
async fn defect_21_a_slug_is_free_after_deletion() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let id = published(&site, &token, "Again").await["id"].clone();
    let gone = site.call("DELETE", &format!("{POSTS}/{id}"), Some(&token), &json!({})).await;
    assert_eq!((gone.status.as_u16(), gone.body.as_str()), (204, ""));
    assert_eq!(site.get("/api/v1/posts/again").await.status.as_u16(), 404);
    assert_eq!(
        site.data.ids(&format!("SELECT count(*) FROM posts WHERE id = {id}")).await,
        [1],
        "it is kept"
    );
    assert_eq!(published(&site, &token, "Again").await["slug"], "again");
    let twice = site.call("DELETE", &format!("{POSTS}/{id}"), Some(&token), &json!({})).await;
    assert_eq!(twice.status.as_u16(), 404);
}

#[tokio::test]
async fn an_old_slug_leads_to_the_new_one_until_another_post_takes_it() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let id = published(&site, &token, "First").await["id"].clone();
    for slug in ["second", "third"] {
        assert_eq!(change(&site, &token, &id, &json!({ "slug": slug })).await.status.as_u16(), 200);
    }
    for (path, location) in [
        ("/api/v1/posts/first", "/api/v1/posts/third"),
        ("/api/v1/posts/second", "/api/v1/posts/third"),
        ("/api/v2/posts/first?fields=id,title", "/api/v2/posts/third?fields=id,title"),
    ] {
        let answer = site.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (301, location), "{path}");
    }
    // A title may change without breaking the address.
    assert_eq!(
        change(&site, &token, &id, &json!({ "title": "Fourth" })).await.json()["data"]["slug"],
        "third"
    );
    published(&site, &token, "First").await;
    assert_eq!(site.get("/api/v1/posts/first").await.status.as_u16(), 200);
    change(&site, &token, &id, &json!({ "status": "draft" })).await;
    assert_eq!(site.get("/api/v1/posts/second").await.status.as_u16(), 404, "it leads nowhere one may see");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_09_scheduled_posts_are_published_once_whatever_the_number_of_nodes() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    for number in 0..120 {
        let mut json = article(&format!("Later {number}"));
        json["status"] = "scheduled".into();
        json["scheduled_at"] = "2098-01-01T08:00:00+02:00".into();
        assert_eq!(write(&site, &token, &json).await.status.as_u16(), 201);
    }
    assert_eq!(site.get("/api/v1/posts/later-7").await.status.as_u16(), 404);
    let moment = Moment::parse("2098-01-01T06:00:00Z").unwrap();
    assert_eq!(schedule::publish(&site.state, &Cause::none(), Moment(moment.0 - 1)).await.unwrap(), 0);
    let nodes = (0..4).map(|_| {
        let state = site.state.clone();
        tokio::spawn(async move { schedule::publish(&state, &Cause::none(), moment).await.unwrap() })
    });
    let mut published = 0;
    for node in nodes.collect::<Vec<_>>() {
        published += node.await.unwrap();
    }
    assert_eq!(
        published + schedule::publish(&site.state, &Cause::none(), moment).await.unwrap(),
        120,
        "none twice"
    );
    let sql = format!(
        "SELECT count(*) FROM posts WHERE status = 'published' AND published_at = {} AND scheduled_at IS NULL",
        moment.0
    );
    assert_eq!(site.data.ids(&sql).await, [120]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_title_at_once_get_a_slug_each() {
    let site = std::sync::Arc::new(Site::seeded(3).await);
    let token = site.data.full_token("chiyo").await;
    let writes = (0..8).map(|_| {
        let (site, token) = (site.clone(), token.clone());
        tokio::spawn(async move { write(&site, &token, &article("Same")).await })
    });
    let mut slugs = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        let answer = write.await.unwrap();
        // Somebody who lost several times in a row is told to try again.
        assert!(matches!(answer.status.as_u16(), 201 | 409), "{}", answer.body);
        if answer.status.as_u16() == 201 {
            slugs.push(answer.json()["data"]["slug"].as_str().unwrap().to_owned());
        }
    }
    let count = slugs.len();
    slugs.sort();
    slugs.dedup();
    assert!(slugs.len() == count && count >= 3, "{slugs:?}");
}

#[tokio::test]
async fn html_that_runs_is_taken_out() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let mut json = article("Safe");
    json["content"] =
        "<p onclick=\"x()\">Hi <script>alert(1)</script><a href=\"javascript:x()\">there</a></p>".into();
    json["excerpt"] = "<b>Short</b>\nand plain".into();
    let post = write(&site, &token, &json).await.json()["data"].clone();
    assert_eq!(post["content"], "<p>Hi <a rel=\"noopener noreferrer\">there</a></p>");
    assert_eq!(post["excerpt"], "Short and plain");
    let other = change(&site, &token, &post["id"], &json!({ "content": "<p>New</p>" })).await;
    assert_eq!(other.json()["data"]["excerpt"], "Short and plain", "it was written, not made");
    let made = change(&site, &token, &post["id"], &json!({ "excerpt": null })).await;
    assert_eq!(made.json()["data"]["excerpt"], "New");
    let follows = change(&site, &token, &post["id"], &json!({ "content": "<p>Newer</p>" })).await;
    assert_eq!(follows.json()["data"]["excerpt"], "Newer");
}

#[tokio::test]
async fn a_write_raises_the_numbers_of_what_it_touches() {
    let data = Data::seeded(3).await;
    let token = data.full_token("chiyo").await;
    let site = data.open().await;
    let id = published(&site, &token, "Touching").await["id"].as_i64().unwrap();
    for tag in ["posts", "category:4", "author:3", "tag:1", "tag:2", &format!("post:{id}")] {
        let raised = format!("SELECT count(*) FROM cache_tags WHERE tag = '{tag}' AND version > 0");
        assert_eq!(site.data.ids(&raised).await, [1], "{tag}");
    }
}
