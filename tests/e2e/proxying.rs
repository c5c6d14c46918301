//! What the client sends reaches the backend, and what the backend answers reaches the client.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually};
use tokio::time::Instant;

use crate::witness::{logged_backends, logged_status, nothing_in_flight};

#[test]
fn method_target_headers_and_body_arrive_as_they_were_sent() {
    let backend = Backend::named("one");
    let edge = Edge::before(&[&backend]);
    let request = Request::new("PUT", "/a%20b/c?d=e&f=%2F").header("X-Custom", "kept").body("the body");
    let response = edge.send(&request);
    response.expect_status(200);

    let seen = &backend.requests_to("/a%20b/c")[0];
    assert_eq!(seen.method, "PUT");
    assert_eq!(seen.target, "/a%20b/c?d=e&f=%2F");
    assert_eq!(seen.header("x-custom"), Some("kept"));
    assert_eq!(seen.body, b"the body");
    edge.wait_for_metric("http_requests_total", &[("method", "PUT"), ("code", "200")], 1.0);
    assert_eq!(logged_status(&edge, "/a%20b/c"), 200);
    assert_eq!(logged_backends(&edge, "/a%20b/c"), ["one"]);
}

#[test]
fn status_headers_and_body_of_the_answer_are_passed_on() {
    let backend = Backend::start();
    backend.answer_on("/teapot", Reply::status(418).header("X-Kept", "yes").header("Set-Cookie", "a=b"));
    backend.answer_on("/none", Reply::status(204));
    let edge = Edge::before(&[&backend]);

    let response = edge.get("/teapot");
    assert_eq!(response.expect_status(418).text(), "status 418");
    assert_eq!((response.header("x-kept"), response.header("set-cookie")), (Some("yes"), Some("a=b")));
    let response = edge.get("/none");
    assert!(response.expect_status(204).body.is_empty());
    edge.wait_for_metric("http_requests_total", &[("code", "418")], 1.0);
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let backend = Backend::answering(Reply::ok("twelve bytes"));
    let edge = Edge::before(&[&backend]);
    let mut client = edge.client();
    let response = client.send(&Request::new("HEAD", "/x"));
    assert_eq!(response.expect_status(200).header("content-length"), Some("12"));
    client.get("/y").expect_status(200);
}

#[test]
fn chunked_bodies_pass_in_both_directions() {
    let backend = Backend::answering(Reply::echo().chunked().drip(3, Duration::from_millis(1)));
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.write("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for piece in ["5\r\nhel", "lo\r\n", "6\r\n world\r\n0\r", "\n\r\n"] {
        connection.write(piece).unwrap();
    }
    let response = connection.read_response("POST").unwrap();
    assert_eq!(response.expect_status(200).text(), "hello world");
    assert_eq!(backend.requests_to("/c")[0].body, b"hello world");
}

#[test]
fn a_large_answer_arrives_whole() {
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let backend = Backend::answering(Reply::ok(body.clone()));
    let edge = Edge::before(&[&backend]);
    assert!(edge.get("/large").expect_status(200).body == body);
}

#[test]
fn a_request_with_expect_100_continue_is_answered() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let request = Request::post("/e", "body").header("Expect", "100-continue");
    edge.send(&request).expect_status(200);
    assert_eq!(backend.requests_to("/e")[0].body, b"body");
}

#[test]
fn the_backend_is_told_who_asked_for_what() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    let client = connection.local_address().ip().to_string();
    connection.exchange(&Request::get("/h").header("Host", "shop.example:8080")).unwrap();

    let seen = &backend.requests_to("/h")[0];
    assert_eq!(seen.header_values("host"), ["shop.example:8080"]);
    assert_eq!(seen.header_values("x-real-ip"), [client.as_str()]);
    assert_eq!(seen.header_values("x-forwarded-for"), [client.as_str()]);
    assert_eq!(seen.header_values("x-forwarded-proto"), ["http"]);
    let id = seen.header("x-request-id").unwrap();
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(edge.logged("/h")["request.id"], id);
}

