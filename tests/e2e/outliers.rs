//! Backends are ejected for their bad answers, whatever became of those; they come back, and the last one stays.

use std::time::Duration;

use cirque_tests::{Backend, Edge, Load, Reply, Request, eventually};

use crate::witness::nothing_in_flight;

/// Where the table may stand.
const PLACES: [&str; 2] = ["upstreams.app.outlier", "defaults.upstream.outlier"];

/// Every rule but the one that is asked for.
const OFF: &str = "consecutive_faults = 0, consecutive_errors = 0, failure_ratio = '0%'";

/// An edge before a bad and a good backend, in turn, where nothing is retried and nothing is probed.
fn edge(bad: &Backend, good: &Backend, place: &str, rules: &str) -> Edge {
    Edge::builder()
        .backend(bad)
        .backend(good)
        .without_probe()
        .toml(
            "defaults.backend = { max_fails = 0, slow_start = '0s' }
             defaults.route.retry.on = []
             upstreams.app = { balance = 'round_robin', read_timeout = '300ms' }",
        )
        .toml(&format!("{place} = {{ {OFF} }}"))
        .toml(&format!("{place} = {{ {rules} }}"))
        .start()
}

#[track_caller]
fn wait_for_ejections(edge: &Edge, reason: &str, count: u32) {
    let labels = [("backend", "bad"), ("reason", reason)];
    edge.wait_for_metric("proxy_upstream_ejections_total", &labels, f64::from(count));
}

#[track_caller]
fn wait_for_state(edge: &Edge, backend: &str, state: &str) {
    edge.wait_for_metric("proxy_backend_state", &[("backend", backend), ("state", state)], 1.0);
}

/// Sends so many requests, one after the other; how they were answered does not matter here.
fn send(edge: &Edge, n: usize) {
    let mut client = edge.client();
    (0..n).for_each(|_| drop(client.try_send(&Request::get("/x"))));
}

// key: proxy.toml upstreams.*.outlier.consecutive_errors, defaults.upstream.outlier.consecutive_errors
#[test]
fn bad_answers_in_a_row_eject_although_they_were_passed_on() {
    for place in PLACES {
        for status in [502, 503, 504] {
            let (bad, good) = (Backend::named("bad"), Backend::named("good"));
            bad.answer(Reply::status(status));
            let edge = edge(&bad, &good, place, "consecutive_errors = 4");
            let report = Load::on(edge.address(), "/x").connections(1).requests(100).run();
            assert_eq!(report.statuses[&status], 4, "as many as it takes: {:?}", report.statuses);
            wait_for_ejections(&edge, "consecutive_errors", 1);
            wait_for_state(&edge, "bad", "ejected");
            edge.process.wait_for_line("backend is ejected", Duration::from_secs(5));
            nothing_in_flight(&edge);
        }
    }
}

#[test]
fn a_post_that_may_not_be_repeated_counts_all_the_same() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(503));
    let edge = edge(&bad, &good, PLACES[0], "consecutive_errors = 3");
    let load = Load::on(edge.address(), "/x").request(Request::post("/x", "pay")).connections(1).requests(60);
    assert_eq!(load.run().statuses[&503], 3, "nginx never ejects a backend that only fails writes");
    wait_for_ejections(&edge, "consecutive_errors", 1);
}

#[test]
fn a_500_is_no_gateway_error_and_a_good_answer_ends_the_row() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(500));
    let edge = edge(&bad, &good, PLACES[0], "consecutive_errors = 3, consecutive_faults = 3");
    send(&edge, 40);
    bad.script({
        let turn = std::sync::atomic::AtomicUsize::new(0);
        move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 {
            2 => Reply::ok("good for once"),
            _ => Reply::status(503),
        }
    });
    send(&edge, 60);
    nothing_in_flight(&edge);
    assert_eq!(edge.metrics().value("proxy_upstream_ejections_total", &[]), 0.0);
}

// key: proxy.toml upstreams.*.outlier.consecutive_faults, defaults.upstream.outlier.consecutive_faults
#[test]
fn connection_faults_in_a_row_eject_and_are_told_from_bad_answers() {
    for place in PLACES {
        for reply in [Reply::close(), Reply::stall(), Reply::garbage("nonsense")] {
            let (bad, good) = (Backend::named("bad"), Backend::named("good"));
            bad.answer(reply);
            let edge = edge(&bad, &good, place, "consecutive_faults = 3, consecutive_errors = 2");
            send(&edge, 20);
            wait_for_ejections(&edge, "consecutive_faults", 1);
            assert_eq!(bad.requests_to("/x").len(), 3);
        }
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        let edge = edge(&bad, &good, place, "consecutive_faults = 3");
        bad.refuse();
        send(&edge, 20);
        wait_for_ejections(&edge, "consecutive_faults", 1);
    }
}

/// Answers with 500 for so many in ten.
fn fail_in_ten(backend: &Backend, bad: usize) {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    backend.script(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 10 {
        n if n < bad => Reply::status(500),
        _ => Reply::ok("well"),
    });
}

