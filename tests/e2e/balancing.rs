//! How requests are shared out over the backends of an upstream.

use std::time::Duration;

use cirque_tests::{Backend, Edge, Load, Reply, Request, eventually};

use crate::witness::nothing_in_flight;

fn backends(n: usize) -> Vec<Backend> {
    let backends: Vec<Backend> = (1..=n).map(|n| Backend::named(&format!("app-{n}"))).collect();
    for backend in &backends {
        let name = backend.name().to_owned();
        backend.script(move |_| Reply::ok(name.clone()).delay(Duration::from_millis(5)));
    }
    backends
}

// key: proxy.toml upstreams.*.balance, defaults.upstream.balance, upstreams.*.backends[].id
#[test]
fn equal_backends_get_equal_shares_within_ten_percent() {
    let backends = backends(3);
    let all: Vec<&Backend> = backends.iter().collect();
    let builder = all.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
    let edge = builder
        .toml("upstreams.app.balance = 'least_conn'\ndefaults.upstream.balance = 'least_conn'")
        .start();
    let report = Load::on(edge.address(), "/x").connections(8).requests(3000).run();
    report.assert_all_ok();
    let metrics = edge.metrics();
    for backend in all {
        let share = report.share(backend.name());
        assert!((0.30..0.367).contains(&share), "{backend:?}: {share}; {:?}", report.served_by);
        let counted =
            metrics.value("proxy_upstream_requests_total", &[("backend", backend.name()), ("code", "200")]);
        assert_eq!(counted, report.served_by[backend.name()] as f64);
    }
}

#[test]
fn equal_backends_get_equal_shares_also_when_requests_come_one_by_one() {
    let backends = ["app-1", "app-2", "app-3"].map(Backend::named);
    let edge = Edge::before(&backends.iter().collect::<Vec<_>>());
    // Ties are drawn: with this many, ten percent are more than five standard deviations.
    let report = Load::on(edge.address(), "/x").connections(1).requests(6000).run();
    report.assert_all_ok();
    for backend in &backends {
        let share = report.share(backend.name());
        assert!((0.30..0.367).contains(&share), "{backend:?}: {share}; {:?}", report.served_by);
    }
}

// key: proxy.toml upstreams.*.backends[].weight, defaults.backend.weight
#[test]
fn shares_follow_the_weights() {
    let backends = backends(3);
    let edge = Edge::builder()
        .toml("defaults.backend.weight = 2")
        .backend_with(&backends[0], "weight = 1")
        .backend_with(&backends[1], "weight = 5")
        .backend(&backends[2])
        .start();
    let report = Load::on(edge.address(), "/x").connections(16).requests(4000).run();
    report.assert_all_ok();
    for (name, expected) in [("app-1", 1.0 / 8.0), ("app-2", 5.0 / 8.0), ("app-3", 2.0 / 8.0)] {
        let share = report.share(name);
        assert!((expected * 0.8..expected * 1.2).contains(&share), "{name}: {share}; {:?}", report.served_by);
    }
}

#[test]
fn a_backend_three_times_slower_gets_proportionally_fewer_requests() {
    let backends = backends(3);
    for (backend, delay) in backends.iter().zip([10, 10, 30]) {
        let name = backend.name().to_owned();
        backend.script(move |_| Reply::ok(name.clone()).delay(Duration::from_millis(delay)));
    }
    let edge = Edge::before(&backends.iter().collect::<Vec<_>>());
    let report = Load::on(edge.address(), "/x").connections(12).requests(2000).run();
    report.assert_all_ok();
    // Twelve in flight, four each: the slow one finishes a third as many, 1/7 of all.
    let share = report.share("app-3");
    assert!((0.09..0.20).contains(&share), "{share}; {:?}", report.served_by);
    let (first, second) = (report.share("app-1"), report.share("app-2"));
    assert!((first / second - 1.0).abs() < 0.15, "{:?}", report.served_by);
}

/// An edge before these, each with its keys.
fn edge_of(rows: &[(&Backend, &str)], toml: &str) -> Edge {
    let builder =
        rows.iter().fold(Edge::builder(), |builder, (backend, keys)| builder.backend_with(backend, keys));
    builder.toml(toml).start()
}

/// Who answered each of these requests, one after the other.
fn order(edge: &Edge, requests: impl Iterator<Item = Request>) -> Vec<String> {
    let mut client = edge.client();
    requests.map(|request| client.send(&request).expect_status(200).text()).collect()
}

fn gets(n: usize) -> impl Iterator<Item = Request> {
    std::iter::repeat_with(|| Request::get("/x")).take(n)
}

