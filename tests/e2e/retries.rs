//! When a failed attempt is tried again on another backend, and when it must not be.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually, throughout};
use tokio::time::Instant;

use crate::witness::{logged_backends, logged_status, nothing_in_flight};

/// A bad backend that is tried first, because the good one is its backup.
struct Pair {
    bad: Backend,
    good: Backend,
}

impl Pair {
    fn new(reply: Reply) -> Pair {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        bad.answer(reply);
        bad.answer_on("/", Reply::ok("healthy"));
        Pair { bad, good }
    }

    /// The first attempt goes to the bad one, which is never ejected.
    fn edge(&self, toml: &str) -> Edge {
        Edge::builder()
            .backend(&self.bad)
            .backend_with(&self.good, "backup = true")
            .without_ejection()
            .toml(toml)
            .start()
    }
}

#[track_caller]
fn expect_retried(edge: &Edge, path: &str, reason: &str) {
    assert_eq!(logged_status(edge, path), 200);
    assert_eq!(logged_backends(edge, path), ["bad", "good"]);
    let metrics = edge.metrics();
    let retries = metrics.value("proxy_retries_total", &[("upstream", "app"), ("reason", reason)]);
    assert_eq!(retries, 1.0, "{:#?}", metrics.lines("proxy_retries_total"));
    nothing_in_flight(edge);
}

#[track_caller]
fn expect_denied(edge: &Edge, path: &str, status: u16, reason: &str) {
    assert_eq!(logged_status(edge, path), u64::from(status));
    assert_eq!(logged_backends(edge, path), ["bad"]);
    let metrics = edge.metrics();
    let denied = metrics.value("proxy_retries_denied_total", &[("upstream", "app"), ("reason", reason)]);
    assert_eq!(denied, 1.0, "{:#?}", metrics.lines("proxy_retries_denied_total"));
    nothing_in_flight(edge);
}

#[test]
fn a_get_is_retried_on_another_backend_when_connecting_is_refused() {
    let pair = Pair::new(Reply::ok("never"));
    let edge = pair.edge("upstreams.app.probe.interval = '1h'");
    pair.bad.refuse();
    assert_eq!(edge.get("/x").expect_status(200).text(), "good");
    expect_retried(&edge, "/x", "connect");
}

// key: proxy.toml defaults.route.retry.on
#[test]
fn a_get_is_retried_when_the_connection_breaks_before_an_answer() {
    let pair = Pair::new(Reply::close());
    let edge = pair.edge("defaults.route.retry.on = ['error']");
    assert_eq!(edge.get("/x").expect_status(200).text(), "good");
    expect_retried(&edge, "/x", "reset");
    assert_eq!(pair.bad.requests_to("/x").len(), 1);
}

#[test]
fn a_get_is_retried_when_no_answer_comes_in_time() {
    let pair = Pair::new(Reply::stall());
    let edge = pair.edge("upstreams.app.read_timeout = '300ms'");
    let response = edge.get("/x");
    assert_eq!(response.expect_status(200).text(), "good");
    assert!(response.elapsed < Duration::from_secs(2), "{:?}", response.elapsed);
    expect_retried(&edge, "/x", "read_timeout");
}

#[test]
fn a_get_is_retried_for_each_listed_status() {
    for status in [502_u16, 503, 504] {
        let pair = Pair::new(Reply::status(status));
        let edge = pair.edge("");
        assert_eq!(edge.get("/x").expect_status(200).text(), "good");
        expect_retried(&edge, "/x", &format!("http_{status}"));
    }
}

// key: proxy.toml routes[].retry.on
#[test]
fn a_status_is_retried_only_when_the_route_lists_it() {
    let pair = Pair::new(Reply::status(500));
    let edge = pair.edge("");
    assert_eq!(edge.get("/x").expect_status(500).text(), "status 500");
    assert_eq!(logged_backends(&edge, "/x"), ["bad"]);

    let edge = pair.edge(
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { on = ['http_500', 'http_429'] } }]",
    );
    assert_eq!(edge.get("/y").expect_status(200).text(), "good");
    expect_retried(&edge, "/y", "http_500");
    pair.bad.answer(Reply::status(429));
    assert_eq!(edge.get("/z").expect_status(200).text(), "good");
}

