//! The keys that only our own path has, or that choose it.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually};
use tokio::time::Instant;

use crate::witness::{logged_backends, logged_status, nothing_in_flight};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

// key: proxy.toml server.http1
#[test]
fn the_path_of_http1_is_ours_unless_pingoras_is_asked_for() {
    for (toml, answer) in [
        ("", "HTTP/1.1 400 Bad Request"),
        ("server.http1 = 'own'", "HTTP/1.1 400 Bad Request"),
        ("server.http1 = 'pingora'", "HTTP/1.1 200 Scripted"),
    ] {
        let backend = Backend::start();
        let edge = Edge::builder().backend(&backend).toml(toml).start();
        let mut connection = Connection::open(edge.address());
        connection.write("GET /lf HTTP/1.1\nHost: a\n\n").unwrap();
        let head = connection.read_head().unwrap().expect("an answer");
        assert_eq!(head.first_line, answer, "{toml}");
        let rule = edge.logged("/lf")["rule"].clone();
        assert_eq!(rule == "bare_line_end", answer.contains("400"), "{toml}: {rule}");
    }
}

// key: proxy.toml client.client_max_header_size
#[test]
fn a_head_above_client_max_header_size_is_414_or_431() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_max_header_size = '2KiB'").start();
    let long = "x".repeat(3000);
    let fits = "x".repeat(1800);
    edge.send(&Request::get(&format!("/fits/{fits}"))).expect_status(200);
    edge.send(&Request::get("/fits").header("X", &fits)).expect_status(200);
    edge.send(&Request::get("/field").header("X", &long)).expect_status(431);
    assert_eq!(edge.logged("/field")["rule"], "head_too_large");
    edge.send(&Request::get(&format!("/target/{long}"))).expect_status(414);
    let rules = || edge.access_log().iter().map(|line| line["rule"].to_string()).collect::<Vec<_>>();
    let is_there = |rules: &Vec<String>| rules.iter().any(|rule| rule == "\"target_too_long\"");
    eventually("the rule is logged", ms(5000), rules, is_there);
    assert!(backend.requests_to("/field").is_empty());
    nothing_in_flight(&edge);
}

// key: proxy.toml client.tunnel_timeout
#[test]
fn a_tunnel_is_closed_when_both_sides_were_silent_for_tunnel_timeout() {
    let backend = Backend::answering(Reply::tunnel("websocket"));
    let edge = Edge::builder().backend(&backend).without_probe().toml("client.tunnel_timeout = '900ms'");
    let edge = edge.start();
    let mut connection = super::tunnels::open(&edge, "/silent");
    for _ in 0..4 {
        assert_eq!(connection.read_until_close(ms(400)), None, "closed although bytes moved");
        super::tunnels::ping(&mut connection, b"still here");
    }
    let began = Instant::now();
    assert_eq!(connection.read_until_close(ms(10_000)), Some(Vec::new()));
    assert!(began.elapsed() > ms(700) && began.elapsed() < ms(4000), "{:?}", began.elapsed());
    nothing_in_flight(&edge);
}

// key: proxy.toml client.half_close
#[test]
fn a_client_that_closed_its_half_gets_its_answer_only_when_half_close_is_on() {
    for (toml, is_answered) in
        [("", false), ("client.half_close = false", false), ("client.half_close = true", true)]
    {
        let backend = Backend::start();
        backend.answer_on("/half", Reply::ok("late").delay(ms(300)));
        let edge = Edge::builder().backend(&backend).toml(toml).start();
        let mut connection = Connection::open(edge.address());
        connection.write(Request::get("/half").to_bytes()).unwrap();
        connection.finish_writing();
        let answer = connection.read_until_close(ms(10_000)).expect("it is closed, answered or not");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(text.ends_with("late"), is_answered, "{toml}: {text}");
        assert_eq!(logged_status(&edge, "/half"), if is_answered { 200 } else { 499 }, "{toml}");
        nothing_in_flight(&edge);
    }
}

// key: proxy.toml routes[].retry.buffer, defaults.route.retry.buffer
#[test]
fn a_body_is_kept_for_another_attempt_up_to_the_retry_buffer() {
    for toml in [
        "defaults.route.retry.buffer = '200KiB'",
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { buffer = '200KiB' } }]",
    ] {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        bad.answer(Reply::status(503));
        let edge = Edge::builder().backend(&bad).backend_with(&good, "backup = true").without_ejection();
        let edge = edge.without_probe().toml(toml).start();
        let body: Vec<u8> = (0..200 * 1024_u32).map(|n| n.to_le_bytes()[0]).collect();
        edge.send(&Request::new("PUT", "/kept").body(body.clone())).expect_status(200);
        assert!(good.requests_to("/kept")[0].body == body);
        edge.send(&Request::new("PUT", "/large").body([&body[..], b"x"].concat())).expect_status(503);
        assert_eq!(logged_backends(&edge, "/large"), ["bad"]);
        let denied = [("reason", "body_not_replayable")];
        edge.wait_for_metric("proxy_retries_denied_total", &denied, 1.0);
        nothing_in_flight(&edge);
    }
}

#[test]
fn nothing_is_repeated_with_a_retry_buffer_of_zero_but_what_has_no_body() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(503));
    let edge = Edge::builder().backend(&bad).backend_with(&good, "backup = true").without_ejection();
    let edge = edge.without_probe().toml("defaults.route.retry.buffer = '0'").start();
    edge.send(&Request::new("PUT", "/body").body("x")).expect_status(503);
    edge.get("/none").expect_status(200);
}
