//! When every backend has all it may have, requests wait their turn: a bounded number, for a bounded time.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Load, Reply, Request, eventually, throughout};

use crate::witness::{logged_status, nothing_in_flight};

const PLACES: [&str; 2] = ["upstreams.app", "defaults.upstream"];

fn slow(backend: &Backend, delay: Duration) {
    let name = backend.name().to_owned();
    backend.script(move |_| Reply::ok(name.clone()).delay(delay));
}

/// Sends a request on a connection of its own and does not wait for its answer.
fn begun(edge: &Edge, path: &str) -> Connection {
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get(path).to_bytes()).expect("the edge takes the request");
    connection
}

// key: proxy.toml upstreams.*.backends[].max_conns, defaults.backend.max_conns
#[test]
fn a_backend_never_gets_more_requests_at_once_than_it_may_have() {
    for (in_row, in_defaults) in [("max_conns = 2", 0), ("", 2)] {
        let backends = ["a", "b"].map(Backend::named);
        backends.iter().for_each(|backend| slow(backend, Duration::from_millis(20)));
        let builder = Edge::builder().backend_with(&backends[0], in_row).backend_with(&backends[1], in_row);
        let edge =
            builder.toml(&format!("defaults.backend.max_conns = {in_defaults}")).without_probe().start();
        let load = Load::on(edge.address(), "/x").connections(16).start();
        throughout(
            "at most two at once",
            Duration::from_millis(800),
            || {
                let metrics = edge.metrics();
                ["a", "b"].map(|id| metrics.value("proxy_upstream_in_flight", &[("backend", id)]))
            },
            |at_once| at_once.iter().all(|count| *count <= 2.0),
        );
        assert!(edge.metrics().value("proxy_queue_length", &[("upstream", "app")]) > 0.0);
        let report = load.stop();
        report.assert_all_ok();
        // Four at once of 20 ms each: whoever waits does so for at most four rounds and a bit.
        assert!(report.percentile(99) < Duration::from_millis(400), "{:?}", report.percentile(99));
        nothing_in_flight(&edge);
        edge.wait_for_metric("proxy_queue_length", &[("upstream", "app")], 0.0);
        let waited = edge.metrics().value("proxy_queue_wait_seconds_count", &[("upstream", "app")]);
        assert!(waited > 0.0, "who waited is counted");
    }
}

#[test]
fn who_comes_first_is_served_first() {
    let backend = Backend::named("only");
    slow(&backend, Duration::from_millis(60));
    let edge = Edge::builder().backend_with(&backend, "max_conns = 1").without_probe().start();
    let mut connections = Vec::new();
    for n in 0..8 {
        connections.push(begun(&edge, &format!("/{n}")));
        // The line must have grown before the next one comes.
        let known = || {
            let waiting = edge.metrics().value("proxy_queue_length", &[]);
            waiting as usize + backend.requests().len()
        };
        eventually("it is in the line", Duration::from_secs(5), known, |known| *known > n);
    }
    for connection in &mut connections {
        connection.read_response("GET").unwrap().expect_status(200);
    }
    let order: Vec<String> = backend.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(order, (0..8).map(|n| format!("/{n}")).collect::<Vec<_>>());
    nothing_in_flight(&edge);
}

// key: proxy.toml upstreams.*.queue, defaults.upstream.queue
#[test]
fn the_line_is_bounded_and_the_next_one_is_refused_at_once() {
    for place in PLACES {
        let backend = Backend::answering(Reply::stall());
        let builder = Edge::builder().backend_with(&backend, "max_conns = 1").without_probe();
        let edge = builder.toml(&format!("{place}.queue = 2")).start();
        let _held = begun(&edge, "/held");
        backend.wait_for_requests("/held", 1);
        let _waiting = [begun(&edge, "/1"), begun(&edge, "/2")];
        edge.wait_for_metric("proxy_queue_length", &[("upstream", "app")], 2.0);
        let refused = edge.get("/3");
        assert!(refused.expect_status(503).header("retry-after").is_some());
        assert!(refused.elapsed < Duration::from_secs(1), "{:?}", refused.elapsed);
        assert_eq!(edge.logged("/3")["reason"], "queue_full");
        edge.wait_for_metric("proxy_queue_overflow_total", &[("upstream", "app")], 1.0);
        edge.wait_for_metric("proxy_refusals_total", &[("reason", "queue_full")], 1.0);
    }
}

