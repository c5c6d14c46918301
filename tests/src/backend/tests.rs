//! Shows that the scripted backend misbehaves exactly as told.

use std::io::ErrorKind;
use std::time::Duration;

use super::*;
use crate::client::{Client, Connection, Request};

fn failure(backend: &Backend) -> io::Error {
    let mut client = Client::to(backend.address()).timeout(Duration::from_millis(300));
    client.try_send(&Request::get("/")).expect_err("no whole answer")
}

#[test]
fn answers_its_name_by_default_and_records_what_it_was_asked() {
    let backend = Backend::named("one");
    let response = Client::to(backend.address()).send(&Request::post("/a?b=c", "body").header("X-A", "1"));
    assert_eq!((response.status, response.text().as_str()), (200, "one"));
    assert_eq!(response.header("x-served-by"), Some("one"));
    let seen = &backend.requests()[0];
    assert_eq!((seen.method.as_str(), seen.path(), seen.body.as_slice()), ("POST", "/a", &b"body"[..]));
    assert!(seen.is_complete && seen.header("x-a") == Some("1"));
}

#[test]
fn cuts_in_the_middle_of_a_body() {
    let error = failure(&Backend::answering(Reply::ok("0123456789").cut_after(4)));
    assert_eq!(error.to_string(), "the stream ended after 4 of 10 body bytes");
    let chunked = failure(&Backend::answering(Reply::ok("0123456789").chunked().cut_after(4)));
    assert_eq!(chunked.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn stalls_before_and_after_the_head() {
    let silent = failure(&Backend::answering(Reply::stall()));
    assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
    let backend = Backend::answering(Reply::ok("0123456789").stall_after(3));
    let mut connection = Connection::open(backend.address());
    connection.write(Request::get("/").to_bytes()).unwrap();
    assert!(connection.read_head().unwrap().is_some());
    assert_eq!(connection.read_until_close(Duration::from_millis(50)), None);
}

#[test]
fn closes_without_an_answer() {
    assert_eq!(failure(&Backend::answering(Reply::close())).to_string(), "closed without an answer");
}

#[test]
fn refuses_and_listens_again_on_the_same_port() {
    let backend = Backend::start();
    let mut client = Client::to(backend.address());
    client.get("/");
    backend.refuse();
    assert!(client.try_send(&Request::get("/")).is_err());
    assert_eq!(failure(&backend).kind(), ErrorKind::ConnectionRefused);
    backend.accept();
    Client::to(backend.address()).get("/").expect_status(200);
}

#[test]
fn drips_and_delays() {
    let reply = Reply::ok("abcd").drip(1, Duration::from_millis(5)).delay(Duration::from_millis(20));
    let backend = Backend::answering(reply);
    let response = Client::to(backend.address()).get("/");
    assert_eq!(response.text(), "abcd");
    assert!(response.elapsed >= Duration::from_millis(40), "{:?}", response.elapsed);
}

#[test]
fn a_path_can_be_answered_differently_and_a_script_sees_each_request() {
    let backend = Backend::start();
    backend.answer_on("/health", Reply::status(503));
    backend.script(|request| Reply::ok(request.target.clone()).chunked());
    let mut client = Client::to(backend.address());
    client.get("/health").expect_status(503);
    assert_eq!(client.get("/x?y").text(), "/x?y");
}

#[test]
fn an_early_answer_does_not_wait_for_the_body() {
    let backend = Backend::answering(Reply::status(413).early());
    let mut connection = Connection::open(backend.address());
    connection.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc").unwrap();
    connection.read_response("POST").unwrap().expect_status(413);
    assert!(!backend.requests()[0].is_complete);
}
