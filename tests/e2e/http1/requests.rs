//! How requests are read and passed on: pipelining, HTTP/1.0, expectations, and forms of the target.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually};

use crate::witness::nothing_in_flight;

const SOON: Duration = Duration::from_secs(10);

/// Everything that comes back for these bytes until the connection is closed.
#[track_caller]
fn whole_answer(edge: &Edge, bytes: &str) -> String {
    let mut connection = Connection::open(edge.address());
    connection.write(bytes).expect("a new connection takes a few bytes");
    let all = connection.read_until_close(SOON).expect("the connection is closed after the answer");
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let backend = Backend::start();
    backend.script(|request| {
        let reply = Reply::ok(request.path().to_owned());
        if request.path() == "/1" { reply.delay(Duration::from_millis(200)) } else { reply }
    });
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    let all: Vec<u8> = (1..=20).flat_map(|n| Request::get(&format!("/{n}")).to_bytes()).collect();
    connection.write(all).unwrap();
    for n in 1..=20 {
        assert_eq!(connection.read_response("GET").unwrap().expect_status(200).text(), format!("/{n}"));
    }
    nothing_in_flight(&edge);
}

#[test]
fn pipelined_bodies_do_not_run_into_each_other() {
    let backend = Backend::answering(Reply::echo());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    let chunked =
        "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\nX: y\r\n\r\n";
    let all =
        [Request::post("/a", "one").to_bytes(), chunked.into(), Request::post("/c", "three").to_bytes()];
    connection.write(all.concat()).unwrap();
    for expected in ["one", "two", "three"] {
        assert_eq!(connection.read_response("POST").unwrap().expect_status(200).text(), expected);
    }
}

#[test]
fn what_cannot_be_read_is_answered_400_and_logged() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    assert!(whole_answer(&edge, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let statuses = || {
        edge.access_log().iter().map(|line| line["http.response.status_code"].to_string()).collect::<Vec<_>>()
    };
    eventually("it is logged", SOON, statuses, |seen| *seen == ["400"]);
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "malformed")], 1.0);
}

#[test]
fn an_http_1_0_client_gets_a_plain_answer_and_the_end_of_the_connection() {
    let backend = Backend::start();
    backend.answer_on("/chunked", Reply::ok("old but fine").chunked().drip(3, Duration::from_millis(1)));
    backend.answer_on("/counted", Reply::ok("old but fine"));
    backend.answer_on("/endless", Reply::ok("old but fine").until_close());
    let edge = Edge::before(&[&backend]);
    for path in ["/chunked", "/counted", "/endless"] {
        let text = whole_answer(&edge, &format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n"));
        assert!(text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
        assert!(text.ends_with("\r\n\r\nold but fine"), "{path}: {text}");
        assert!(!text.to_lowercase().contains("transfer-encoding"), "{path}: {text}");
        assert!(backend.requests_to(path)[0].raw_head.windows(8).any(|part| part == b"HTTP/1.1"));
    }
}

#[test]
fn an_http_1_0_client_may_keep_its_connection() {
    let backend = Backend::start();
    backend.answer_on("/chunked", Reply::ok("to the end").chunked());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    for _ in 0..3 {
        connection.write("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let response = connection.read_response("GET").unwrap();
        assert!(response.expect_status(200).head.header_has("connection", "keep-alive"), "{response:?}");
    }
    connection.write("GET /chunked HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").unwrap();
    let text = connection.read_until_close(SOON).expect("its length is only known by the end");
    assert!(String::from_utf8_lossy(&text).ends_with("\r\n\r\nto the end"));
}

#[test]
fn a_client_that_waits_for_100_gets_it_and_sends_its_body() {
    let backend = Backend::answering(Reply::echo());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection
        .write("POST /wait HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n")
        .unwrap();
    let interim = connection.read_head().unwrap().expect("an interim answer");
    assert_eq!(interim.first_line, "HTTP/1.1 100 Continue");
    connection.write("body").unwrap();
    assert_eq!(connection.read_response("POST").unwrap().expect_status(200).text(), "body");
}

#[test]
fn a_client_that_waits_for_100_may_be_refused_without_sending_its_body() {
    let backend = Backend::answering(Reply::status(403).early().last());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection
        .write("POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .unwrap();
    let head = connection.read_head().unwrap().expect("an answer");
    assert_eq!(head.first_line.split(' ').nth(1), Some("403"), "{}", head.first_line);
    assert!(head.header_has("connection", "close"), "the body was never sent: {head:?}");
    nothing_in_flight(&edge);
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let backend = Backend::answering(Reply::status(403).early().last());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n").unwrap();
    backend.wait_for_requests("/early", 1);
    // The edge reads on for a moment, so that the answer is not overtaken by a reset.
    let piece = vec![b'x'; 30_000];
    let _ = (0..30).try_for_each(|_| connection.write(&piece));
    connection.read_response("POST").unwrap().expect_status(403);
    assert!(connection.read_until_close(SOON).is_some(), "what was not read whole is not kept");
    nothing_in_flight(&edge);
}

#[test]
fn the_absolute_form_is_forwarded_as_path_and_host() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.write("GET http://Shop.Example:80/abs?x=1 HTTP/1.1\r\nHost: shop.example:80\r\n\r\n").unwrap();
    connection.read_response("GET").unwrap().expect_status(200);
    let seen = &backend.requests_to("/abs")[0];
    assert_eq!(seen.target, "/abs?x=1");
    let hosts = seen.header_values("host");
    assert!(hosts.len() == 1 && hosts[0].eq_ignore_ascii_case("shop.example:80"), "{hosts:?}");
}

#[test]
fn connect_is_405_and_never_a_tunnel() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let text =
        whole_answer(&edge, "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nSSH-2.0-x\r\n");
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "method_not_allowed")], 1.0);
}

#[test]
fn trailers_of_either_side_go_no_further() {
    let backend = Backend::start();
    let trailed = "HTTP/1.1 200 OK\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\nSet-Cookie: a=b\r\n\r\n";
    backend.answer_on("/trailed", Reply::raw(trailed));
    let edge = Edge::before(&[&backend]);
    let request = "POST /trailed HTTP/1.1\r\nHost: a\r\nTrailer: X-Own\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n0\r\nX-Own: 1\r\n\r\n";
    let text = whole_answer(&edge, request);
    assert!(text.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{text}");
    assert_eq!(backend.requests_to("/trailed")[0].header("trailer"), None);
}
