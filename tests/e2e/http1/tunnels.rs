//! A switch of protocols makes a tunnel when both sides want it, and nothing else does.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request};

use crate::witness::{logged_attempts, logged_status, nothing_in_flight};

fn upgrade(path: &str) -> Request {
    Request::get(path)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A tunnel to whatever is behind the edge.
#[track_caller]
pub(super) fn open(edge: &Edge, path: &str) -> Connection {
    let mut connection = Connection::open(edge.address());
    let response = connection.exchange(&upgrade(path)).expect("an answer to an upgrade");
    response.expect_status(101);
    assert_eq!(response.header("upgrade"), Some("websocket"), "{response:?}");
    assert!(response.head.header_has("connection", "upgrade"), "{response:?}");
    connection
}

/// Sends bytes and reads the same ones back.
#[track_caller]
pub(super) fn ping(connection: &mut Connection, bytes: &[u8]) {
    connection.write(bytes).expect("the tunnel takes bytes");
    expect_back(connection, bytes);
}

#[track_caller]
fn expect_back(connection: &mut Connection, bytes: &[u8]) {
    connection.set_timeout(Duration::from_secs(20));
    let mut back = Vec::new();
    while back.len() < bytes.len() {
        let piece = connection.read_some(64 * 1024).expect("the tunnel gives bytes back");
        assert!(!piece.is_empty(), "the tunnel ended after {} of {} bytes", back.len(), bytes.len());
        back.extend(piece);
    }
    assert!(back == bytes, "other bytes came back");
}

#[test]
fn a_tunnel_carries_both_ways_outlives_read_timeout_and_ends_with_its_client() {
    let backend = Backend::answering(Reply::tunnel("websocket"));
    let edge = Edge::builder().backend(&backend).without_probe();
    let edge = edge.toml("upstreams.app.read_timeout = '300ms'\ndefaults.route.timeout = '300ms'").start();
    let mut connection = open(&edge, "/tunnel");
    ping(&mut connection, b"hello");
    assert_eq!(connection.read_until_close(Duration::from_millis(1000)), None, "silence ended the tunnel");
    ping(&mut connection, b"still there");
    edge.wait_for_metric("http_requests_in_flight", &[], 1.0);
    edge.wait_for_metric("proxy_upstream_in_flight", &[], 1.0);

    connection.finish_writing();
    assert_eq!(connection.read_until_close(Duration::from_secs(10)), Some(Vec::new()));
    let line = edge.logged("/tunnel");
    assert_eq!(line["http.response.status_code"], 101, "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&16.into(), &16.into()), "{line}");
    assert_eq!(backend.requests_to("/tunnel")[0].header("upgrade"), Some("websocket"));
    nothing_in_flight(&edge);
}

#[test]
fn large_frames_pass_whole() {
    let backend = Backend::answering(Reply::tunnel("websocket"));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let mut connection = open(&edge, "/large");
    let frame: Vec<u8> = (0..128 * 1024_u32).map(|n| n.to_le_bytes()[1]).collect();
    for _ in 0..32 {
        ping(&mut connection, &frame);
    }
    drop(connection);
    nothing_in_flight(&edge);
    assert_eq!(edge.logged("/large")["bytes_in"], 32 * 128 * 1024);
}

#[test]
fn what_is_sent_right_behind_the_upgrade_is_the_tunnels() {
    let backend = Backend::answering(Reply::tunnel("websocket"));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let mut connection = Connection::open(edge.address());
    connection
        .write([&upgrade("/eager").to_bytes()[..], b"GET /smuggled HTTP/1.1\r\n\r\n"].concat())
        .unwrap();
    connection.read_response("GET").unwrap().expect_status(101);
    expect_back(&mut connection, b"GET /smuggled HTTP/1.1\r\n\r\n");
    drop(connection);
    nothing_in_flight(&edge);
    assert!(backend.requests_to("/smuggled").is_empty());
}

#[test]
fn a_tunnel_ends_when_its_backend_leaves() {
    let backend = Backend::answering(Reply::tunnel("websocket"));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let mut connection = open(&edge, "/left");
    backend.cut_connections();
    assert_eq!(connection.read_until_close(Duration::from_secs(10)), Some(Vec::new()));
    drop(connection);
    nothing_in_flight(&edge);
}

#[test]
fn a_declined_upgrade_is_an_ordinary_answer_on_a_kept_connection() {
    let backend = Backend::start();
    backend.answer_on("/old", Reply::status(426).header("Upgrade", "websocket"));
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.exchange(&upgrade("/declined")).unwrap().expect_status(200);
    let old = connection.exchange(&upgrade("/old")).unwrap();
    assert_eq!(old.expect_status(426).header("upgrade"), Some("websocket"));
    connection.exchange(&Request::get("/next")).unwrap().expect_status(200);
    nothing_in_flight(&edge);
}

#[test]
fn a_101_that_nobody_asked_for_is_a_broken_answer() {
    for request in [
        Request::get("/unasked"),
        Request::get("/unasked").header("Connection", "upgrade").header("Upgrade", "h2c"),
        Request::get("/unasked").header("Upgrade", "websocket"),
    ] {
        let backend = Backend::start();
        backend.answer_on("/unasked", Reply::tunnel("h2c"));
        let edge = Edge::before(&[&backend]);
        let mut client = edge.client();
        client.send(&request).expect_status(502);
        assert_eq!(logged_status(&edge, "/unasked"), 502);
        assert_eq!(logged_attempts(&edge, "/unasked")[0].1, "protocol");
        assert_eq!(backend.requests_to("/unasked")[0].header("upgrade"), None);
        client.get("/next").expect_status(200);
        nothing_in_flight(&edge);
    }
}

#[test]
fn an_upgrade_in_http_1_0_or_with_a_body_is_not_forwarded() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    edge.send(&upgrade("/body").body("x")).expect_status(200);
    let mut connection = Connection::open(edge.address());
    connection.write("GET /old HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
    connection.read_response("GET").unwrap().expect_status(200);
    for path in ["/body", "/old"] {
        assert_eq!(backend.requests_to(path)[0].header("upgrade"), None, "{path}");
    }
}