#[test]
fn a_post_is_not_sent_twice_after_bytes_went_out() {
    for (reply, status) in [(Reply::close(), 502_u16), (Reply::stall(), 504), (Reply::status(503), 503)] {
        let pair = Pair::new(reply);
        let edge = pair.edge("upstreams.app.read_timeout = '300ms'");
        edge.send(&Request::post("/pay", "once")).expect_status(status);
        expect_denied(&edge, "/pay", status, "not_idempotent");
        let sent = || pair.bad.requests_to("/pay").len() + pair.good.requests_to("/pay").len();
        throughout("the POST was sent once", Duration::from_millis(300), sent, |sent| *sent == 1);
    }
}

#[test]
fn a_post_is_retried_when_no_byte_went_out() {
    let pair = Pair::new(Reply::ok("never"));
    let edge = pair.edge("upstreams.app.probe.interval = '1h'");
    pair.bad.refuse();
    assert_eq!(edge.send(&Request::post("/pay", "once")).expect_status(200).text(), "good");
    assert_eq!(pair.good.requests_to("/pay")[0].body, b"once");
    expect_retried(&edge, "/pay", "connect");
}

// key: proxy.toml routes[].retry.non_idempotent, defaults.route.retry.non_idempotent
#[test]
fn a_post_is_repeated_when_the_operator_says_that_it_may_be() {
    for toml in [
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { non_idempotent = true } }]",
        "defaults.route.retry.non_idempotent = true",
    ] {
        let pair = Pair::new(Reply::status(503));
        let edge = pair.edge(toml);
        assert_eq!(edge.send(&Request::post("/pay", "twice")).expect_status(200).text(), "good");
        assert_eq!(pair.good.requests_to("/pay")[0].body, b"twice");
        expect_retried(&edge, "/pay", "http_503");
    }
}

#[test]
fn a_put_is_retried_with_its_whole_body() {
    let pair = Pair::new(Reply::status(503));
    let edge = pair.edge("");
    let body: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let response = edge.send(&Request::new("PUT", "/doc").body(body.clone()));
    assert_eq!(response.expect_status(200).text(), "good");
    assert!(pair.good.requests_to("/doc")[0].body == body);
    expect_retried(&edge, "/doc", "http_503");
}

#[test]
fn a_body_above_the_replay_limit_is_not_retried() {
    let pair = Pair::new(Reply::status(503));
    let edge = pair.edge("");
    let body = vec![b'x'; 65 * 1024 + 1];
    edge.send(&Request::new("PUT", "/doc").body(body)).expect_status(503);
    expect_denied(&edge, "/doc", 503, "body_not_replayable");
    assert!(pair.good.requests_to("/doc").is_empty());
}

// key: proxy.toml routes[].retry.attempts, defaults.route.retry.attempts
#[test]
fn attempts_are_limited_and_the_last_real_answer_is_passed_on() {
    for (toml, attempts) in [
        ("defaults.route.retry.attempts = 1", 1),
        ("defaults.route.retry.attempts = 2", 2),
        ("", 3),
        ("routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { attempts = 4 } }]", 4),
    ] {
        let backends: Vec<Backend> = (1..=5).map(|n| Backend::named(&format!("bad-{n}"))).collect();
        for backend in &backends {
            backend.answer(Reply::status(503).header("X-Reason", "overloaded"));
            backend.answer_on("/", Reply::ok("healthy"));
        }
        let builder = backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
        let edge = builder.toml(toml).start();
        let response = edge.get("/x");
        assert_eq!(response.expect_status(503).header("x-reason"), Some("overloaded"));
        assert_eq!(response.text(), "status 503");
        let sent: Vec<usize> = backends.iter().map(|backend| backend.requests_to("/x").len()).collect();
        assert_eq!(sent.iter().sum::<usize>(), attempts, "{toml}: {sent:?}");
        assert!(sent.iter().all(|n| *n <= 1), "each attempt goes to another backend: {sent:?}");
        assert_eq!(logged_backends(&edge, "/x").len(), attempts);
        let denied = edge.metrics().value("proxy_retries_denied_total", &[("reason", "attempts_exhausted")]);
        assert_eq!(denied, 1.0, "{toml}");
    }
}

