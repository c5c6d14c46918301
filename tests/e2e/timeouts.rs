//! Nothing waits for ever: each wait has its limit, and running into it has its answer.

use std::ops::Range;
use std::time::Duration;

use cirque_tests::chaos::Abyss;
use cirque_tests::{Backend, Connection, Edge, Reply, Request};
use tokio::time::Instant;

use crate::witness::{logged_attempts, logged_status, nothing_in_flight};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[track_caller]
fn expect_within(elapsed: Duration, bounds: Range<Duration>) {
    assert!(bounds.contains(&elapsed), "{elapsed:?} is not within {bounds:?}");
}

#[track_caller]
fn expect_504(edge: &Edge, path: &str, outcome: &str) {
    let response = edge.get(path);
    response.expect_status(504);
    expect_within(response.elapsed, ms(250)..ms(2000));
    assert_eq!(logged_status(edge, path), 504);
    let attempts = logged_attempts(edge, path);
    assert_eq!(attempts.last().map(|(_, outcome)| outcome.as_str()), Some(outcome), "{attempts:?}");
    assert_eq!(edge.metrics().value("http_requests_total", &[("code", "504")]), 1.0);
    nothing_in_flight(edge);
}

// key: proxy.toml upstreams.*.connect_timeout, defaults.upstream.connect_timeout
#[test]
fn connecting_takes_no_longer_than_connect_timeout() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let abyss = Abyss::open();
        let edge = Edge::builder().backend_at("abyss", abyss.address(), "").without_probe();
        let edge = edge.toml(&format!("{place}.connect_timeout = '300ms'")).start();
        expect_504(&edge, "/x", "connect_timeout");
    }
}

// key: proxy.toml upstreams.*.read_timeout, defaults.upstream.read_timeout
#[test]
fn an_answer_must_begin_within_read_timeout() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::answering(Reply::stall());
        let edge = Edge::builder().backend(&backend).without_probe();
        let edge = edge.toml(&format!("{place}.read_timeout = '300ms'")).start();
        expect_504(&edge, "/x", "read_timeout");
        assert_eq!(backend.requests_to("/x").len(), 1);
    }
}

#[test]
fn an_answer_that_pauses_longer_than_read_timeout_is_cut() {
    let backend = Backend::start();
    backend.answer_on("/pauses", Reply::ok("x".repeat(1000)).stall_after(10));
    backend.answer_on("/flows", Reply::ok("x".repeat(10)).drip(1, ms(100)));
    let edge = Edge::builder().backend(&backend).toml("upstreams.app.read_timeout = '400ms'").start();
    let began = Instant::now();
    assert!(edge.client().try_send(&Request::get("/pauses")).is_err());
    expect_within(began.elapsed(), ms(350)..ms(3000));
    edge.get("/flows").expect_status(200);
    nothing_in_flight(&edge);
}

// key: proxy.toml routes[].timeout, defaults.route.timeout
#[test]
fn a_request_takes_no_longer_than_the_timeout_of_its_route_over_all_attempts() {
    for toml in [
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', timeout = '500ms' }]",
        "defaults.route.timeout = '500ms'",
    ] {
        let backends: Vec<Backend> = (0..3).map(|n| Backend::named(&format!("stalls-{n}"))).collect();
        backends.iter().for_each(|backend| backend.answer(Reply::stall()));
        let builder = backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
        let edge = builder.without_probe().toml(toml).toml("upstreams.app.read_timeout = '300ms'").start();
        let response = edge.get("/x");
        response.expect_status(504);
        expect_within(response.elapsed, ms(400)..ms(1500));
        let attempts = logged_attempts(&edge, "/x");
        assert!((1..=2).contains(&attempts.len()), "the third attempt had no time: {attempts:?}");
        nothing_in_flight(&edge);
    }
}

// key: proxy.toml upstreams.*.send_timeout, defaults.upstream.send_timeout
#[test]
fn a_backend_that_takes_no_byte_is_given_up_after_send_timeout() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        backend.answer_on("/deaf", Reply::deaf());
        let edge = Edge::builder().backend(&backend).toml("defaults.route.client_max_body_size = '0'");
        // After a write that failed the edge waits for an early answer, for read_timeout at the longest.
        let edge = edge.toml("upstreams.app.read_timeout = '700ms'");
        let edge = edge.toml(&format!("{place}.send_timeout = '400ms'")).start();
        let mut connection = Connection::open(edge.address());
        connection.set_timeout(ms(15_000));
        let began = Instant::now();
        let body = vec![b'x'; 64 << 20];
        // The edge may stop reading before everything is written.
        let _ = connection.write(Request::new("PUT", "/deaf").body(body).to_bytes());
        let answer = connection.read_response("PUT");
        expect_within(began.elapsed(), ms(300)..ms(8000));
        if let Ok(answer) = answer {
            answer.expect_status(504);
        }
        assert_eq!(logged_status(&edge, "/deaf"), 504);
        nothing_in_flight(&edge);
    }
}

