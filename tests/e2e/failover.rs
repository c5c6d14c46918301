//! A backend that fails is left out, and comes back; clients see nothing of it.

use std::time::Duration;

use cirque_tests::chaos::Link;
use cirque_tests::{Backend, Edge, Load, Reply, eventually, throughout};
use tokio::time::Instant;

use crate::witness::nothing_in_flight;

/// Three backends and a quick probe of their own path.
fn trio() -> [Backend; 3] {
    ["app-1", "app-2", "app-3"].map(|name| {
        let backend = Backend::named(name);
        backend.script(move |_| Reply::ok(name).delay(Duration::from_millis(2)));
        backend
    })
}

const QUICK: &str =
    "upstreams.app.probe = { path = '/health', interval = '200ms', timeout = '200ms', fall = 2, rise = 2 }
    defaults.backend = { fail_timeout = '1s', slow_start = '0s' }
    defaults.upstream.outlier = { eject_time = '1s' }
    defaults.route.retry.on = ['error', 'timeout', 'http_500', 'http_502', 'http_503']
    upstreams.app.read_timeout = '500ms'\n";

fn edge(backends: &[Backend], toml: &str) -> Edge {
    let builder = backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
    builder.toml(QUICK).toml(toml).start()
}

/// Whether the edge sends requests to this backend.
#[track_caller]
fn wait_until_up(edge: &Edge, backend: &str, up: bool) {
    edge.wait_for_metric("proxy_backend_up", &[("backend", backend)], f64::from(u8::from(up)));
}

#[test]
fn a_backend_that_refuses_costs_no_request_and_takes_its_share_again() {
    let backends = trio();
    let edge = edge(&backends, "defaults.backend.slow_start = '0s'");
    let load = Load::on(edge.address(), "/x").connections(6).per_second(400).start();
    load.wait_for(200);
    backends[1].refuse();
    load.wait_for(400);
    wait_until_up(&edge, "app-2", false);
    backends[1].accept();
    wait_until_up(&edge, "app-2", true);
    // What failed lately counts against it for some seconds.
    load.wait_for(1200);
    load.take_report().assert_all_ok();
    load.wait_for(600);
    let report = load.stop();
    report.assert_all_ok();
    let share = report.share("app-2");
    assert!((0.26..0.40).contains(&share), "{share}: {:?}", report.served_by);
    assert!(
        edge.metrics().value("proxy_backend_transitions_total", &[("backend", "app-2"), ("to", "down")])
            >= 1.0
    );
    edge.process.wait_for_line("backend is down", Duration::from_secs(5));
    nothing_in_flight(&edge);
}

#[test]
fn a_backend_that_freezes_costs_no_request() {
    let backends = trio();
    let link = Link::to(backends[2].address());
    let builder = Edge::builder().backend(&backends[0]).backend(&backends[1]);
    let edge = builder.backend_at("app-3", link.address(), "").toml(QUICK).start();
    let load = Load::on(edge.address(), "/x").connections(6).per_second(300).start();
    load.wait_for(200);
    link.freeze();
    wait_until_up(&edge, "app-3", false);
    load.wait_for(300);
    link.restore();
    wait_until_up(&edge, "app-3", true);
    load.wait_for(100);
    let report = load.stop();
    report.assert_all_ok();
    // One wait of read_timeout and the retry; never two.
    assert!(report.percentile(100) < Duration::from_millis(1500), "{:?}", report.percentile(100));
    nothing_in_flight(&edge);
}

// key: proxy.toml upstreams.*.backends[].max_fails, defaults.backend.max_fails
#[test]
fn a_backend_that_answers_only_500_costs_no_request_and_is_ejected() {
    let backends = trio();
    backends[0].answer(Reply::status(500));
    backends[0].answer_on("/health", Reply::ok("so it says"));
    let edge = edge(
        &backends,
        "defaults = { backend = { max_fails = 5, fail_timeout = '60s' }, route.retry.budget = '100%' }
         upstreams.app.balance = 'round_robin'",
    );
    let report = Load::on(edge.address(), "/x").connections(1).requests(300).run();
    report.assert_all_ok();
    assert_eq!(backends[0].requests_to("/x").len(), 5, "ejected after max_fails");
    let metrics = edge.metrics();
    let to_it = [("backend", "app-1"), ("code", "500")];
    assert_eq!(metrics.value("proxy_upstream_requests_total", &to_it), 5.0);
    assert_eq!(metrics.value("proxy_retries_total", &[("reason", "http_500")]), 5.0);
    assert_eq!(metrics.value("proxy_backend_up", &[("backend", "app-1")]), 0.0);
    edge.process.wait_for_line("backend is ejected", Duration::from_secs(5));
    nothing_in_flight(&edge);
}

