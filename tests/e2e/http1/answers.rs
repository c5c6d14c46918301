//! How answers are read and passed on; a broken one harms nobody but its own request.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, throughout};

use crate::witness::{logged_attempts, logged_status, nothing_in_flight};

/// An edge that never ejects its one backend and never probes it.
fn edge_before(backend: &Backend) -> Edge {
    Edge::builder().backend_with(backend, "max_fails = 0").without_probe().start()
}

/// Answers to `/broken` with these bytes, to everything else as it should.
fn breaking(bytes: &[u8]) -> Backend {
    let backend = Backend::start();
    backend.answer_on("/broken", Reply::raw(bytes));
    backend.script(|request| Reply::ok(request.path().to_owned()));
    backend
}

#[test]
fn an_answer_that_breaks_a_rule_is_502_and_the_next_one_is_clean() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(70_000));
    for (what, answer) in [
        (
            "two framings",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\nevil"),
        ("two equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n"),
        ("a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: none\r\n\r\n"),
        ("a coding that is not chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
        ("two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a bare line feed", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
        ("a bare carriage return", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
        ("a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("a space before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("a zero byte", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("a line without a colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n"),
        ("an odd status", "HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"),
        ("a status of words", "HTTP/1.1 fine OK\r\nContent-Length: 0\r\n\r\n"),
        ("another version", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("another protocol", "SSH-2.0-OpenSSH\r\n\r\n"),
        ("a 101 unasked", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        (
            "a Connection that names the length",
            "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 0\r\n\r\n",
        ),
        ("a head that is too large", &long),
    ] {
        let backend = breaking(format!("{answer}{evil}").as_bytes());
        let edge = edge_before(&backend);
        let mut client = edge.client();
        client.get("/before").expect_status(200);
        let response = client.get("/broken");
        assert_eq!(response.status, 502, "{what}: {response:?}");
        assert_eq!(logged_status(&edge, "/broken"), 502, "{what}");
        assert_eq!(
            logged_attempts(&edge, "/broken").last().map(|(_, outcome)| &outcome[..]),
            Some("protocol")
        );
        assert_eq!(client.get("/after").expect_status(200).text(), "/after", "{what}");
        assert_eq!(edge.get("/other").expect_status(200).text(), "/other", "{what}");
        nothing_in_flight(&edge);
    }
}

#[test]
fn bytes_behind_an_answer_are_nobodys_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (what, answer) in [
        ("a counted body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("a chunked body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("204", "HTTP/1.1 204 None\r\n\r\n"),
        ("304", "HTTP/1.1 304 Same\r\nContent-Length: 44\r\n\r\n"),
    ] {
        let backend = breaking(format!("{answer}{evil}").as_bytes());
        let edge = edge_before(&backend);
        let mut client = edge.client();
        let response = client.get("/broken");
        assert!(response.status < 400 && !response.text().contains("evil"), "{what}: {response:?}");
        for n in 0..5 {
            let path = format!("/after/{n}");
            assert_eq!(client.get(&path).expect_status(200).text(), path, "{what}");
            assert_eq!(edge.get(&path).expect_status(200).text(), path, "{what}");
        }
    }
}

#[test]
fn bytes_that_come_while_a_connection_is_idle_are_nobodys_answer() {
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let backend = Backend::start();
    let both = Reply::raw(format!("{first}{evil}")).drip(first.len(), Duration::from_millis(60));
    backend.answer_on("/broken", both);
    backend.script(|request| Reply::ok(request.path().to_owned()));
    let edge = edge_before(&backend);
    let mut client = edge.client();
    assert_eq!(client.get("/broken").expect_status(200).text(), "ok");
    let seen = || backend.requests_to("/broken").len();
    throughout("nothing else is sent meanwhile", Duration::from_millis(300), seen, |seen| *seen == 1);
    for _ in 0..3 {
        assert_eq!(edge.get("/after").expect_status(200).text(), "/after");
    }
}

#[test]
fn a_body_that_breaks_is_cut_for_its_client_only() {
    for (what, answer) in [
        ("a chunk without its end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX0\r\n\r\n"),
        (
            "a chunk size that is none",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        ),
        ("a chunk that ends in LF", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n"),
    ] {
        let backend = breaking(answer.as_bytes());
        let edge = edge_before(&backend);
        let mut connection = Connection::open(edge.address());
        connection.write(Request::get("/broken").to_bytes()).unwrap();
        let answer = connection.read_response("GET");
        assert!(!answer.is_ok_and(|answer| answer.status == 200), "{what}: it looked whole");
        assert_eq!(edge.get("/after").expect_status(200).text(), "/after", "{what}");
        assert_eq!(logged_attempts(&edge, "/broken")[0].1, "protocol", "{what}");
        nothing_in_flight(&edge);
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_in_order() {
    let backend = Backend::start();
    backend.answer_on("/204", Reply::raw("HTTP/1.1 204 None\r\nX: y\r\n\r\n"));
    backend.answer_on("/304", Reply::raw("HTTP/1.1 304 Same\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n"));
    backend.answer_on("/head", Reply::ok("x".repeat(1000)));
    backend.answer_on("/empty", Reply::ok(""));
    let edge = edge_before(&backend);
    let mut connection = Connection::open(edge.address());
    for (method, path, status) in
        [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/head", 200), ("GET", "/empty", 200)]
    {
        let response = connection.exchange(&Request::new(method, path)).unwrap();
        assert!(response.expect_status(status).body.is_empty(), "{path}");
        let announced = response.header("content-length");
        let expected = [("/304", Some("1000")), ("/head", Some("1000")), ("/empty", Some("0"))];
        let expected = expected.iter().find(|(of, _)| *of == path).and_then(|(_, length)| *length);
        assert_eq!(announced, expected, "{path}");
        connection.exchange(&Request::get("/between")).unwrap().expect_status(200);
    }
    let asked = backend.requests().into_iter().filter(|request| request.path() != "/");
    let connections: std::collections::BTreeSet<u64> = asked.map(|request| request.connection).collect();
    assert_eq!(connections.len(), 1, "no answer without a body costs a connection");
}

#[test]
fn a_body_that_ends_with_its_connection_is_framed_for_the_client() {
    let backend = Backend::answering(Reply::ok("until the end").until_close());
    let edge = edge_before(&backend);
    let mut connection = Connection::open(edge.address());
    for _ in 0..3 {
        let response = connection.exchange(&Request::get("/x")).unwrap();
        assert_eq!(response.expect_status(200).text(), "until the end");
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn interim_answers_are_passed_on_but_not_to_http_1_0() {
    let early =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let backend = Backend::answering(Reply::ok("final").interim(early));
    let edge = edge_before(&backend);
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/hints").to_bytes()).unwrap();
    let head = connection.read_head().unwrap().expect("an interim answer");
    assert_eq!(head.first_line, "HTTP/1.1 103 Early Hints");
    assert_eq!(head.header("link"), Some("</a.css>; rel=preload"));
    assert_eq!(connection.read_response("GET").unwrap().expect_status(200).text(), "final");
    assert_eq!(logged_status(&edge, "/hints"), 200);

    let mut old = Connection::open(edge.address());
    old.write("GET /old HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let head = old.read_head().unwrap().expect("an answer");
    assert!(head.first_line.starts_with("HTTP/1.1 200 "), "{}", head.first_line);
}

#[test]
fn endless_interim_answers_are_given_up() {
    let early = "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n";
    let backend = Backend::start();
    backend.answer_on("/hints", Reply::raw(early.repeat(2000)).drip(early.len(), Duration::from_millis(10)));
    let edge = Edge::builder().backend_with(&backend, "max_fails = 0").without_probe();
    let edge = edge.toml("defaults.route.timeout = '1s'").start();
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/hints").to_bytes()).unwrap();
    let response = connection.read_response("GET").unwrap();
    response.expect_status(502);
    assert!(response.elapsed < Duration::from_secs(5), "{:?}", response.elapsed);
    nothing_in_flight(&edge);
}

#[test]
fn a_stale_connection_is_replaced_at_once_and_the_backend_is_not_to_blame() {
    let backend = Backend::start();
    let served = std::sync::Mutex::new(std::collections::BTreeSet::new());
    // It answers once on each connection and closes when asked again, as a server does whose idle time is up.
    backend.script(move |request| {
        let is_first = served.lock().is_ok_and(|mut served| served.insert(request.connection));
        if is_first { Reply::ok("fresh") } else { Reply::close() }
    });
    let edge =
        Edge::builder().backend_with(&backend, "max_fails = 1\nfail_timeout = '1h'").without_probe().start();
    let mut client = edge.client();
    for _ in 0..20 {
        let response = client.get("/x");
        assert_eq!(response.expect_status(200).text(), "fresh");
        assert!(response.elapsed < Duration::from_secs(1), "{:?}", response.elapsed);
    }
    let row = &edge.upstreams()["upstreams"][0]["backends"][0];
    assert_eq!(row["available"], true, "{row}");
    let errors = edge.metrics().value("proxy_upstream_errors_total", &[("reason", "reset")]);
    assert_eq!(errors, 0.0);
    nothing_in_flight(&edge);
}

#[test]
fn connections_closed_while_idle_are_not_used() {
    let backend = Backend::start();
    let edge =
        Edge::builder().backend_with(&backend, "max_fails = 1\nfail_timeout = '1h'").without_probe().start();
    let mut client = edge.client();
    for _ in 0..20 {
        client.get("/x").expect_status(200);
        backend.cut_connections();
        client.get("/x").expect_status(200);
    }
    let row = &edge.upstreams()["upstreams"][0]["backends"][0];
    assert_eq!(row["available"], true, "{row}");
}
