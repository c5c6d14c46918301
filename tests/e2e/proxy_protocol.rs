//! A balancer in front says whom a connection is from; nobody else may, and nobody may take its time.

use std::time::Duration;

use cirque_tests::{Authority, Backend, Connection, Edge, Reference, Request, curl};
use tokio::time::Instant;

use crate::witness::nothing_in_flight;

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

const TRUSTED: &str = "trust.proxies = ['127.0.0.1']";

fn edge(backend: &Backend, more: &str) -> Edge {
    Edge::builder().backend(backend).toml("defaults.listener.proxy_protocol = true").toml(more).start()
}

fn refused(edge: &Edge, reason: &str, count: f64) {
    let labels = [("listener", "http"), ("reason", reason)];
    edge.wait_for_metric("proxy_connections_refused_total", &labels, count);
}

/// Version 2 for a client of this IPv4 address.
fn second(client: [u8; 4]) -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&start[..], &client, &[198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]].concat()
}

// key: proxy.toml defaults.listener.proxy_protocol, trust.proxies
#[test]
fn both_versions_tell_backends_log_and_limits_who_the_client_is() {
    let backend = Backend::start();
    let edge = edge(&backend, TRUSTED);
    for (header, client) in [(LINE.as_bytes().to_vec(), "192.0.2.7"), (second([192, 0, 2, 9]), "192.0.2.9")] {
        let mut connection = Connection::open(edge.address());
        let path = format!("/{client}");
        let request = Request::get(&path).header("X-Forwarded-For", "203.0.113.1");
        connection.write([header, request.to_bytes()].concat()).unwrap();
        connection.read_response("GET").unwrap().expect_status(200);
        // The connection is the client's from then on.
        connection.exchange(&Request::get("/next")).unwrap().expect_status(200);
        let received = &backend.requests_to(&path)[0];
        assert_eq!(received.header("x-real-ip"), Some(client));
        assert_eq!(received.header("x-forwarded-for"), Some(client), "the client speaks for nobody");
        assert_eq!(edge.logged(&path)["client.address"], client);
    }
    nothing_in_flight(&edge);
}

// key: proxy.toml listeners[].proxy_protocol
#[test]
fn it_stands_before_tls_and_http2_as_others_send_it() {
    let backend = Backend::start();
    let authority = Authority::new();
    let files = authority.issue("site", &["site.test"]);
    let builder = Edge::builder().backend(&backend).toml(TRUSTED);
    let listener = format!(
        "listeners = [{{ name = 'http', address = '{}', proxy_protocol = true, tls = {{ certificates = [{}] }} }}]",
        builder.address(),
        files.row()
    );
    let edge = builder.toml(&listener).start();
    let trust = authority.file().display().to_string();
    for version in ["--http1.1", "--http2"] {
        let got = curl(
            edge.address(),
            "https://site.test/by-curl",
            &["--cacert", &trust, "--haproxy-protocol", "--interface", "127.0.0.5", version],
        );
        assert_eq!(got.status, 0, "127.0.0.5 is no balancer: {got:?}");
        let got = curl(
            edge.address(),
            "https://site.test/by-curl",
            &["--cacert", &trust, "--haproxy-protocol", version],
        );
        assert_eq!(got.status, 200, "{got:?}");
    }
    for keys in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"] {
        let balancer = Reference::balancer(edge.address(), keys);
        for version in ["--http1.1", "--http2"] {
            let path = format!("/by-haproxy/{}{version}", keys.len());
            let url = format!("https://site.test{path}");
            let got =
                curl(balancer.address(), &url, &["--cacert", &trust, "--interface", "127.0.0.5", version]);
            assert_eq!(got.status, 200, "{keys}: {got:?}");
            assert_eq!(backend.requests_to(&path)[0].header("x-real-ip"), Some("127.0.0.5"), "{keys}");
        }
    }
    nothing_in_flight(&edge);
}

#[test]
fn only_balancers_may_connect_and_only_with_a_header() {
    let backend = Backend::start();
    let strangers = edge(&backend, "trust.proxies = ['192.0.2.1']");
    let mut connection = Connection::open(strangers.address());
    let _ = connection.write(format!("{LINE}GET /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(connection.read_response("GET").is_err(), "whoever may connect could be anybody");
    // The one that looked whether it listens is the other.
    refused(&strangers, "stranger", 2.0);

    let edge = edge(&backend, TRUSTED);
    refused(&edge, "no_header", 1.0);
    let malformed = [
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("{}GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0"),
        format!("PROXY TCP4 {}\r\n", "1".repeat(200)),
    ];
    for bytes in &malformed {
        let mut connection = Connection::open(edge.address());
        let _ = connection.write(bytes);
        let answer = connection.read_until_close(Duration::from_secs(10)).unwrap_or_default();
        assert!(answer.is_empty(), "{bytes:?}: {}", String::from_utf8_lossy(&answer));
    }
    refused(&edge, "no_header", 1.0 + malformed.len() as f64);
    edge.process.wait_for_line("connection has no PROXY header", Duration::from_secs(5));
    // A second header is the client's, and no request.
    let mut connection = Connection::open(edge.address());
    connection.write(format!("{LINE}{LINE}GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
    connection.read_response("GET").unwrap().expect_status(400);
    assert!(backend.requests_to("/x").is_empty());
    nothing_in_flight(&edge);
}

#[test]
fn a_header_that_drips_is_cut_at_the_deadline_of_a_head_and_one_in_pieces_is_not() {
    let backend = Backend::start();
    let edge = edge(&backend, &format!("{TRUSTED}\nclient.client_header_timeout = '700ms'"));
    let mut pieces = Connection::open(edge.address());
    for byte in LINE.bytes().chain(*b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n") {
        pieces.write([byte]).unwrap();
    }
    pieces.read_response("GET").unwrap().expect_status(200);
    let (mut slow, began) = (Connection::open(edge.address()), Instant::now());
    slow.write("PROXY TCP4 ").unwrap();
    let _ = slow.read_until_close(Duration::from_secs(10));
    let took = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&took), "{took:?}");
    refused(&edge, "late_header", 1.0);
}

#[test]
fn limits_and_lists_are_about_the_client_behind_the_balancer() {
    let backend = Backend::start();
    let builder = Edge::builder().backend(&backend).without_probe().toml(TRUSTED);
    let listener = format!(
        "listeners = [{{ name = 'http', address = '{}', proxy_protocol = true, deny = ['192.0.2.0/24'] }}]",
        builder.address()
    );
    let edge = builder.toml(&listener).toml("client.max_connections_per_client = 2").start();
    let mut held = Vec::new();
    let mut is_taken = |client: [u8; 4]| {
        let mut connection = Connection::open(edge.address());
        let _ = connection.write([second(client), Request::get("/x").to_bytes()].concat());
        let is_taken = connection.read_response("GET").is_ok_and(|answer| answer.status == 200);
        held.push(connection);
        is_taken
    };
    assert!(!is_taken([192, 0, 2, 7]));
    assert_eq!([198, 198, 198, 203].map(|first| is_taken([first, 51, 100, 1])), [true, true, false, true]);
    refused(&edge, "acl", 1.0);
    refused(&edge, "client", 1.0);
    drop(held);
    nothing_in_flight(&edge);
}