// key: proxy.toml upstreams.*.backends[].fail_timeout, defaults.backend.fail_timeout
#[test]
fn an_ejected_backend_is_tried_again_after_fail_timeout() {
    for (in_row, in_defaults) in
        [("fail_timeout = '1s'\nmax_fails = 2", ""), ("", "fail_timeout = '1s', max_fails = 2")]
    {
        let (bad, good) = (Backend::named("bad"), Backend::named("good"));
        bad.answer_on("/x", Reply::status(503));
        let builder = Edge::builder().toml(&format!("defaults.backend = {{ {in_defaults} }}"));
        let edge = builder
            .backend_with(&bad, in_row)
            .backend(&good)
            .toml("defaults.route.retry.budget = '100%'\nupstreams.app.balance = 'round_robin'")
            .toml("defaults.backend.slow_start = '0s'")
            .start();
        Load::on(edge.address(), "/x").connections(1).requests(50).run().assert_all_ok();
        assert_eq!(bad.requests_to("/x").len(), 2);
        bad.answer_on("/x", Reply::ok("better"));
        let served = || edge.get("/x").text();
        eventually("it is tried again", Duration::from_secs(5), served, |text| text == "better");
        edge.process.wait_for_line("backend is admitted", Duration::from_secs(5));
        let report = Load::on(edge.address(), "/x").connections(1).requests(200).run();
        assert!(report.share("bad") > 0.35, "{:?}", report.served_by);
    }
}

#[test]
fn max_fails_zero_never_ejects() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer_on("/x", Reply::status(503));
    let edge = Edge::builder()
        .backend(&bad)
        .backend(&good)
        .without_ejection()
        .toml("defaults.route.retry.budget = '100%'\nupstreams.app.balance = 'round_robin'")
        .start();
    Load::on(edge.address(), "/x").connections(1).requests(100).run().assert_all_ok();
    assert!(bad.requests_to("/x").len() > 25, "{}", bad.requests_to("/x").len());
}

#[test]
fn the_last_backend_is_never_ejected() {
    let only = Backend::named("only");
    only.answer_on("/x", Reply::status(503));
    let edge = Edge::before(&[&only]);
    for _ in 0..10 {
        edge.get("/x").expect_status(503);
    }
    assert_eq!(only.requests_to("/x").len(), 10, "every request was answered by the backend itself");
    assert_eq!(edge.metrics().value("proxy_backend_up", &[("backend", "only")]), 1.0);
}

// key: proxy.toml upstreams.*.probe.path, defaults.upstream.probe.path
#[test]
fn the_probe_asks_for_its_path() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        let toml = format!("{place}.probe = {{ path = '/deep/health?x=1', interval = '100ms' }}");
        let edge = Edge::builder().backend(&backend).toml(&toml).start();
        backend.wait_for_requests("/deep/health", 2);
        assert!(backend.requests_to("/").is_empty());
        backend.answer_on("/deep/health", Reply::status(503));
        wait_until_up(&edge, "backend", false);
    }
}

// key: proxy.toml upstreams.*.probe.interval, defaults.upstream.probe.interval
#[test]
fn probes_come_at_their_interval() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        let toml = format!("{place}.probe = {{ path = '/health', interval = '200ms' }}");
        let edge = Edge::builder().backend(&backend).toml(&toml).start();
        let seen = backend.wait_for_requests("/health", 6);
        let took = seen[5].at - seen[0].at;
        assert!(took > Duration::from_millis(850) && took < Duration::from_millis(1600), "{took:?}");
        drop(edge);
    }
}

// key: proxy.toml upstreams.*.probe.timeout, defaults.upstream.probe.timeout
#[test]
fn a_probe_that_takes_longer_than_its_timeout_has_failed() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let (slow, good) = (Backend::named("slow"), Backend::named("good"));
        slow.answer_on("/health", Reply::ok("x".repeat(20)).drip(1, Duration::from_millis(50)));
        let toml = format!(
            "{place}.probe = {{ path = '/health', interval = '100ms', timeout = '300ms', fall = 1 }}"
        );
        let edge = Edge::builder().backend(&slow).backend(&good).toml(&toml).start();
        wait_until_up(&edge, "slow", false);
        assert!(
            edge.metrics().value("proxy_probes_total", &[("backend", "slow"), ("result", "success")]) < 1.0
        );
        assert_eq!(edge.metrics().value("proxy_backend_up", &[("backend", "good")]), 1.0);
    }
}

// key: proxy.toml upstreams.*.probe.fall, defaults.upstream.probe.fall
#[test]
fn a_backend_is_down_after_as_many_failed_probes_as_fall_says() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        let toml = format!("{place}.probe = {{ path = '/health', interval = '100ms', fall = 4 }}");
        let edge = Edge::builder().backend(&backend).toml(&toml).start();
        backend.wait_for_requests("/health", 1);
        backend.answer_on("/health", Reply::status(500));
        wait_until_up(&edge, "backend", false);
        let failed = edge.metrics().value("proxy_probes_total", &[("result", "status")]);
        assert!((4.0..=9.0).contains(&failed), "down after {failed} failed probes");
    }
}

