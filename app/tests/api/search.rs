//! Searching: all words, the best first, only what is public, and nothing typed is an operator.

use serde_json::{Value, json};

use crate::site::{Site, Store, names};

fn slugs(found: &Value) -> Vec<&str> {
    found["data"].as_array().unwrap().iter().map(|row| row["slug"].as_str().unwrap()).collect()
}

async fn write(site: &Site, nth: usize, slug: &str, title: &str, excerpt: &str, content: &str) {
    let public = "status = 'published' AND deleted_at IS NULL";
    let id =
        site.data.ids(&format!("SELECT id FROM posts WHERE {public} ORDER BY id LIMIT 1 OFFSET {nth}")).await
            [0];
    let words =
        if Store::under_test() == Store::Sqlite { format!("words = '{content}',") } else { String::new() };
    site.data
        .change(&format!(
            "UPDATE posts SET {words} slug = '{slug}', title = '{title}', excerpt = '{excerpt}', content = '{content}', \
             published_at = 1762337106999 WHERE id = {id}"
        ))
        .await;
}

#[tokio::test]
async fn the_best_come_first_with_all_words_or_their_beginnings() {
    let site = Site::seeded(30).await;
    write(&site, 0, "by-content", "Nothing", "Nothing", "A quokka and a wombat").await;
    write(&site, 1, "by-title", "Quokkas of the west", "A wombat", "Nothing").await;
    write(&site, 2, "by-excerpt", "Nothing", "About a quokka", "And wombats").await;
    write(&site, 3, "half", "A quokka alone", "Nothing", "Nothing").await;
    let found = site.json("/api/search?q=QUOKKA%20wombat").await;
    assert_eq!(slugs(&found), ["by-title", "by-excerpt", "by-content"]);
    assert_eq!(names(&found["data"][0]), ["slug", "title", "excerpt", "category", "date"]);
    assert_eq!(found["data"][0]["date"], "05 Nov 2025");
    assert_eq!(slugs(&site.json("/api/search?q=quok").await).len(), 4);
    assert!(slugs(&site.json("/api/search?q=uokka").await).is_empty());
    // The same words choose in lists, which have an order of their own.
    assert_eq!(site.json("/api/v1/posts?search=quokka+wombat").await["meta"]["total"], 3);
    assert_eq!(site.json("/api/v2/posts?search=quokka&fields=id").await["data"].as_array().unwrap().len(), 4);
    site.data.change("UPDATE posts SET deleted_at = 1 WHERE slug = 'by-title'").await;
    assert_eq!(slugs(&site.json("/api/search?q=quokka+wombat").await), ["by-excerpt", "by-content"]);
    site.data.change("UPDATE posts SET excerpt = 'Rewritten' WHERE slug = 'by-excerpt'").await;
    assert_eq!(slugs(&site.json("/api/search?q=quokka+wombat").await), ["by-content"]);
}

#[tokio::test]
async fn defect_21_short_words_and_any_letters_are_found_in_every_database() {
    let site = Site::seeded(30).await;
    write(&site, 0, "short", "Go in Łódź", "Nothing", "x86").await;
    for word in ["go", "in", "%C5%81%C3%B3d%C5%BA", "x8"] {
        let found = site.json(&format!("/api/v1/posts?per_page=50&search={word}")).await;
        assert!(slugs(&found).contains(&"short"), "{word}");
    }
}

#[tokio::test]
async fn nothing_typed_is_an_operator_or_a_failure() {
    let site = Site::seeded(30).await;
    for typed in [
        "%22%22%22",
        "a%20AND",
        "NEAR(a%20b)",
        "%28%28",
        "a%27%3B--",
        "%2A%2A",
        "-x%20%2By",
        "title%3Ax",
        "%E2%80%8B%E2%80%8B",
    ] {
        site.json(&format!("/api/search?q={typed}")).await;
        site.json(&format!("/api/v1/posts?search={typed}")).await;
    }
    for (path, message) in [
        ("/api/search", json!({"q": ["is required"]})),
        ("/api/search?q=", json!({"q": ["is required"]})),
        ("/api/search?q=a", json!({"q": ["must have between 2 and 100 characters"]})),
    ] {
        let answer = site.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["errors"]), (422, &message), "{path}");
    }
}

#[tokio::test]
async fn what_stands_inside_a_tag_is_not_found() {
    let site = Site::seeded(3).await;
    let token = site.data.full_token("chiyo").await;
    let content = "<h2>Quokka</h2><p>Of <a href=\"https://example.com/wombatgate\" title=\"Numbat\">marsupials</a> &amp; more</p>";
    let body = json!({ "title": "Named", "content": content, "category_id": 4, "status": "published" });
    let written = site.call("POST", "/api/v1/posts", Some(&token), &body).await;
    assert_eq!(written.status.as_u16(), 201, "{}", written.body);
    let found = async |word: &str| slugs(&site.json(&format!("/api/search?q={word}")).await).len();
    for word in ["quokka", "marsupials", "more"] {
        assert!(found(word).await > 0, "{word}");
    }
    for word in ["wombatgate", "numbat", "href", "nofollow", "noopener"] {
        assert_eq!(found(word).await, 0, "{word}");
    }
    let id = written.json()["data"]["id"].clone();
    let other = json!({ "content": "<p>Only <em>bilbies</em></p>" });
    let changed = site.call("PATCH", &format!("/api/v1/posts/{id}"), Some(&token), &other).await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.body);
    assert_eq!((found("marsupials").await, found("bilbies").await), (0, 1));
}
