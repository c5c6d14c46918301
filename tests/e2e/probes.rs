//! What a probe asks, what it takes for health, and how often it comes.

use std::time::Duration;

use cirque_tests::{Backend, Edge, Reply, eventually, throughout};

const PLACES: [&str; 2] = ["upstreams.app", "defaults.upstream"];

/// An edge before one backend, probed quickly and with these keys.
fn edge(backend: &Backend, place: &str, keys: &str) -> Edge {
    let toml = format!(
        "{place}.probe = {{ path = '/health', interval = '100ms', timeout = '1s', fall = 1, rise = 1, {keys} }}"
    );
    Edge::builder().backend(backend).toml(&toml).start()
}

#[track_caller]
fn wait_for_state(edge: &Edge, state: &str) {
    edge.wait_for_metric("proxy_backend_state", &[("backend", "backend"), ("state", state)], 1.0);
}

#[track_caller]
fn wait_for_result(edge: &Edge, result: &str) {
    let found = || edge.metrics().value("proxy_probes_total", &[("result", result)]);
    eventually(&format!("a probe with the result {result}"), Duration::from_secs(10), found, |n| *n > 0.0);
}

// key: proxy.toml upstreams.*.probe.kind, defaults.upstream.probe.kind
#[test]
fn a_probe_may_be_a_connection_or_nothing_at_all() {
    for place in PLACES {
        let backend = Backend::named("backend");
        backend.answer(Reply::status(500));
        let by_connection = edge(&backend, place, "kind = 'tcp'");
        wait_for_state(&by_connection, "up");
        assert!(backend.requests().is_empty(), "nothing was asked");
        backend.refuse();
        wait_for_state(&by_connection, "down");
        wait_for_result(&by_connection, "connect");
        by_connection.process.wait_for_line("probe failed", Duration::from_secs(5));
        let not_at_all = edge(&backend, place, "kind = 'off'");
        wait_for_state(&not_at_all, "up");
        throughout(
            "nobody asks",
            Duration::from_millis(500),
            || not_at_all.metrics().value("proxy_probes_total", &[]),
            |n| *n < 1.0,
        );
    }
}

// key: proxy.toml upstreams.*.probe.host, defaults.upstream.probe.host
#[test]
fn a_probe_names_the_host_that_it_is_told() {
    for place in PLACES {
        let backend = Backend::named("backend");
        let _edge = edge(&backend, place, "host = 'health.example.com'");
        let asked = backend.wait_for_requests("/health", 1);
        assert_eq!(asked[0].header("host"), Some("health.example.com"));
        assert!(asked[0].header("user-agent").is_some_and(|agent| agent.starts_with("cirque-probe/")));
    }
    let backend = Backend::named("backend");
    let _edge = edge(&backend, "upstreams.app", "");
    let asked = backend.wait_for_requests("/health", 1);
    assert_eq!(asked[0].header("host"), Some(backend.address().to_string().as_str()));
}

// key: proxy.toml upstreams.*.probe.port, defaults.upstream.probe.port
#[test]
fn a_probe_may_ask_another_port() {
    for place in PLACES {
        let (backend, health) = (Backend::named("backend"), Backend::named("health"));
        let edge = edge(&backend, place, &format!("port = {}", health.address().port()));
        health.wait_for_requests("/health", 2);
        assert!(backend.requests().is_empty());
        health.answer(Reply::status(503));
        wait_for_state(&edge, "down");
    }
}

// key: proxy.toml upstreams.*.probe.status, defaults.upstream.probe.status
#[test]
fn the_statuses_that_are_healthy_are_named() {
    for place in PLACES {
        let backend = Backend::named("backend");
        backend.answer_on("/health", Reply::status(404));
        let edge = edge(&backend, place, "status = ['200-204', '404']");
        wait_for_state(&edge, "up");
        backend.answer_on("/health", Reply::status(302));
        wait_for_state(&edge, "down");
        wait_for_result(&edge, "status");
        backend.answer_on("/health", Reply::status(204));
        wait_for_state(&edge, "slow_start");
    }
}