// key: proxy.toml routes[].retry.budget, defaults.route.retry.budget
#[test]
fn retries_stay_within_the_budget() {
    // A budget starts with a hundred retries saved up.
    const REQUESTS: usize = 300;
    for (toml, allowed) in [
        ("defaults.route.retry.budget = '0%'", 100..=140),
        (
            "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { budget = '50%' } }]",
            240..=290,
        ),
        ("defaults.route.retry.budget = '100%'", REQUESTS..=REQUESTS),
    ] {
        let pair = Pair::new(Reply::status(503));
        let edge = pair.edge(toml);
        let mut client = edge.client();
        let ok = (0..REQUESTS).filter(|_| client.get("/x").status == 200).count();
        assert!(allowed.contains(&ok), "{toml}: {ok} of {REQUESTS} were retried");
        let metrics = edge.metrics();
        assert_eq!(metrics.value("proxy_retries_total", &[("reason", "http_503")]), ok as f64);
        let refused = metrics.value("proxy_retries_denied_total", &[("reason", "budget_empty")]);
        assert_eq!(refused, (REQUESTS - ok) as f64);
    }
}

// key: proxy.toml routes[].retry.budget_floor, defaults.route.retry.budget_floor
#[test]
fn a_few_retries_a_second_are_free_whatever_the_budget_says() {
    for toml in [
        "defaults.route.retry = { budget = '0%', budget_floor = 50 }",
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { budget = '0%', budget_floor = 50 } }]",
    ] {
        let pair = Pair::new(Reply::status(503));
        let edge = pair.edge(toml);
        // What was saved up at the start is spent, then fifty a second are earned.
        let mut client = edge.client();
        let began = Instant::now();
        let denied = || (0..400).filter(|_| client.get("/x").status == 503).count();
        eventually("the budget is spent", Duration::from_secs(20), denied, |denied| *denied > 0);
        let took = began.elapsed().as_secs_f64();
        let retried = edge.metrics().value("proxy_retries_total", &[("reason", "http_503")]);
        assert!(retried > 100.0 && retried <= 101.0 + 50.0 * (took + 1.0), "{retried} in {took} s");
        let earned = || edge.get("/x").status;
        eventually("more are earned", Duration::from_secs(2), earned, |status| *status == 200);
    }
}

// key: proxy.toml routes[].retry.attempt_timeout, defaults.route.retry.attempt_timeout
#[test]
fn an_attempt_takes_no_longer_than_its_own_timeout() {
    for toml in [
        "defaults.route.retry.attempt_timeout = '300ms'",
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', retry = { attempt_timeout = '300ms' } }]",
    ] {
        let pair = Pair::new(Reply::stall());
        let edge = pair.edge(toml);
        let response = edge.get("/x");
        assert_eq!(response.expect_status(200).text(), "good");
        assert!(response.elapsed < Duration::from_secs(2), "{:?}", response.elapsed);
        assert!(response.elapsed >= Duration::from_millis(290), "{:?}", response.elapsed);
        expect_retried(&edge, "/x", "attempt_timeout");
    }
}

#[test]
fn an_answer_that_began_in_time_may_take_longer_than_an_attempt() {
    let pair = Pair::new(Reply::ok("x".repeat(10)).drip(1, Duration::from_millis(80)));
    let edge = pair.edge("defaults.route.retry.attempt_timeout = '400ms'");
    assert_eq!(edge.get("/x").expect_status(200).body.len(), 10);
    assert_eq!(logged_backends(&edge, "/x"), ["bad"]);
}

// key: proxy.toml routes[].retry.backoff, defaults.route.retry.backoff
// key: proxy.toml routes[].retry.max_backoff, defaults.route.retry.max_backoff
#[test]
fn the_first_retry_is_made_at_once_and_later_ones_wait_longer_each_time() {
    let none = "backoff = '0s', max_backoff = '0s'";
    let whole = "backoff = '200ms', max_backoff = '10s'";
    let capped = "backoff = '10s', max_backoff = '200ms'";
    for (policy, pauses) in [(none, 0..=0), (whole, 300..=600), (capped, 200..=400)] {
        for place in [
            format!("defaults.route.retry = {{ attempts = 4, {policy} }}"),
            format!(
                "routes = [{{ name = 'all', paths = ['/*'], upstream = 'app', retry = {{ attempts = 4, {policy} }} }}]"
            ),
        ] {
            let backends: Vec<Backend> = (1..=4).map(|n| Backend::named(&format!("bad-{n}"))).collect();
            backends.iter().for_each(|backend| backend.answer_on("/x", Reply::status(503)));
            let builder = backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
            let edge = builder.without_ejection().toml(&place).start();
            edge.get("/x").expect_status(503);
            let mut sent: Vec<Instant> = backends
                .iter()
                .flat_map(|backend| backend.requests_to("/x"))
                .map(|request| request.at)
                .collect();
            sent.sort();
            assert_eq!(sent.len(), 4, "{place}");
            assert!(sent[1] - sent[0] < Duration::from_millis(100), "the first retry waited: {place}");
            let paused = (sent[3] - sent[1]).as_millis();
            assert!(*pauses.start() <= paused && paused < pauses.end() + 250, "{paused} ms: {place}");
        }
    }
}

