//! HTTP/2 from clients: the same decisions as for HTTP/1.1, and connections that end as they should.

mod limits;

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use cirque_tests::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, RST_STREAM, SETTINGS, head,
};
use cirque_tests::{Backend, Edge, Recorder, Reply, curl};

use crate::witness::{logged_backends, logged_status, nothing_in_flight};

/// curl, speaking HTTP/2 from the first byte.
fn http2(edge: &Edge, path: &str, more: &[&str]) -> cirque_tests::curl::Got {
    let got = curl(
        edge.address(),
        &format!("http://site.test{path}"),
        &[&["--http2-prior-knowledge"], more].concat(),
    );
    assert_eq!(got.version, "2", "{got:?}");
    got
}

fn closed(edge: &Edge, reason: &str, count: f64) {
    let labels = [("listener", "http"), ("reason", reason)];
    edge.wait_for_metric("proxy_http2_connections_closed_total", &labels, count);
}

#[test]
fn a_request_is_answered_logged_and_counted_as_any_other() {
    let backend = Backend::named("one");
    backend.answer_on("/echo", Reply::echo());
    let edge = Edge::before(&[&backend]);
    let got = http2(&edge, "/echo", &["--data", "hello", "--header", "X-Forwarded-For: 1.2.3.4"]);
    assert_eq!((got.status, got.body.as_str()), (200, "hello"));
    assert!(got.header("x-request-id").is_some());
    let received = &backend.requests_to("/echo")[0];
    assert_eq!(received.header("host"), Some("site.test"));
    assert_eq!(
        received.header("x-forwarded-for"),
        Some("127.0.0.1"),
        "an untrusted client speaks for nobody"
    );
    let line = edge.logged("/echo");
    assert_eq!((line["backend"].as_str(), line["bytes_in"].as_u64()), (Some("one"), Some(5)));
    let labels = [("upstream", "app"), ("backend", "one"), ("code", "200")];
    edge.wait_for_metric("proxy_upstream_requests_total", &labels, 1.0);
    nothing_in_flight(&edge);
}

#[test]
fn failures_limits_and_refusals_are_those_of_every_path() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(503));
    good.answer_on("/slow", Reply::stall());
    bad.answer_on("/slow", Reply::stall());
    let edge = Edge::builder()
        .backend_with(&bad, "weight = 1000")
        .backend(&good)
        .without_probe()
        .toml("upstreams.app.read_timeout = '300ms'\ndefaults.route.client_max_body_size = '1KiB'\ndefaults.route.retry.attempts = 2")
        .start();
    assert_eq!(http2(&edge, "/retried", &[]).body, "good");
    assert_eq!(logged_backends(&edge, "/retried"), ["bad", "good"]);
    assert_eq!(http2(&edge, "/slow", &[]).status, 504);
    let large = "x".repeat(2000);
    assert_eq!(http2(&edge, "/large", &["--data", &large]).status, 413);
    assert_eq!(logged_status(&edge, "/large"), 413);
    nothing_in_flight(&edge);
}

#[test]
fn others_clients_find_nothing_to_complain_of() {
    let backend = Backend::answering(Reply::ok("x".repeat(3000)));
    let edge = Edge::before(&[&backend]);
    let url = format!("http://{}/load", edge.address());
    let load = Command::new("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "16", &url])
        .output()
        .expect("h2load is installed");
    let said = String::from_utf8_lossy(&load.stdout).into_owned();
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    let nghttp =
        Command::new("nghttp").args(["--no-verify-peer", "--stat", "--null-out", "-m", "20", &url]).output();
    let nghttp = nghttp.expect("nghttp is installed");
    assert!(nghttp.status.success(), "{nghttp:?}");
    nothing_in_flight(&edge);
}

#[test]
fn a_cookie_in_pieces_reaches_the_backend_as_one() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut client = Frames::open(edge.address());
    let fields = head("GET", "/c", &[("cookie", "a=1"), ("cookie", "b=2")]);
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &fields).unwrap();
    client.answer(1);
    assert_eq!(backend.requests_to("/c")[0].header_values("cookie"), ["a=1; b=2"]);
}