#[test]
fn a_line_of_zero_refuses_at_once() {
    let backend = Backend::answering(Reply::stall());
    let edge = Edge::builder().backend_with(&backend, "max_conns = 1").without_probe();
    let edge = edge.toml("upstreams.app.queue = 0").start();
    let _held = begun(&edge, "/held");
    backend.wait_for_requests("/held", 1);
    edge.get("/x").expect_status(503);
    assert_eq!(edge.logged("/x")["reason"], "queue_full");
}

// key: proxy.toml upstreams.*.queue_timeout, defaults.upstream.queue_timeout
#[test]
fn nobody_waits_longer_than_queue_timeout() {
    for place in PLACES {
        let backend = Backend::answering(Reply::stall());
        let builder = Edge::builder().backend_with(&backend, "max_conns = 1").without_probe();
        let edge = builder.toml(&format!("{place}.queue_timeout = '300ms'")).start();
        let _held = begun(&edge, "/held");
        backend.wait_for_requests("/held", 1);
        let refused = edge.get("/x");
        assert!(refused.expect_status(503).header("retry-after").is_some());
        let within = Duration::from_millis(290)..Duration::from_millis(1500);
        assert!(within.contains(&refused.elapsed), "{:?}", refused.elapsed);
        assert_eq!(logged_status(&edge, "/x"), 503);
        assert_eq!(edge.logged("/x")["reason"], "queue_timeout");
        edge.wait_for_metric("proxy_queue_timeouts_total", &[("upstream", "app")], 1.0);
        edge.wait_for_metric("proxy_queue_length", &[("upstream", "app")], 0.0);
    }
}

#[test]
fn the_deadline_of_the_request_holds_in_the_line_too() {
    let backend = Backend::answering(Reply::stall());
    let edge = Edge::builder().backend_with(&backend, "max_conns = 1").without_probe();
    let edge = edge.toml("defaults.route.timeout = '400ms'\nupstreams.app.queue_timeout = '10s'").start();
    let _held = begun(&edge, "/held");
    backend.wait_for_requests("/held", 1);
    let _second = begun(&edge, "/second");
    edge.get("/x").expect_status(504);
    nothing_in_flight(&edge);
}

#[test]
fn a_client_that_leaves_the_line_leaves_its_place() {
    let backend = Backend::named("only");
    backend.answer_on("/held", Reply::ok("held").delay(Duration::from_secs(2)));
    let edge = Edge::builder().backend_with(&backend, "max_conns = 1").without_probe().start();
    let mut held = begun(&edge, "/held");
    backend.wait_for_requests("/held", 1);
    let leaver = begun(&edge, "/leaves");
    edge.wait_for_metric("proxy_queue_length", &[], 1.0);
    drop(leaver);
    if cirque_tests::edge::Path::under_test() == cirque_tests::edge::Path::Own {
        // pingora's path does not look at its client meanwhile.
        edge.wait_for_metric("proxy_queue_length", &[], 0.0);
        assert_eq!(logged_status(&edge, "/leaves"), 499);
    }
    let mut next = begun(&edge, "/next");
    held.read_response("GET").unwrap().expect_status(200);
    next.read_response("GET").unwrap().expect_status(200);
    if cirque_tests::edge::Path::under_test() == cirque_tests::edge::Path::Own {
        assert!(backend.requests_to("/leaves").is_empty());
    }
    nothing_in_flight(&edge);
}

#[test]
fn a_backend_that_comes_back_takes_from_the_line() {
    let (first, second) = (Backend::named("first"), Backend::named("second"));
    first.answer_on("/held", Reply::ok("held").delay(Duration::from_secs(8)));
    second.answer_on("/health", Reply::status(500));
    let edge = Edge::builder()
        .backend_with(&first, "max_conns = 1")
        .backend_with(&second, "slow_start = '0s'")
        .toml(
            "upstreams.app.probe = { path = '/health', interval = '100ms', fall = 1, rise = 1 }
             upstreams.app.queue_timeout = '20s'",
        )
        .start();
    edge.wait_for_metric("proxy_backend_up", &[("backend", "second")], 0.0);
    let _held = begun(&edge, "/held");
    first.wait_for_requests("/held", 1);
    let mut waiting = begun(&edge, "/waits");
    edge.wait_for_metric("proxy_queue_length", &[], 1.0);
    second.answer_on("/health", Reply::ok("well"));
    let answer = waiting.read_response("GET").unwrap();
    assert_eq!(answer.expect_status(200).text(), "second");
    assert!(answer.elapsed < Duration::from_secs(5), "{:?}", answer.elapsed);
}