#[test]
fn round_robin_goes_around_by_weight_and_never_in_a_run() {
    let backends = ["a", "b", "c"].map(Backend::named);
    let rows = [(&backends[0], "weight = 5"), (&backends[1], ""), (&backends[2], "")];
    let edge = edge_of(&rows, "upstreams.app.balance = 'round_robin'");
    let order = order(&edge, gets(21));
    for round in order.chunks(7) {
        assert_eq!(round.concat(), "aabacaa", "nginx's own example: {order:?}");
    }
    edge.wait_for_metric("proxy_upstream_requests_total", &[("backend", "a")], 15.0);
    assert_eq!(edge.logged("/x")["backend"], "a");
}

#[test]
fn random_shares_by_weight() {
    let backends = ["a", "b"].map(Backend::named);
    let edge =
        edge_of(&[(&backends[0], "weight = 3"), (&backends[1], "")], "upstreams.app.balance = 'random'");
    let report = Load::on(edge.address(), "/x").connections(2).requests(3000).run();
    report.assert_all_ok();
    assert!((0.70..0.80).contains(&report.share("a")), "{:?}", report.served_by);
}

// key: proxy.toml upstreams.*.hash_by, defaults.upstream.hash_by
#[test]
fn a_hash_sends_the_same_key_to_the_same_backend() {
    let by_header = |n: usize| Request::get("/x").header("X-User", &format!("user-{n}"));
    let by_cookie = |n: usize| Request::get("/x").header("Cookie", &format!("theme=dark; sid=s-{n}; x=1"));
    let by_path = |n: usize| Request::get(&format!("/item/{n}?nothing={n}"));
    let by_client = |n: usize| Request::get("/x").header("X-Forwarded-For", &format!("192.0.2.{n}"));
    let requests: [(&str, &dyn Fn(usize) -> Request); 4] = [
        ("header:X-User", &by_header),
        ("cookie:sid", &by_cookie),
        ("path", &by_path),
        ("client", &by_client),
    ];
    for place in ["upstreams.app", "defaults.upstream"] {
        for (by, request) in requests {
            let backends = ["a", "b", "c"].map(Backend::named);
            let rows: Vec<(&Backend, &str)> = backends.iter().map(|backend| (backend, "")).collect();
            let toml =
                format!("{place} = {{ balance = 'hash', hash_by = '{by}' }}\ntrust.proxies = ['127.0.0.1']");
            let edge = edge_of(&rows, &toml);
            let first = order(&edge, (0..60).map(request));
            assert_eq!(first, order(&edge, (0..60).map(request)), "{by}: every key stays where it was");
            for backend in &backends {
                let share = first.iter().filter(|name| *name == backend.name()).count();
                assert!((6..40).contains(&share), "{by}: {share} of 60 to {backend:?}");
            }
        }
    }
}

#[test]
fn a_request_without_its_key_goes_by_its_clients_address() {
    let backends = ["a", "b", "c"].map(Backend::named);
    let rows: Vec<(&Backend, &str)> = backends.iter().map(|backend| (backend, "")).collect();
    let edge = edge_of(&rows, "upstreams.app = { balance = 'hash', hash_by = 'cookie:sid' }");
    let order = order(&edge, gets(20));
    assert!(order.iter().all(|name| *name == order[0]), "{order:?}");
}

#[test]
fn only_the_keys_of_a_backend_that_leaves_move_and_come_back_with_it() {
    let backends = ["a", "b", "c", "d"].map(Backend::named);
    let rows: Vec<(&Backend, &str)> = backends.iter().map(|backend| (backend, "")).collect();
    let edge = edge_of(
        &rows,
        "upstreams.app.balance = 'hash'
         upstreams.app.hash_by = 'path'
         upstreams.app.probe = { path = '/health', interval = '100ms', fall = 1, rise = 1 }",
    );
    let ask = || order(&edge, (0..100).map(|n| Request::get(&format!("/{n}"))));
    let before = ask();
    backends[1].answer_on("/health", Reply::status(500));
    edge.wait_for_metric("proxy_backend_up", &[("backend", "b")], 0.0);
    let during = ask();
    assert!(!during.contains(&"b".to_owned()));
    for (was, is) in before.iter().zip(&during) {
        assert!(was == is || was == "b", "{was} moved to {is}");
    }
    backends[1].answer_on("/health", Reply::ok("well"));
    edge.wait_for_metric("proxy_backend_up", &[("backend", "b")], 1.0);
    assert_eq!(before, ask());
}