/// cloudflare/pingora#935: an empty last piece made pingora end a chunked body twice, and the next request on that
/// connection began with the second end.
#[test]
fn pingora_935_an_empty_last_piece_does_not_end_a_body_twice() {
    let recorder = Recorder::start();
    let edge = Edge::builder().backend_at("recorder", recorder.address(), "").without_probe().start();
    let mut client = Frames::open(edge.address());
    for stream in [1, 3, 5] {
        client.send(HEADERS, END_HEADERS, stream, &head("POST", "/x", &[])).unwrap();
        client.send(DATA, 0, stream, b"hello").unwrap();
        client.send(DATA, END_STREAM, stream, b"").unwrap();
        client.answer(stream);
    }
    let mut messages = recorder.messages();
    messages.retain(|message| message.target == "/x" || message.fault.is_some());
    assert_eq!(messages.len(), 3, "{messages:?}");
    for message in messages {
        assert_eq!((message.fault, message.body.as_slice()), (None, &b"hello"[..]));
    }
}

/// cloudflare/pingora#980: a backend's timeout was answered with 502.
#[test]
fn pingora_980_a_timeout_is_504() {
    let backend = Backend::answering(Reply::stall());
    let edge = Edge::builder().backend(&backend).toml("upstreams.app.read_timeout = '200ms'").start();
    assert_eq!(http2(&edge, "/x", &[]).status, 504);
}

/// cloudflare/pingora#563: idle HTTP/2 connections stayed for ever, with all that they hold.
#[test]
fn pingora_563_an_idle_http2_connection_is_ended_and_leaves_nothing() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.keepalive_timeout = '1s'").start();
    let mut idle: Vec<Frames> = (0..20).map(|_| Frames::open(edge.address())).collect();
    for client in &mut idle {
        client.get(1, "/x").unwrap();
        client.answer(1);
    }
    edge.wait_for_metric("proxy_connections_active", &[], 20.0);
    for client in &mut idle {
        client.until("a GOAWAY", |frame| frame.kind == GOAWAY);
    }
    // No client has closed its end.
    edge.wait_for_metric("proxy_connections_active", &[], 0.0);
    closed(&edge, "idle", 20.0);
}

/// cloudflare/pingora#998: pingora's pool of connections to backends loses one now and then, on several threads.
#[test]
fn pingora_998_a_pooled_connection_that_is_lost_costs_a_dial_and_no_request() {
    let backend = Backend::answering(Reply::ok("x"));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let url = format!("http://{}/x", edge.address());
    let load = Command::new("h2load").args(["-n", "3000", "-c", "8", "-m", "4", &url]).output();
    let said = String::from_utf8_lossy(&load.expect("h2load is installed").stdout).into_owned();
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    let dials = backend.connections();
    assert!(dials < 1000, "{dials} connections for 3000 requests of 32 at once");
    // Our own pool has no such race: one client at a time needs one connection.
    let alone = Backend::answering(Reply::ok("x"));
    let edge = Edge::builder().backend(&alone).without_probe().start();
    let mut client = edge.client();
    (0..500).for_each(|_| drop(client.get("/x").expect_status(200).clone()));
    assert_eq!(alone.connections(), 1);
    eprintln!("{dials} connections for 3000 requests over HTTP/2");
}