// key: proxy.toml upstreams.*.probe.body, defaults.upstream.probe.body
#[test]
fn the_body_must_contain_what_it_is_told_within_its_first_64_kib() {
    for place in PLACES {
        let backend = Backend::named("backend");
        backend.answer_on("/health", Reply::ok("{\"status\": \"ok\"}").chunked());
        let edge = edge(&backend, place, "body = '\"ok\"'");
        wait_for_state(&edge, "up");
        backend.answer_on("/health", Reply::ok("{\"status\": \"degraded\"}"));
        wait_for_state(&edge, "down");
        wait_for_result(&edge, "body");
        let late = format!("{}\"ok\"", "x".repeat(64 * 1024));
        backend.answer_on("/health", Reply::ok(late));
        let failed = || edge.metrics().value("proxy_probes_total", &[("result", "body")]);
        let before = failed();
        eventually("what comes late is not seen", Duration::from_secs(5), failed, |n| *n > before + 2.0);
        wait_for_state(&edge, "down");
    }
}

#[test]
fn an_endless_body_is_read_no_further_than_is_looked_at() {
    let backend = Backend::named("backend");
    backend.answer_on("/health", Reply::ok(vec![b'x'; 1 << 20]).drip(64 * 1024, Duration::from_millis(300)));
    let edge = edge(&backend, "upstreams.app", "body = 'x'");
    wait_for_result(&edge, "success");
    wait_for_state(&edge, "up");
}

#[test]
fn an_answer_that_is_not_http_or_breaks_off_is_a_failure() {
    for reply in [Reply::garbage("SSH-2.0-x\r\n"), Reply::ok("0123456789").cut_after(3), Reply::close()] {
        let backend = Backend::named("backend");
        backend.answer_on("/health", reply);
        let edge = edge(&backend, "upstreams.app", "");
        wait_for_state(&edge, "down");
        wait_for_result(&edge, "broken");
    }
}

// key: proxy.toml upstreams.*.probe.fast_interval, defaults.upstream.probe.fast_interval
#[test]
fn a_backend_in_doubt_is_probed_faster() {
    for place in PLACES {
        let backend = Backend::named("backend");
        backend.answer_on("/health", Reply::status(500));
        let toml = format!(
            "{place}.probe = {{ path = '/health', interval = '1h', fast_interval = '100ms', fall = 4, rise = 4 }}"
        );
        let edge = Edge::builder().backend(&backend).toml(&toml).start();
        wait_for_state(&edge, "down");
        let seen = backend.requests_to("/health");
        assert_eq!(seen.len(), 4, "no more than it takes");
        assert!(seen[3].at - seen[0].at < Duration::from_secs(2), "an hour was not waited for");
        throughout(
            "who is known to be down is left alone",
            Duration::from_millis(600),
            || backend.requests_to("/health").len(),
            |n| *n == 4,
        );
    }
}

// key: proxy.toml upstreams.*.probe.jitter, defaults.upstream.probe.jitter
#[test]
fn probes_are_spread_by_their_jitter() {
    let spread = |toml: &str| {
        let backend = Backend::named("backend");
        let _edge = Edge::builder().backend(&backend).toml(toml).start();
        let seen = backend.wait_for_requests("/health", 16);
        let pauses: Vec<Duration> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        // The longest ones are the scheduler's.
        let mut sorted = pauses;
        sorted.sort();
        sorted[12] - sorted[1]
    };
    for place in PLACES {
        let toml = |jitter| {
            format!("{place}.probe = {{ path = '/health', interval = '200ms', jitter = '{jitter}' }}")
        };
        let (none, half) = (spread(&toml("0%")), spread(&toml("50%")));
        assert!(none < Duration::from_millis(40), "without jitter pauses differ by {none:?}");
        assert!(half > Duration::from_millis(50), "with jitter pauses differ by {half:?}");
    }
}