// key: proxy.toml upstreams.*.outlier.failure_ratio, defaults.upstream.outlier.failure_ratio
// key: proxy.toml upstreams.*.outlier.min_requests, defaults.upstream.outlier.min_requests
#[test]
fn a_part_of_failures_ejects_once_there_were_enough_requests() {
    for place in PLACES {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        fail_in_ten(&bad, 3);
        let edge = edge(&bad, &good, place, "failure_ratio = '50%', min_requests = 30, window = '60s'");
        send(&edge, 200);
        assert_eq!(bad.requests_to("/x").len(), 100, "three in ten are not five");
        bad.forget_requests();
        bad.answer(Reply::status(500));
        send(&edge, 400);
        wait_for_ejections(&edge, "failure_ratio", 1);
        // 30 of 100 failed; after n more, 30 + n of 100 + n: half of them after 40.
        assert_eq!(bad.requests_to("/x").len(), 40);
    }
}

#[test]
fn a_few_failures_are_no_part_of_anything() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(500));
    let edge = edge(&bad, &good, PLACES[0], "failure_ratio = '50%', min_requests = 30");
    send(&edge, 58);
    nothing_in_flight(&edge);
    assert_eq!(edge.metrics().value("proxy_upstream_ejections_total", &[]), 0.0, "29 are not 30");
    send(&edge, 4);
    wait_for_ejections(&edge, "failure_ratio", 1);
}

// key: proxy.toml upstreams.*.outlier.window, defaults.upstream.outlier.window
#[test]
fn what_failed_before_the_window_does_not_count() {
    for place in PLACES {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        bad.answer(Reply::status(500));
        let edge = edge(&bad, &good, place, "failure_ratio = '100%', min_requests = 20, window = '500ms'");
        // Eight in half a second, for ever, are never twenty.
        let load = Load::on(edge.address(), "/x").connections(1).per_second(30).requests(60).run();
        assert_eq!(load.statuses[&500], 30, "{:?}", load.statuses);
        assert_eq!(edge.metrics().value("proxy_upstream_ejections_total", &[]), 0.0);
        send(&edge, 200);
        wait_for_ejections(&edge, "failure_ratio", 1);
    }
}

// key: proxy.toml upstreams.*.outlier.eject_time, defaults.upstream.outlier.eject_time
// key: proxy.toml upstreams.*.outlier.max_eject_time, defaults.upstream.outlier.max_eject_time
#[test]
fn an_ejection_lasts_twice_as_long_each_time_up_to_its_cap() {
    for place in PLACES {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        bad.answer(Reply::status(503));
        let rules = "consecutive_errors = 1, eject_time = '400ms', max_eject_time = '800ms'";
        let edge = edge(&bad, &good, place, rules);
        // The first request ejects it; each trial fails, and doubles the time: 400, 800, 800, 800 ms.
        let load = Load::on(edge.address(), "/x").connections(1).per_second(100).start();
        let seen = bad.wait_for_requests("/x", 5);
        drop(load);
        let pauses: Vec<u128> = seen.windows(2).map(|pair| (pair[1].at - pair[0].at).as_millis()).collect();
        for (pause, expected) in pauses.iter().zip([400, 800, 800, 800]) {
            assert!((expected..expected + 350).contains(pause), "{pauses:?}");
        }
        bad.answer(Reply::ok("better"));
        let served = || edge.get("/x").text();
        eventually("it is admitted", Duration::from_secs(5), served, |text| text == "better");
        edge.process.wait_for_line("backend is admitted", Duration::from_secs(5));
        wait_for_state(&edge, "bad", "up");
    }
}

// key: proxy.toml upstreams.*.outlier.shadow, defaults.upstream.outlier.shadow
#[test]
fn in_shadow_what_would_be_ejected_is_counted_and_stays() {
    for place in PLACES {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        bad.answer(Reply::status(503));
        let edge = edge(&bad, &good, place, "consecutive_errors = 3, shadow = true");
        send(&edge, 40);
        assert_eq!(bad.requests_to("/x").len(), 20, "it stays in turn");
        let labels = [("backend", "bad"), ("reason", "consecutive_errors")];
        edge.wait_for_metric("proxy_upstream_ejections_shadow_total", &labels, 1.0);
        edge.process.wait_for_line("backend would be ejected", Duration::from_secs(5));
        assert_eq!(edge.metrics().value("proxy_upstream_ejections_total", &[]), 0.0);
        assert_eq!(edge.metrics().value("proxy_backend_up", &[("backend", "bad")]), 1.0);
    }
}

#[test]
fn the_last_one_stays_however_bad_it_is() {
    let (bad, worse) = (Backend::named("bad"), Backend::named("worse"));
    bad.answer(Reply::status(503));
    worse.answer(Reply::status(503));
    let rules = "consecutive_errors = 3, consecutive_faults = 3, failure_ratio = '10%', min_requests = 5";
    let edge = edge(&bad, &worse, PLACES[0], rules);
    send(&edge, 100);
    edge.wait_for_metric("proxy_backend_up", &[], 1.0);
    assert_eq!(edge.metrics().value("proxy_fail_open_total", &[]), 0.0, "one of them was always available");
    assert_eq!(bad.requests_to("/x").len() + worse.requests_to("/x").len(), 100);
}