#[test]
fn an_upload_may_take_longer_than_read_timeout() {
    let backend = Backend::answering(Reply::echo());
    let edge = Edge::builder().backend(&backend).toml("upstreams.app.read_timeout = '400ms'").start();
    let mut connection = Connection::open(edge.address());
    connection.write("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n").unwrap();
    for _ in 0..12 {
        assert_eq!(connection.read_until_close(ms(100)), None, "cut while the client was still sending");
        connection.write("x").unwrap();
    }
    connection.set_timeout(ms(10_000));
    assert_eq!(connection.read_response("PUT").unwrap().expect_status(200).text(), "xxxxxxxxxxxx");
}

/// Sends one byte of an endless head after another until the edge has had enough.
fn drip_head(connection: &mut Connection) -> (Duration, String) {
    let began = Instant::now();
    let mut sent = connection.write("GET /slow HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    while began.elapsed() < ms(10_000) {
        if let Some(answer) = connection.read_until_close(ms(40)) {
            return (began.elapsed(), String::from_utf8_lossy(&answer).into_owned());
        }
        if sent.is_ok() {
            sent = connection.write("x");
        }
    }
    panic!("a head that never ends was still being read after {:?}", began.elapsed());
}

// key: proxy.toml client.client_header_timeout
#[test]
fn a_slow_head_is_cut_at_its_deadline_on_the_first_request() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_header_timeout = '700ms'").start();
    let (elapsed, answer) = drip_head(&mut Connection::open(edge.address()));
    expect_within(elapsed, ms(600)..ms(2500));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(backend.requests_to("/slow").is_empty());
    nothing_in_flight(&edge);
}

#[test]
fn a_slow_head_is_cut_at_its_deadline_on_a_later_request() {
    let backend = Backend::start();
    let toml = "client = { client_header_timeout = '700ms', keepalive_timeout = '1s' }";
    let edge = Edge::builder().backend(&backend).toml(toml).start();
    let mut connection = Connection::open(edge.address());
    connection.exchange(&Request::get("/first")).unwrap().expect_status(200);
    connection.exchange(&Request::get("/second")).unwrap().expect_status(200);
    let (elapsed, _) = drip_head(&mut connection);
    // The wait for the request is added to the time for its head.
    expect_within(elapsed, ms(600)..ms(4000));
    assert!(backend.requests_to("/slow").is_empty());
}

#[test]
fn a_client_that_says_nothing_is_not_waited_for() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_header_timeout = '500ms'").start();
    let mut connection = Connection::open(edge.address());
    let began = Instant::now();
    assert!(connection.read_until_close(ms(10_000)).is_some(), "a silent connection is still open");
    expect_within(began.elapsed(), ms(400)..ms(3000));
}

// key: proxy.toml client.client_body_timeout
#[test]
fn a_body_that_pauses_is_408() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_body_timeout = '400ms'").start();
    let mut connection = Connection::open(edge.address());
    connection.write("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    let response = connection.read_response("POST").unwrap();
    response.expect_status(408);
    expect_within(response.elapsed, ms(300)..ms(3000));
    assert_eq!(logged_status(&edge, "/slow"), 408);
    assert!(backend.requests_to("/slow").iter().all(|request| !request.is_complete));
    nothing_in_flight(&edge);
}

// key: proxy.toml client.send_timeout
#[test]
fn a_client_that_takes_no_byte_is_given_up_after_send_timeout() {
    let backend = Backend::start();
    backend.answer_on("/large", Reply::ok(vec![b'x'; 64 << 20]));
    let edge = Edge::builder().backend(&backend).toml("client.send_timeout = '500ms'").start();
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/large").to_bytes()).unwrap();
    backend.wait_for_requests("/large", 1);
    // Nothing is read, and the connection stays open on this side.
    nothing_in_flight(&edge);
    let line = edge.logged("/large");
    assert!(line["duration_ms"].as_f64().unwrap() < 10_000.0, "{line}");
    drop(connection);
}

// key: proxy.toml client.keepalive_timeout
#[test]
fn an_idle_connection_is_closed_after_keepalive_timeout() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.keepalive_timeout = '1s'").start();
    let mut connection = Connection::open(edge.address());
    connection.exchange(&Request::get("/x")).unwrap().expect_status(200);
    let began = Instant::now();
    assert_eq!(connection.read_until_close(ms(10_000)), Some(Vec::new()));
    expect_within(began.elapsed(), ms(800)..ms(3500));

    let edge = Edge::builder().backend(&backend).toml("client.keepalive_timeout = '0s'").start();
    let mut connection = Connection::open(edge.address());
    let response = connection.exchange(&Request::get("/x")).unwrap();
    assert!(response.head.header_has("connection", "close"), "{response:?}");
    assert_eq!(connection.read_until_close(ms(500)), Some(Vec::new()));
}

// key: proxy.toml client.keepalive_requests
#[test]
fn a_connection_is_closed_after_keepalive_requests() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.keepalive_requests = 3").start();
    let mut connection = Connection::open(edge.address());
    for n in 1..=3 {
        let response = connection.exchange(&Request::get("/x")).unwrap();
        assert_eq!(response.head.header_has("connection", "close"), n == 3, "request {n}: {response:?}");
    }
    assert_eq!(connection.read_until_close(ms(2000)), Some(Vec::new()));
}