// key: proxy.toml upstreams.*.probe.rise, defaults.upstream.probe.rise
#[test]
fn a_backend_is_up_after_as_many_good_probes_as_rise_says() {
    for place in ["upstreams.app", "defaults.upstream"] {
        let backend = Backend::start();
        backend.answer_on("/health", Reply::status(500));
        let toml = format!("{place}.probe = {{ path = '/health', interval = '100ms', fall = 1, rise = 4 }}");
        let edge = Edge::builder().backend(&backend).toml(&toml).start();
        wait_until_up(&edge, "backend", false);
        backend.answer_on("/health", Reply::ok("well"));
        wait_until_up(&edge, "backend", true);
        let succeeded = edge.metrics().value("proxy_probes_total", &[("result", "success")]);
        assert!((4.0..=9.0).contains(&succeeded), "up after {succeeded} good probes");
    }
}

// key: proxy.toml upstreams.*.fail_open, defaults.upstream.fail_open
#[test]
fn when_nothing_is_available_the_upstream_fails_open_or_says_503() {
    for place in ["upstreams.app", "defaults.upstream"] {
        for fail_open in [true, false] {
            let backend = Backend::start();
            backend.answer_on("/health", Reply::status(500));
            let toml = format!(
                "{place}.fail_open = {fail_open}
                 {place}.probe = {{ path = '/health', interval = '100ms', fall = 1 }}"
            );
            let edge = Edge::builder().backend(&backend).toml(&toml).start();
            wait_until_up(&edge, "backend", false);
            let response = edge.get("/x");
            let opened = edge.metrics().value("proxy_fail_open_total", &[("upstream", "app")]);
            if fail_open {
                response.expect_status(200);
                assert_eq!(opened, 1.0);
            } else {
                assert!(response.expect_status(503).header("retry-after").is_some(), "{response:?}");
                assert_eq!(opened, 0.0);
                assert!(backend.requests_to("/x").is_empty());
                assert_eq!(edge.logged("/x")["reason"], "no_backend");
            }
        }
    }
}

#[test]
fn a_failed_request_brings_the_next_probe_forward() {
    let backends = trio();
    let toml = "upstreams.app.probe = { path = '/health', interval = '5s', timeout = '200ms', fall = 1 }";
    let edge = edge(&backends, toml);
    backends.iter().for_each(|backend| drop(backend.wait_for_requests("/health", 1)));
    throughout(
        "up",
        Duration::from_millis(100),
        || edge.metrics().value("proxy_backend_up", &[]),
        |up| *up == 3.0,
    );
    backends[0].refuse();
    let began = tokio::time::Instant::now();
    let load = Load::on(edge.address(), "/x").connections(2).per_second(100).start();
    edge.wait_for_metric("proxy_backend_transitions_total", &[("backend", "app-1"), ("to", "down")], 1.0);
    assert!(began.elapsed() < Duration::from_millis(3500), "{:?}", began.elapsed());
    load.stop().assert_all_ok();
}

/// Sends a thousand requests a second, does something to a backend, and says how slow answers were before and after.
#[expect(clippy::print_stdout, reason = "the figures are what somebody wants to see of these tests")]
fn slowest_before_and_after(edge: &Edge, event: impl FnOnce()) -> [Duration; 2] {
    let load = Load::on(edge.address(), "/x").connections(48).per_second(1000).start();
    load.wait_for(500);
    drop(load.take_report());
    let began = Instant::now();
    load.wait_for(2500);
    let before = load.take_report();
    let rate = before.total() as f64 / began.elapsed().as_secs_f64();
    event();
    load.wait_for(4000);
    let after = load.stop();
    for (when, report) in [("before", &before), ("after", &after)] {
        println!(
            "{when}: {} requests at {rate:.0}/s, p50 {:?}, p99 {:?}, slowest {:?}",
            report.total(),
            report.percentile(50),
            report.percentile(99),
            report.percentile(100)
        );
        report.assert_all_ok();
    }
    [before, after].map(|report| report.percentile(100))
}

#[test]
fn one_of_three_that_is_killed_under_load_costs_no_request_and_no_time() {
    let backends = trio();
    let edge = edge(&backends, "");
    let [before, after] = slowest_before_and_after(&edge, || backends[1].refuse());
    // Where the machine itself is busy, answers are slow without it too.
    let bound = Duration::from_millis(10).max(before + Duration::from_millis(10));
    assert!(after < bound, "the slowest answer took {after:?}, before it {before:?}");
    let ejected = || edge.metrics().value("proxy_backend_up", &[("backend", "app-2")]);
    eventually("it is out of rotation", Duration::from_secs(5), ejected, |up| *up < 1.0);
    nothing_in_flight(&edge);
}

#[test]
fn one_of_three_that_is_frozen_under_load_costs_no_request_and_one_timeout_at_most() {
    let backends = trio();
    let link = Link::to(backends[2].address());
    let builder = Edge::builder().backend(&backends[0]).backend(&backends[1]);
    let edge = builder.backend_at("app-3", link.address(), "").toml(QUICK);
    let edge = edge.toml("upstreams.app.read_timeout = '1s'").start();
    let [before, after] = slowest_before_and_after(&edge, || link.freeze());
    let bound = Duration::from_millis(1100) + before;
    assert!(after < bound, "the slowest answer took {after:?}, before it {before:?}");
    nothing_in_flight(&edge);
}
