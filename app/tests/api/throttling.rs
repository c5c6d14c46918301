//! Who asks too often is told so, and everybody is told where they stand.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use cirque_app::config::Rate;
use cirque_app::middleware::Peer;
use http::Request;

use crate::site::{Answer, Data, Site};

const NEAR: &str = "203.0.113.7";
const FAR: &str = "198.51.100.9";

fn rate(count: u32, seconds: u64) -> Option<Rate> {
    Some(Rate { count, period: Duration::from_secs(seconds) })
}

async fn limited() -> Data {
    let mut data = Data::seeded(20).await;
    let limits = &mut data.config.limits;
    (limits.public, limits.search) = (rate(3, 60), rate(2, 60));
    (limits.write, limits.login) = (rate(2, 60), rate(1, 60));
    data
}

async fn ask(site: &Site, from: &str, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut request = request.body(Body::from("{}")).unwrap();
    request.extensions_mut().insert(Peer(SocketAddr::new(from.parse().unwrap(), 4711)));
    site.send(request).await
}

async fn get(site: &Site, from: &str, path: &str) -> Answer {
    ask(site, from, "GET", path, None).await
}

// key: limits.public
#[tokio::test]
async fn a_reader_is_refused_above_the_rate_and_let_in_again_one_by_one() {
    let site = limited().await.open().await;
    for (path, status, left) in
        [("/api/v1/posts", 200, "2"), ("/api/v1/posts?page=0", 422, "1"), ("/nowhere", 404, "0")]
    {
        let answer = get(&site, NEAR, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-ratelimit-remaining")),
            (status, left),
            "{path}"
        );
        assert_eq!(answer.header("ratelimit-policy"), "\"public\";q=3;w=60");
        assert!(
            answer.header("ratelimit").starts_with(&format!("\"public\";r={left};t=")),
            "{:?}",
            answer.headers
        );
        assert_eq!(answer.header("x-ratelimit-limit"), "3");
    }
    let refused = get(&site, NEAR, "/api/v1/posts").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "20"));
    assert_eq!(refused.body, r#"{"message":"Too many requests. Try again in 20 seconds."}"#);
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(get(&site, FAR, "/api/v1/posts").await.status.as_u16(), 200, "somebody else");
    site.state.clock.put_forward(Duration::from_secs(20));
    assert_eq!(get(&site, NEAR, "/api/v1/posts").await.status.as_u16(), 200);
    assert_eq!(get(&site, NEAR, "/api/v1/posts").await.status.as_u16(), 429);
}

#[tokio::test]
async fn defect_03_a_refusal_keeps_its_headers_also_as_problem_details() {
    let site = limited().await.open().await;
    for _ in 0..3 {
        get(&site, NEAR, "/api/v1/posts").await;
    }
    let request = Request::get("/api/v1/posts").header("Accept", "application/problem+json");
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer(SocketAddr::new(NEAR.parse().unwrap(), 1)));
    let refused = site.send(request).await;
    assert_eq!((refused.status.as_u16(), refused.json()["code"].as_str()), (429, Some("too_many_requests")));
    for header in
        ["retry-after", "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining"]
    {
        assert!(!refused.header(header).is_empty(), "{header}: {:?}", refused.headers);
    }
}

#[tokio::test]
async fn an_answer_from_memory_counts_and_tells_like_any_other() {
    let mut data = limited().await;
    data.config.cache.max_size = 1 << 20;
    let site = data.open().await;
    for (cache, left) in [("MISS", "2"), ("HIT", "1"), ("HIT", "0")] {
        let answer = get(&site, NEAR, "/api/v1/posts").await;
        assert_eq!((answer.header("x-cache"), answer.header("x-ratelimit-remaining")), (cache, left));
    }
    assert_eq!(get(&site, NEAR, "/api/v1/posts").await.status.as_u16(), 429);
}

// key: limits.write, limits.login, limits.search
#[tokio::test]
async fn defect_11_no_two_policies_share_a_counter() {
    let site = limited().await.open().await;
    for (method, path, name, count) in [
        ("POST", "/api/v1/auth/login", "login", 1),
        ("POST", "/api/v1/nowhere", "write", 2),
        ("GET", "/api/v1/posts", "public", 3),
        ("GET", "/api/search?q=tower", "search", 2),
    ] {
        for _ in 0..count {
            let answer = ask(&site, NEAR, method, path, None).await;
            assert_ne!(answer.status.as_u16(), 429, "{path}");
            assert!(answer.header("ratelimit").contains(name), "{path}: {:?}", answer.headers);
        }
        assert_eq!(ask(&site, NEAR, method, path, None).await.status.as_u16(), 429, "{path}");
    }
    // A balancer may ask as often as it likes, and locks nobody out.
    for path in ["/api/health", "/livez", "/readyz", "/api/metrics"] {
        for _ in 0..20 {
            let answer = get(&site, NEAR, path).await;
            assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, ""), "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_is_counted_by_itself_and_a_made_up_one_by_its_address() {
    let site = limited().await.open().await;
    for token in ["1|made-up", "2|made-up"] {
        assert_eq!(
            ask(&site, NEAR, "DELETE", "/api/v1/auth/profile", Some(token)).await.status.as_u16(),
            405
        );
    }
    for token in ["1|made-up", "2|made-up"] {
        assert_eq!(
            ask(&site, NEAR, "POST", "/api/v1/auth/logout", Some(token)).await.status.as_u16(),
            401,
            "{token}"
        );
    }
    let refused = ask(&site, NEAR, "POST", "/api/v1/auth/logout", Some("3|made-up")).await;
    assert_eq!(refused.status.as_u16(), 429, "the address has shown two that were refused");
    assert_eq!(ask(&site, FAR, "POST", "/api/v1/auth/logout", Some("3|made-up")).await.status.as_u16(), 401);
}

// key: limits.exempt
#[tokio::test]
async fn who_is_exempt_is_not_counted() {
    let mut data = limited().await;
    data.config.limits.exempt = vec!["203.0.113.0/24".parse().unwrap()];
    let site = data.open().await;
    for _ in 0..10 {
        let answer = get(&site, NEAR, "/api/v1/posts").await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, ""));
    }
    for _ in 0..3 {
        get(&site, FAR, "/api/v1/posts").await;
    }
    assert_eq!(get(&site, FAR, "/api/v1/posts").await.status.as_u16(), 429);
}
