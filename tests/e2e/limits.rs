//! What is refused because it is too large, too much, too often or too slow.

mod connections;
mod heads;
mod rates;
mod slowness;

use cirque_tests::{Backend, Connection, Edge, Request};

use crate::witness::{logged_status, nothing_in_flight};

// key: proxy.toml routes[].client_max_body_size, defaults.route.client_max_body_size
#[test]
fn a_body_above_the_limit_is_413_whatever_its_framing() {
    let backend = Backend::start();
    for toml in [
        "defaults.route.client_max_body_size = '1KiB'",
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', client_max_body_size = '1KiB' }]",
    ] {
        backend.forget_requests();
        let edge = Edge::builder().backend(&backend).toml(toml).start();
        edge.send(&Request::post("/fits", vec![b'x'; 1024])).expect_status(200);

        edge.send(&Request::post("/counted", vec![b'x'; 1025])).expect_status(413);
        assert!(backend.requests_to("/counted").is_empty(), "the length alone says that it is too large");

        let mut connection = Connection::open(edge.address());
        connection.write("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        connection.write(format!("400\r\n{}\r\n", "x".repeat(1024))).unwrap();
        let _ = connection.write("1\r\nx\r\n0\r\n\r\n");
        connection.read_response("POST").unwrap().expect_status(413);
        assert!(backend.requests_to("/chunked").iter().all(|request| !request.is_complete));

        for path in ["/counted", "/chunked"] {
            assert_eq!(logged_status(&edge, path), 413);
        }
        assert_eq!(edge.metrics().value("http_requests_total", &[("code", "413")]), 2.0);
        nothing_in_flight(&edge);
    }
}

#[test]
fn a_limit_of_zero_lets_everything_through() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("defaults.route.client_max_body_size = '0'").start();
    edge.send(&Request::post("/large", vec![b'x'; 3 << 20])).expect_status(200);
    assert_eq!(backend.requests_to("/large")[0].body.len(), 3 << 20);
}

#[test]
fn an_endless_head_is_refused_and_the_edge_goes_on() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.write("GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    let line = format!("X-Filler: {}\r\n", "x".repeat(8000));
    // It may close before everything is written.
    let _ = (0..200).try_for_each(|_| connection.write(&line));
    let answer = connection.read_until_close(std::time::Duration::from_secs(20));
    let answer = String::from_utf8_lossy(&answer.expect("the connection is closed")).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    edge.get("/after").expect_status(200);
    nothing_in_flight(&edge);
}