#[test]
fn a_pause_that_the_deadline_does_not_leave_is_not_begun() {
    let pair = Pair::new(Reply::status(503));
    pair.good.answer_on("/x", Reply::status(503));
    let third = Backend::named("third");
    third.answer_on("/x", Reply::status(503));
    let builder = Edge::builder().backend(&pair.bad).backend(&pair.good).backend(&third).without_ejection();
    let edge = builder
        .toml(
            "routes = [{ name = 'all', paths = ['/*'], upstream = 'app', timeout = '2s',
                         retry = { attempts = 4, backoff = '20s', max_backoff = '20s' } }]",
        )
        .start();
    let response = edge.get("/x");
    assert_eq!(response.expect_status(503).text(), "status 503", "the last real answer");
    assert!(response.elapsed < Duration::from_secs(1), "{:?}", response.elapsed);
    edge.wait_for_metric("proxy_retries_denied_total", &[("reason", "deadline_reached")], 1.0);
}

#[test]
fn a_retried_request_that_ends_well_is_counted_as_such() {
    let pair = Pair::new(Reply::status(503));
    let edge = pair.edge("");
    edge.get("/x").expect_status(200);
    edge.wait_for_metric("proxy_retry_success_total", &[("upstream", "app")], 1.0);
    pair.good.answer(Reply::status(503));
    edge.get("/y").expect_status(503);
    nothing_in_flight(&edge);
    edge.wait_for_metric("proxy_retry_success_total", &[("upstream", "app")], 1.0);
}

#[test]
fn error_kinds_are_listed_one_by_one() {
    for (word, reply, retried) in [
        ("connect", Reply::close(), false),
        ("reset", Reply::close(), true),
        ("invalid_header", Reply::garbage("SSH-2.0\r\n\r\n"), true),
        ("invalid_header", Reply::close(), false),
        ("http_418", Reply::status(418), true),
        ("http_404", Reply::status(418), false),
    ] {
        let pair = Pair::new(reply);
        let edge = pair.edge(&format!("defaults.route.retry.on = ['{word}']"));
        let status = edge.get("/x").status;
        assert_eq!(status == 200, retried, "{word}: {status}");
    }
    let pair = Pair::new(Reply::ok("never"));
    let edge = pair.edge("defaults.route.retry.on = ['connect']\nupstreams.app.probe.interval = '1h'");
    pair.bad.refuse();
    edge.get("/x").expect_status(200);
}

#[test]
fn an_answer_that_began_is_never_tried_again() {
    let pair = Pair::new(Reply::ok(vec![b'x'; 1000]).cut_after(10));
    let edge = pair.edge("");
    assert!(edge.client().try_send(&Request::get("/x")).is_err());
    assert_eq!(logged_backends(&edge, "/x"), ["bad"]);
    assert!(pair.good.requests_to("/x").is_empty());
    nothing_in_flight(&edge);
}

#[test]
fn a_client_that_leaves_is_no_reason_to_try_again() {
    let pair = Pair::new(Reply::ok("late").delay(Duration::from_millis(400)));
    let edge = pair.edge("");
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/x").to_bytes()).unwrap();
    pair.bad.wait_for_requests("/x", 1);
    drop(connection);
    nothing_in_flight(&edge);
    eventually(
        "the request is logged",
        Duration::from_secs(5),
        || edge.access_log().len(),
        |lines| *lines == 1,
    );
    assert!(pair.good.requests_to("/x").is_empty());
    assert_eq!(edge.metrics().value("proxy_upstream_errors_total", &[("backend", "bad")]), 0.0);
}