/// cloudflare/pingora#866: another attempt after a status closes the connection of the first.
#[test]
fn pingora_866_connections_that_retries_after_a_status_burn_stay_within_the_budget() {
    const REQUESTS: usize = 400;
    let backends = ["a", "b"].map(Backend::named);
    backends.iter().for_each(|backend| backend.answer(Reply::status(503)));
    let edge = backends.iter().fold(Edge::builder(), |edge, backend| edge.backend(backend));
    let edge = edge
        .without_probe()
        .without_ejection()
        .toml("defaults.route.retry = { attempts = 2, on = ['http_503'], budget = '10%', budget_floor = 0 }")
        .start();
    let (url, n) = (format!("http://{}/x", edge.address()), REQUESTS.to_string());
    let load = Command::new("h2load").args(["-n", &n, "-c", "2", "-m", "2", &url]).output();
    let said = String::from_utf8_lossy(&load.expect("h2load is installed").stdout).into_owned();
    assert!(said.contains("400 5xx"), "the last answer passes: {said}");
    let attempts: usize = backends.iter().map(|backend| backend.requests_to("/x").len()).sum();
    // A hundred are saved up at the start.
    assert!(attempts <= REQUESTS + 100 + REQUESTS / 10, "{attempts} attempts");
    let dials: u64 = backends.iter().map(Backend::connections).sum();
    assert!(dials <= (attempts - REQUESTS) as u64 + 40, "{dials} connections for {attempts} attempts");
    assert!(edge.metrics().value("proxy_retries_denied_total", &[("reason", "budget_empty")]) > 0.0);
    nothing_in_flight(&edge);
}

#[test]
fn a_stop_says_goaway_and_lets_requests_finish() {
    let backend = Backend::start();
    backend.answer_on("/slow", Reply::ok("x".repeat(10)).drip(1, Duration::from_millis(100)));
    let mut edge = Edge::before(&[&backend]);
    let mut client = Frames::open(edge.address());
    client.get(1, "/slow").unwrap();
    backend.wait_for_requests("/slow", 1);
    edge.process.terminate();
    let goaway = client.until("a GOAWAY", |frame| frame.kind == GOAWAY);
    assert_eq!(goaway.code(), 0);
    let is_last = |frame: &Frame| frame.stream == 1 && frame.ends_stream();
    client.until("the end of the answer", is_last);
    assert_eq!(edge.process.expect_exit(Duration::from_secs(8)), 0);
    assert_eq!(logged_status(&edge, "/slow"), 200);
}

// key: proxy.toml client.keepalive_requests, client.keepalive_timeout
#[test]
fn a_connection_ends_after_its_number_of_requests_and_when_it_is_idle() {
    let backend = Backend::start();
    let edge = Edge::builder()
        .backend(&backend)
        .toml("client.keepalive_requests = 2\nclient.keepalive_timeout = '1s'")
        .start();
    let mut client = Frames::open(edge.address());
    client.get(1, "/1").unwrap();
    client.answer(1);
    client.get(3, "/2").unwrap();
    client.until("a GOAWAY", |frame| frame.kind == GOAWAY);
    drop(client);
    closed(&edge, "requests", 1.0);
    let mut idle = Frames::open(edge.address());
    idle.get(1, "/idle").unwrap();
    idle.answer(1);
    idle.until("a GOAWAY", |frame| frame.kind == GOAWAY);
    drop(idle);
    closed(&edge, "idle", 1.0);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let backend = Backend::answering(Reply::ok("x".repeat(100_000)).drip(1000, Duration::from_millis(50)));
    let edge = Edge::before(&[&backend]);
    let mut client = Frames::open(edge.address());
    client.get(1, "/reset").unwrap();
    client.until("a head", |frame| frame.kind == HEADERS);
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).unwrap();
    client.get(3, "/cut").unwrap();
    client.until("a head", |frame| frame.kind == HEADERS && frame.stream == 3);
    drop(client);
    nothing_in_flight(&edge);
    assert_eq!(edge.logged("/reset")["reason"], "client_left");
}

#[test]
fn the_first_bytes_decide_however_they_come() {
    use std::io::{Read as _, Write as _};
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut slow = Frames::connect(edge.address());
    for byte in cirque_tests::frames::PREFACE {
        slow.write(&[*byte]).unwrap();
    }
    slow.send(SETTINGS, 0, 0, &[]).unwrap();
    slow.get(1, "/slow").unwrap();
    slow.answer(1);
    // What begins like it and is something else is HTTP/1.1 that nobody speaks.
    let mut other = TcpStream::connect(edge.address()).unwrap();
    other.write_all(b"PRI * HTTP/2.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 505") || answer.starts_with("HTTP/1.1 400"), "{answer}");
}
