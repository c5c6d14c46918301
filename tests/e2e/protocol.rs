//! What is not HTTP as RFC 9112 has it is refused before it reaches a backend, and is logged and counted.

use std::time::Duration;

use cirque_tests::edge::Path;
use cirque_tests::{Backend, Connection, Edge, Reply, Request};

use crate::witness::nothing_in_flight;

/// What pingora-proxy's path passes on although RFC 9112 forbids it; ours refuses all of it.
const LAX_IN_PINGORA: [&str; 3] = ["two framings", "no Host", "bare line feeds"];

/// Sends these bytes; the first line of the answer, empty when the connection was closed without one.
fn answer_to(edge: &Edge, bytes: &str) -> String {
    let mut connection = Connection::open(edge.address());
    connection.set_timeout(Duration::from_secs(5));
    connection.write(bytes).expect("a new connection takes a few bytes");
    match connection.read_head() {
        Ok(Some(head)) => head.first_line,
        Ok(None) => String::new(),
        Err(error) => format!("no answer: {error}"),
    }
}

#[test]
fn requests_that_two_servers_could_read_differently_are_refused() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut accepted = Vec::new();
    let cases = [
        (
            "two framings",
            "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        ),
        ("a signed length", "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd"),
        (
            "a coding that is not chunked",
            "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        ("no Host", "GET /bad HTTP/1.1\r\nX: y\r\n\r\n"),
        ("two Hosts", "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a folded line", "GET /bad HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
        ("a space before the colon", "GET /bad HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        ("bare line feeds", "GET /bad HTTP/1.1\nHost: a\n\n"),
        ("a zero byte in a value", "GET /bad HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        ("no version", "GET /bad\r\nHost: a\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        let answer = answer_to(&edge, bytes);
        if !(answer.is_empty() || answer.starts_with("HTTP/1.1 4")) {
            accepted.push(what);
        }
    }
    let lax: &[&str] = if Path::under_test() == Path::Pingora { &LAX_IN_PINGORA } else { &[] };
    assert_eq!(accepted, lax);
    assert_eq!(backend.requests_to("/bad").len(), lax.len());
    nothing_in_flight(&edge);
}

#[test]
fn a_backend_that_does_not_speak_http_is_502() {
    let backend = Backend::start();
    backend.answer_on("/x", Reply::garbage("SSH-2.0-OpenSSH\r\n"));
    let edge = Edge::before(&[&backend]);
    edge.get("/x").expect_status(502);
    assert_eq!(edge.logged("/x")["attempts"][0]["outcome"], "protocol");
    nothing_in_flight(&edge);
}

#[test]
fn an_answer_before_the_end_of_the_body_is_passed_on() {
    let backend = Backend::start();
    backend.answer_on("/early", Reply::status(403).early().last());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin").unwrap();
    connection.read_response("POST").unwrap().expect_status(403);
    drop(connection);
    nothing_in_flight(&edge);
}

#[test]
fn requests_in_a_row_without_waiting_are_all_answered() {
    let backend = Backend::answering(Reply::ok("x"));
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    let three = ["/1", "/2", "/3"].map(|path| Request::get(path).to_bytes()).concat();
    connection.write(three).unwrap();
    for _ in 0..3 {
        connection.read_response("GET").unwrap().expect_status(200);
    }
}