#[test]
fn a_client_cannot_pretend_to_be_another_address() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let forged = Request::get("/f")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Real-IP", "203.0.113.7")
        .header("X-Forwarded-Proto", "https");
    edge.send(&forged).expect_status(200);
    let seen = &backend.requests_to("/f")[0];
    assert_eq!(seen.header_values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header_values("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.header_values("x-forwarded-proto"), ["http"]);
    assert_eq!(edge.logged("/f")["client.address"], "127.0.0.1");
}

// key: proxy.toml trust.proxies
#[test]
fn a_trusted_proxy_may_say_who_the_client_is() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("trust.proxies = ['127.0.0.0/8']").start();
    edge.send(&Request::get("/t").header("X-Forwarded-For", "198.51.100.1, 203.0.113.7")).expect_status(200);
    let seen = &backend.requests_to("/t")[0];
    assert_eq!(seen.header_values("x-real-ip"), ["203.0.113.7"]);
    let forwarded = seen.header_values("x-forwarded-for").join(", ");
    assert!(forwarded.contains("203.0.113.7") && forwarded.ends_with("127.0.0.1"), "{forwarded}");
    assert_eq!(edge.logged("/t")["client.address"], "203.0.113.7");
}

#[test]
fn a_plain_request_id_is_carried_on_and_a_strange_one_is_replaced() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    edge.send(&Request::get("/plain").header("X-Request-ID", "abc-123"));
    assert_eq!(backend.requests_to("/plain")[0].header("x-request-id"), Some("abc-123"));
    assert_eq!(edge.logged("/plain")["request.id"], "abc-123");
    edge.send(&Request::get("/strange").header("X-Request-ID", "a b\"c"));
    let id = backend.requests_to("/strange")[0].header("x-request-id").unwrap().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}

#[test]
fn headers_about_the_clients_connection_do_not_reach_the_backend() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let request = Request::get("/hop")
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Upgrade", "h2c");
    edge.send(&request).expect_status(200);
    let seen = &backend.requests_to("/hop")[0];
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(seen.header(name), None, "{name} reached the backend");
    }
}

#[test]
fn headers_about_the_backends_connection_do_not_reach_the_client() {
    let reply = Reply::ok("x").header("Keep-Alive", "timeout=1").header("Connection", "x-secret");
    let backend = Backend::answering(reply.header("X-Secret", "1"));
    let edge = Edge::before(&[&backend]);
    let response = edge.get("/hop");
    for name in ["keep-alive", "x-secret"] {
        assert_eq!(response.header(name), None, "{name} reached the client");
    }
}

#[test]
fn an_answer_that_is_cut_is_seen_to_be_cut() {
    let backend = Backend::start();
    backend.answer_on("/counted", Reply::ok(vec![b'x'; 100_000]).cut_after(50_000));
    backend.answer_on("/chunked", Reply::ok(vec![b'x'; 100_000]).chunked().cut_after(50_000));
    let edge = Edge::before(&[&backend]);
    for path in ["/counted", "/chunked"] {
        assert!(edge.client().try_send(&Request::get(path)).is_err(), "{path} looked whole to the client");
        let line = edge.logged(path);
        assert_eq!(line["http.response.status_code"], 200, "{line}");
        assert_eq!(logged_backends(&edge, path).len(), 1, "an answer that began is never tried again");
    }
    nothing_in_flight(&edge);
}

#[test]
fn connections_to_a_backend_are_used_again() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let before = backend.connections();
    let mut client = edge.client();
    for _ in 0..20 {
        client.get("/again").expect_status(200);
    }
    assert!(
        backend.connections() - before <= 2,
        "{} connections for 20 requests",
        backend.connections() - before
    );
}

// key: proxy.toml upstreams.*.keepalive_timeout, defaults.upstream.keepalive_timeout
#[test]
fn an_idle_connection_to_a_backend_is_closed_after_keepalive_timeout() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        let edge = Edge::builder().backend(&backend).without_probe();
        let edge = edge.toml(&format!("{place}.keepalive_timeout = '1s'")).start();
        edge.get("/x").expect_status(200);
        let began = Instant::now();
        let open = || backend.open_connections();
        eventually("the connection is closed", Duration::from_secs(10), open, |open| *open == 0);
        let elapsed = began.elapsed();
        assert!(
            elapsed > Duration::from_millis(800) && elapsed < Duration::from_secs(4),
            "{place}: {elapsed:?}"
        );
    }
}

#[test]
fn no_connection_is_kept_when_keepalive_timeout_is_zero() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        let edge = Edge::builder().backend(&backend).without_probe();
        let edge = edge.toml(&format!("{place}.keepalive_timeout = '0s'")).start();
        let mut client = edge.client();
        for _ in 0..5 {
            client.get("/new").expect_status(200);
        }
        let seen = backend.requests_to("/new");
        let connections: std::collections::BTreeSet<u64> =
            seen.iter().map(|request| request.connection).collect();
        assert_eq!(connections.len(), 5, "{place}");
    }
}
