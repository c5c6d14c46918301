//! A stop takes nothing away: what is in flight is finished, and when nothing is, it ends at once.

use std::net::TcpStream;
use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually};
use tokio::time::Instant;

use crate::witness::logged_status;

#[test]
fn sigterm_ends_an_idle_edge_at_once() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    let mut kept = Connection::open(edge.address());
    kept.exchange(&Request::get("/x")).unwrap().expect_status(200);
    let silent = Connection::open(edge.address());
    let began = Instant::now();
    edge.process.terminate();
    assert_eq!(edge.process.expect_exit(Duration::from_secs(5)), 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop((kept, silent));
}

#[test]
fn sigint_ends_an_idle_edge_at_once() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    let began = Instant::now();
    edge.process.interrupt();
    assert_eq!(edge.process.expect_exit(Duration::from_secs(5)), 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn requests_in_flight_are_finished_and_new_connections_refused() {
    let backend = Backend::start();
    backend.answer_on("/slow", Reply::ok("x".repeat(15)).drip(1, Duration::from_millis(100)));
    let mut edge = Edge::before(&[&backend]);
    let mut connections: Vec<Connection> = (0..4).map(|_| Connection::open(edge.address())).collect();
    for connection in &mut connections {
        connection.write(Request::get("/slow").to_bytes()).unwrap();
    }
    backend.wait_for_requests("/slow", 4);
    let began = Instant::now();
    edge.process.terminate();

    let connect = || TcpStream::connect_timeout(&edge.address(), Duration::from_secs(1)).map(drop);
    let refused = eventually("new connections are refused", Duration::from_secs(2), connect, Result::is_err);
    drop(refused);
    for connection in &mut connections {
        let response = connection.read_response("GET").unwrap();
        assert_eq!(response.expect_status(200).body.len(), 15);
    }
    assert_eq!(edge.process.expect_exit(Duration::from_secs(5)), 0);
    let elapsed = began.elapsed();
    assert!(elapsed > Duration::from_secs(1) && elapsed < Duration::from_secs(4), "{elapsed:?}");
    assert_eq!(logged_status(&edge, "/slow"), 200);
    assert_eq!(edge.access_log().len(), 4, "every request has its line although the process ended");
}

#[test]
fn an_edge_that_says_it_is_ready_accepts_connections() {
    let backend = Backend::start();
    for _ in 0..5 {
        let edge = Edge::builder().backend(&backend).launch();
        edge.wait_until_ready();
        edge.get("/x").expect_status(200);
    }
}

// key: proxy.toml server.grace_period
#[test]
fn what_does_not_finish_within_the_grace_period_is_cut() {
    let backend = Backend::answering(Reply::stall());
    let mut edge =
        Edge::builder().backend(&backend).without_probe().toml("server.grace_period = '1s'").start();
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/never").to_bytes()).unwrap();
    backend.wait_for_requests("/never", 1);
    let began = Instant::now();
    edge.process.terminate();
    assert!(edge.process.wait_exit(Duration::from_secs(8)).is_some(), "still running after the grace period");
    let elapsed = began.elapsed();
    assert!(elapsed > Duration::from_millis(800) && elapsed < Duration::from_secs(4), "{elapsed:?}");
}
