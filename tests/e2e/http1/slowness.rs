//! Slow clients are bounded in time and in memory, and cost nobody else anything.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Load, Reply, Request, eventually};
use tokio::time::Instant;

use crate::witness::nothing_in_flight;

const SOON: Duration = Duration::from_secs(15);

/// Sends one byte of a head at a time until an answer comes; what came, and after how long.
fn drip(connection: &mut Connection) -> (String, Duration) {
    let began = Instant::now();
    let head = b"GET /slow HTTP/1.1\r\nHost: a\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in head {
        if connection.has_input_within(Duration::from_millis(20)) {
            break;
        }
        assert!(began.elapsed() < SOON, "a head that never ends is still being read");
        if connection.write([*byte]).is_err() {
            break;
        }
    }
    let answer = connection.read_until_close(SOON).unwrap_or_default();
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[test]
fn a_head_that_drips_in_is_408_at_its_deadline_on_the_first_and_on_later_requests() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_header_timeout = '700ms'").start();
    for earlier in [0, 1, 3] {
        let mut connection = Connection::open(edge.address());
        for _ in 0..earlier {
            connection.exchange(&Request::get("/good")).unwrap().expect_status(200);
        }
        let (answer, elapsed) = drip(&mut connection);
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "after {earlier}: {answer}");
        let bounds = Duration::from_millis(600)..Duration::from_millis(2500);
        assert!(bounds.contains(&elapsed), "after {earlier}: {elapsed:?}");
    }
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "head_too_slow")], 3.0);
    assert!(backend.requests_to("/slow").is_empty());
    nothing_in_flight(&edge);
}

#[test]
fn three_hundred_dripping_clients_do_not_slow_the_others() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let load = || Load::on(edge.address(), "/fast").connections(4).requests(1500).run();
    let alone = load();
    alone.assert_all_ok();

    let mut drips: Vec<Connection> = (0..300).map(|_| Connection::open(edge.address())).collect();
    drips.iter_mut().for_each(|drip| drip.write("GET /slow HTTP/1.1\r\nX: ").unwrap());
    let running = Load::on(edge.address(), "/fast").connections(4).requests(1500).start();
    let mut rounds = 0;
    while running.answered() < 1500 && rounds < 100 {
        drips.iter_mut().for_each(|drip| drip.write("x").unwrap());
        rounds += 1;
        running.wait_for(usize::from(running.answered() < 1490));
    }
    let beside = running.stop();
    beside.assert_all_ok();
    let (before, after) = (alone.percentile(99), beside.percentile(99));
    assert!(after < before * 5 + Duration::from_millis(50), "p99 was {before:?} alone and {after:?} beside");
    drop(drips);
    nothing_in_flight(&edge);
}

#[test]
fn fifty_slow_readers_of_a_large_body_hold_bounded_memory() {
    const READERS: usize = 50;
    const MOST_EACH: u64 = 512 * 1024;
    let backend = Backend::start();
    backend.answer_on("/large", Reply::ok(vec![b'x'; 10 << 20]));
    let edge = Edge::builder().backend(&backend).without_probe().start();
    edge.get("/large").expect_status(200);
    let before = edge.process.resident_bytes();
    let mut readers: Vec<Connection> = (0..READERS).map(|_| Connection::open(edge.address())).collect();
    for reader in &mut readers {
        reader.write(Request::get("/large").to_bytes()).unwrap();
    }
    for reader in &mut readers {
        reader.read_head().unwrap().expect("an answer has begun");
    }
    edge.wait_for_metric("http_requests_in_flight", &[], READERS as f64);
    // As full as it gets: no more moves once the sockets are full.
    let mut last = 0;
    let settle = || {
        let now = edge.process.resident_bytes();
        std::mem::replace(&mut last, now).abs_diff(now)
    };
    eventually("memory is steady", SOON, settle, |moved| *moved < 64 * 1024);
    let grown = edge.process.resident_bytes().saturating_sub(before);
    assert!(grown < MOST_EACH * READERS as u64, "{} KiB for each reader", grown / 1024 / READERS as u64);
    edge.get("/fast").expect_status(200);
    drop(readers);
    nothing_in_flight(&edge);
}