// key: proxy.toml upstreams.*.backends[].backup, defaults.backend.backup
#[test]
fn a_backup_serves_only_when_no_other_can() {
    for in_defaults in [false, true] {
        let (usual, backup) = (Backend::named("usual"), Backend::named("backup"));
        let rows = if in_defaults {
            [(&usual, "backup = false"), (&backup, "")]
        } else {
            [(&usual, ""), (&backup, "backup = true")]
        };
        let edge = edge_of(
            &rows,
            &format!(
                "defaults.backend.backup = {in_defaults}
                 upstreams.app.probe = {{ path = '/health', interval = '100ms', fall = 1, rise = 1 }}"
            ),
        );
        assert!(order(&edge, gets(20)).iter().all(|name| name == "usual"));
        usual.answer_on("/health", Reply::status(500));
        edge.wait_for_metric("proxy_upstream_backup_active", &[("upstream", "app")], 1.0);
        assert!(order(&edge, gets(20)).iter().all(|name| name == "backup"));
        edge.wait_for_metric("proxy_backup_requests_total", &[("upstream", "app")], 20.0);
        usual.answer_on("/health", Reply::ok("well"));
        edge.wait_for_metric("proxy_upstream_backup_active", &[("upstream", "app")], 0.0);
        eventually(
            "the usual one serves again",
            Duration::from_secs(5),
            || edge.get("/x").text(),
            |name| name == "usual",
        );
    }
}

#[test]
fn a_weight_of_zero_gets_nothing_and_is_still_probed() {
    let (idle, busy) = (Backend::named("idle"), Backend::named("busy"));
    let edge = edge_of(
        &[(&idle, "weight = 0"), (&busy, "")],
        "upstreams.app.probe = { path = '/health', interval = '100ms' }",
    );
    assert!(order(&edge, gets(50)).iter().all(|name| name == "busy"));
    idle.wait_for_requests("/health", 2);
    edge.wait_for_metric("proxy_upstream_weight", &[("backend", "idle"), ("kind", "configured")], 0.0);
    edge.wait_for_metric("proxy_upstream_weight", &[("backend", "busy"), ("kind", "effective")], 1000.0);
}

// key: proxy.toml upstreams.*.backends[].slow_start, defaults.backend.slow_start
#[test]
fn one_who_is_back_takes_its_share_little_by_little() {
    for (in_row, in_defaults) in [("slow_start = '4s'", "0s"), ("", "4s")] {
        let (steady, back) = (Backend::named("steady"), Backend::named("back"));
        let edge = edge_of(
            &[(&steady, in_row), (&back, in_row)],
            &format!(
                "defaults.backend.slow_start = '{in_defaults}'
                 upstreams.app.probe = {{ path = '/health', interval = '100ms', fall = 1, rise = 1 }}"
            ),
        );
        back.answer_on("/health", Reply::status(500));
        edge.wait_for_metric("proxy_backend_state", &[("backend", "back"), ("state", "down")], 1.0);
        back.answer_on("/health", Reply::ok("well"));
        edge.wait_for_metric("proxy_backend_state", &[("backend", "back"), ("state", "slow_start")], 1.0);
        let report = Load::on(edge.address(), "/x").connections(1).lasting(Duration::from_millis(500)).run();
        report.assert_all_ok();
        assert!(report.share("back") < 0.25, "at first: {:?}", report.served_by);
        assert!(report.share("back") > 0.01, "something, or it could show nothing: {:?}", report.served_by);
        edge.wait_for_metric("proxy_backend_state", &[("backend", "back"), ("state", "up")], 1.0);
        let report = Load::on(edge.address(), "/x").connections(1).requests(1000).run();
        assert!((0.42..0.58).contains(&report.share("back")), "at last: {:?}", report.served_by);
    }
}

#[test]
fn a_backend_that_fails_at_once_does_not_draw_the_traffic() {
    let backends = backends(3);
    let bad = &backends[2];
    bad.answer_on("/x", Reply::status(500));
    let all: Vec<&Backend> = backends.iter().collect();
    let builder = all.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
    // Nothing ejects it and nothing is retried: only the choice itself is left.
    let edge = builder.without_ejection().toml("defaults.route.retry.on = []").start();
    let report = Load::on(edge.address(), "/x").connections(12).requests(3000).run();
    let share = report.statuses.get(&500).copied().unwrap_or(0) as f64 / report.total() as f64;
    assert!(share < 0.10, "{share} of the requests fell into the black hole");
    assert!(share > 0.0, "it is tried now and then");
}

#[test]
fn a_hundred_backends_share_evenly() {
    // One backend under a hundred names: what counts is who was chosen.
    let backend = Backend::named("all");
    let builder = (0..100)
        .fold(Edge::builder(), |builder, n| builder.backend_at(&format!("app-{n}"), backend.address(), ""));
    let edge = builder.without_probe().start();
    Load::on(edge.address(), "/x").connections(8).requests(5000).run().assert_all_ok();
    nothing_in_flight(&edge);
    let metrics = edge.metrics();
    for n in 0..100 {
        let count = metrics.value("proxy_upstream_requests_total", &[("backend", &format!("app-{n}"))]);
        assert!((15.0..100.0).contains(&count), "app-{n} got {count} of 5000");
    }
}
