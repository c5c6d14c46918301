//! How requests are shared out over the backends of an upstream.

use std::time::Duration;

use cirque_tests::{Backend, Edge, Load, Reply};

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