// key: proxy.toml upstreams.*.outlier.max_ejected, defaults.upstream.outlier.max_ejected
#[test]
fn no_more_than_their_share_are_out_and_who_is_spared_is_told() {
    for place in PLACES {
        let (bad, worse, good) = (Backend::named("bad"), Backend::named("worse"), Backend::named("good"));
        let more: Vec<Backend> = ["x", "y"].map(Backend::named).into();
        bad.answer(Reply::status(503));
        worse.answer(Reply::status(503));
        for (share, out) in [("20%", 1.0), ("40%", 2.0)] {
            let edge = Edge::builder().backend(&bad).backend(&worse).backend(&good).backend(&more[0]);
            let edge = edge
                .backend(&more[1])
                .without_probe()
                .toml(
                    "defaults.backend = { max_fails = 2, fail_timeout = '30s' }
                     defaults.route.retry.on = ['http_503']
                     defaults.route.retry.attempts = 1
                     upstreams.app = { balance = 'round_robin' }",
                )
                .toml(&format!("{place} = {{ {OFF} }}"))
                .toml(&format!("{place} = {{ consecutive_errors = 2, max_ejected = '{share}' }}"))
                .start();
            send(&edge, 60);
            edge.wait_for_metric("proxy_upstream_backends", &[("state", "ejected")], out);
            let spared = edge.metrics().value("proxy_upstream_ejections_spared_total", &[]);
            assert_eq!(spared > 0.0, out < 2.0, "{share}: {spared}");
            if out < 2.0 {
                edge.process.wait_for_line("backend is spared", Duration::from_secs(5));
            }
            nothing_in_flight(&edge);
        }
    }
}

#[test]
fn series_of_ejections_exist_before_the_first_one() {
    let backend = Backend::named("bad");
    let edge = Edge::before(&[&backend]);
    let metrics = edge.metrics();
    for reason in ["max_fails", "consecutive_faults", "consecutive_errors", "failure_ratio"] {
        for name in [
            "proxy_upstream_ejections_total",
            "proxy_upstream_ejections_shadow_total",
            "proxy_upstream_ejections_spared_total",
        ] {
            assert!(metrics.has(name, &[("backend", "bad"), ("reason", reason)]), "{name} {reason}");
        }
    }
    for name in [
        "proxy_queue_length",
        "proxy_queue_overflow_total",
        "proxy_queue_timeouts_total",
        "proxy_queue_wait_seconds_count",
        "proxy_no_backend_total",
        "proxy_backup_requests_total",
        "proxy_retry_success_total",
        "proxy_upstream_backup_active",
        "proxy_upstream_panic",
    ] {
        assert!(metrics.has(name, &[("upstream", "app")]), "{name}");
    }
    for state in ["up", "checking", "slow_start", "down", "ejected", "draining", "maintenance"] {
        assert!(metrics.has("proxy_backend_state", &[("backend", "bad"), ("state", state)]), "{state}");
        assert!(metrics.has("proxy_upstream_backends", &[("state", state)]), "{state}");
    }
}

// key: proxy.toml upstreams.*.unavailable.status, defaults.upstream.unavailable.status
// key: proxy.toml upstreams.*.unavailable.retry_after, defaults.upstream.unavailable.retry_after
// key: proxy.toml upstreams.*.unavailable.body, defaults.upstream.unavailable.body
// key: proxy.toml upstreams.*.unavailable.content_type, defaults.upstream.unavailable.content_type
#[test]
fn what_is_answered_when_nothing_is_available_is_the_operators_choice() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::named("bad");
        backend.answer_on("/health", Reply::status(500));
        let edge = Edge::builder().backend(&backend).toml(&format!(
            "{place}.fail_open = false
             {place}.probe = {{ path = '/health', interval = '100ms', fall = 1 }}
             {place}.unavailable = {{ status = 599, retry_after = '90s', body = '<p>Back soon.', content_type = 'text/html' }}"
        ));
        let edge = edge.start();
        wait_for_state(&edge, "bad", "down");
        let answer = edge.get("/x");
        assert_eq!(answer.expect_status(599).text(), "<p>Back soon.");
        assert_eq!(answer.header("retry-after"), Some("90"));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        let line = edge.logged("/x");
        assert_eq!(
            (line["reason"].as_str(), line["http.response.status_code"].as_u64()),
            (Some("no_backend"), Some(599))
        );
        edge.wait_for_metric("http_requests_total", &[("code", "599")], 1.0);
        edge.wait_for_metric("proxy_no_backend_total", &[("upstream", "app")], 1.0);
        assert!(backend.requests_to("/x").is_empty());
    }
}
