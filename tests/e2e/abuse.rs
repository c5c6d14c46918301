//! What a client or a backend may try to gain from the path's bookkeeping, and does not.
//!
//! Each was possible once. On pingora's path some differ in kind; those say so.

use std::time::Duration;

use cirque_tests::edge::Path;
use cirque_tests::{Backend, Connection, Edge, Load, Reply, Request, eventually};

use crate::witness::{logged_attempts, logged_status, nothing_in_flight};

const SOON: Duration = Duration::from_secs(10);

/// Whether every backend of the edge may receive requests.
fn all_available(edge: &Edge) -> bool {
    let state = edge.upstreams();
    let backends = state["upstreams"][0]["backends"].as_array().cloned().unwrap_or_default();
    !backends.is_empty() && backends.iter().all(|backend| backend["available"] == true)
}

#[test]
fn a_body_that_breaks_a_rule_after_its_answer_began_is_nobody_elses_body() {
    let backend = Backend::start();
    backend.answer_on("/early", Reply::ok("done").early());
    let edge = Edge::builder().backend(&backend).without_probe();
    let edge = edge.toml("defaults.route.client_max_body_size = '5'").start();
    let mut attacker = Connection::open(edge.address());
    attacker.write("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    // The scripted backend has answered when the head of its answer is here.
    assert!(attacker.has_input_within(SOON), "the early answer arrives");
    // Too large, and over: what of it was forwarded has no end.
    let _ = attacker.write("6\r\nabcdef\r\n0\r\n\r\n");
    let _ = attacker.read_until_close(Duration::from_secs(5));
    for _ in 0..3 {
        assert_eq!(edge.get("/victim").expect_status(200).header("x-request-id").map(str::len), Some(32));
    }
    let bodies: Vec<_> = backend.requests_to("/early").into_iter().map(|request| request.body).collect();
    assert!(bodies.iter().all(|body| !body.windows(7).any(|bytes| bytes == b"/victim")), "{bodies:?}");
    assert_eq!(backend.requests_to("/victim").len(), 3);
    nothing_in_flight(&edge);
}

#[test]
fn a_backend_that_is_ejected_and_tried_all_the_time_stops_nobody() {
    let (good, bad) = (Backend::named("good"), Backend::named("bad"));
    bad.answer(Reply::close());
    let edge = Edge::builder().without_probe().toml("server.threads = 1");
    let edge = edge.backend(&good).backend_with(&bad, "max_fails = 1\nfail_timeout = '3ms'").start();
    let report = Load::on(edge.address(), "/x").connections(8).requests(4000).run();
    report.assert_all_ok();
    let tried = edge.metrics().value("proxy_backend_transitions_total", &[("to", "ejected")]);
    assert!(tried >= 1.0, "the backend was ejected {tried} times");
    nothing_in_flight(&edge);
}

#[test]
fn an_early_answer_is_passed_on_whatever_happens_to_the_rest_of_the_body() {
    if Path::under_test() == Path::Pingora {
        // pingora loses some of these answers to the reset that follows them.
        return;
    }
    let (backend, other) = (Backend::named("one"), Backend::named("two"));
    backend.answer_on("/big", Reply::status(413).early().last());
    other.answer_on("/big", Reply::status(413).early().last());
    let edge = Edge::builder().backend(&backend).backend(&other).without_probe();
    let edge = edge.toml("defaults.route.client_max_body_size = '0'\ndefaults.backend.max_fails = 1").start();
    for _ in 0..6 {
        let mut connection = Connection::open(edge.address());
        let _ = connection.write("POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
        let _ = connection.write(vec![b'x'; 4_000_000]);
        assert_eq!(connection.read_response("POST").unwrap().status, 413);
    }
    assert!(all_available(&edge), "nobody is to blame: {}", edge.upstreams());
    nothing_in_flight(&edge);
}

#[test]
fn the_real_answer_is_passed_on_when_every_other_backend_is_down() {
    let failing = Backend::named("failing");
    failing.answer(Reply::status(500));
    let (first, second) = (Backend::named("first"), Backend::named("second"));
    let edge = Edge::builder().backend(&failing).backend(&first).backend(&second);
    let edge = edge.toml(
        "upstreams.app.probe = { path = '/probe', interval = '100ms', timeout = '1s', fall = 1, rise = 1 }\n\
         defaults.backend.max_fails = 0\ndefaults.route.retry.on = ['error', 'timeout', 'http_500']",
    );
    failing.answer_on("/probe", Reply::ok(""));
    first.answer_on("/probe", Reply::status(500));
    second.answer_on("/probe", Reply::status(500));
    let edge = edge.start();
    let available = || edge.upstreams()["upstreams"][0]["available"].as_u64();
    eventually("one backend is left", SOON, available, |available| *available == Some(1));
    edge.get("/x").expect_status(500);
    assert_eq!(first.requests_to("/x").len() + second.requests_to("/x").len(), 0);
    assert_eq!(edge.logged("/x")["gave_up"], "none_left");
    nothing_in_flight(&edge);
}

#[test]
fn a_client_that_uses_up_the_requests_time_blames_no_backend() {
    if Path::under_test() == Path::Pingora {
        // pingora's one read timeout cannot tell whose time it was.
        return;
    }
    let (backend, other) = (Backend::named("one"), Backend::named("two"));
    backend.answer(Reply::ok("late").delay(Duration::from_secs(20)));
    other.answer(Reply::ok("late").delay(Duration::from_secs(20)));
    let edge = Edge::builder().backend(&backend).backend(&other).without_probe();
    let edge = edge.toml("defaults.route.timeout = '1s'\ndefaults.backend.max_fails = 1").start();
    let mut connection = Connection::open(edge.address());
    connection.write("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n").unwrap();
    for _ in 0..8 {
        // The pace of the client is what is tested: 0.8 s of the 1 s are its own.
        assert!(!connection.has_input_within(Duration::from_millis(100)), "no answer before the body");
        connection.write("x").unwrap();
    }
    assert_eq!(connection.read_response("POST").unwrap().status, 504);
    assert_eq!(logged_status(&edge, "/slow"), 504);
    assert!(all_available(&edge), "nobody is to blame: {}", edge.upstreams());
    nothing_in_flight(&edge);
}

#[test]
fn an_answer_that_is_broken_from_its_start_is_502_and_not_an_empty_200() {
    let backend = Backend::start();
    backend.answer_on("/x", Reply::garbage("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    if Path::under_test() == Path::Own {
        edge.get("/x").expect_status(502);
        assert_eq!(logged_attempts(&edge, "/x"), [(backend.name().to_owned(), "protocol".to_owned())]);
    }
    edge.get("/y").expect_status(200);
    nothing_in_flight(&edge);
}

#[test]
fn interim_answers_come_to_an_end() {
    if Path::under_test() == Path::Pingora {
        // pingora passes on as many as there are.
        return;
    }
    let backend = Backend::start();
    backend.answer_on("/x", Reply::ok("never seen").interim(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/x").to_bytes()).unwrap();
    let heard =
        String::from_utf8(connection.read_until_close(Duration::from_secs(5)).unwrap_or_default()).unwrap();
    assert!(heard.matches("HTTP/1.1 103").count() <= 20, "{heard}");
    assert_eq!(logged_status(&edge, "/x"), 502);
    nothing_in_flight(&edge);
}

#[test]
fn a_put_that_was_answered_with_continue_is_not_sent_again_as_if_nothing_had_happened() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).without_probe();
    let edge = edge.toml("defaults.route.retry.attempts = 1").start();
    edge.get("/warm").expect_status(200);
    backend.answer_on("/put", Reply::close().interim("HTTP/1.1 100 Continue\r\n\r\n"));
    let request = Request::new("PUT", "/put").body("once");
    assert_eq!(edge.send(&request).status, 502);
    let seen = backend.requests_to("/put").len();
    // Before anything was heard, a pooled connection that breaks may be replaced once.
    assert!(seen <= 2, "sent {seen} times");
    nothing_in_flight(&edge);
}
