//! How often and how many at once: rate limits, requests at once, and whose requests are taken at all.

use std::time::Duration;

use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually};

use crate::witness::{logged_status, nothing_in_flight};

/// An edge with these keys on its only route, behind a trusted proxy: clients are named by X-Forwarded-For.
fn edge_with(backend: &Backend, keys: &str, toml: &str) -> Edge {
    let routes = format!("routes = [{{ name = 'all', paths = ['/*'], upstream = 'app', {keys} }}]");
    let edge = Edge::builder().backend(backend).without_probe().toml("trust.proxies = ['127.0.0.1']");
    edge.toml(&routes).toml(toml).start()
}

fn from(edge: &Edge, client: &str, path: &str) -> cirque_tests::client::Response {
    edge.send(&Request::get(path).header("X-Forwarded-For", client))
}

// key: proxy.toml rate_limits.*.key, rate_limits.*.rate, rate_limits.*.burst, routes[].rate_limits
#[test]
fn a_client_above_its_rate_is_429_with_when_to_come_back_and_others_are_not() {
    let backend = Backend::start();
    let limit = "rate_limits.slow = { key = 'client', rate = '1/h', burst = 2 }";
    let edge = edge_with(&backend, "rate_limits = ['slow']", limit);
    for _ in 0..3 {
        from(&edge, "192.0.2.1", "/passed").expect_status(200);
    }
    let refused = from(&edge, "192.0.2.1", "/refused");
    refused.expect_status(429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&wait), "{refused:?}");
    assert_eq!(refused.header("ratelimit"), Some(format!("\"slow\";r=0;t={wait}").as_str()));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"slow\";q=3;w=10800"));
    from(&edge, "192.0.2.2", "/other").expect_status(200);

    assert!(backend.requests_to("/refused").is_empty());
    assert_eq!(logged_status(&edge, "/refused"), 429);
    let line = edge.logged("/refused");
    assert_eq!((line["reason"].as_str(), line["rate_limit"].as_str()), (Some("rate"), Some("slow")));
    edge.wait_for_metric("proxy_rate_limited_total", &[("limit", "slow"), ("result", "refused")], 1.0);
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "rate")], 1.0);
    nothing_in_flight(&edge);
}

#[test]
fn addresses_of_one_ipv6_network_are_one_client() {
    let backend = Backend::start();
    let limit = "rate_limits.slow = { key = 'client', rate = '1/h', burst = 0 }";
    let edge = edge_with(&backend, "rate_limits = ['slow']", limit);
    from(&edge, "2001:db8::1", "/first").expect_status(200);
    from(&edge, "2001:db8::ffff", "/neighbour").expect_status(429);
    from(&edge, "2001:db8:0:1::1", "/other").expect_status(200);
}

#[test]
fn a_limit_by_header_counts_each_value_and_a_limit_by_route_counts_all() {
    let backend = Backend::start();
    let edge = Edge::builder()
        .backend(&backend)
        .toml(
            "rate_limits.key = { key = 'header:X-Api-Key', rate = '1/h', burst = 0 }
             rate_limits.all = { key = 'route', rate = '1/h', burst = 1 }
             routes = [{ name = 'key', paths = ['/key/*'], upstream = 'app', rate_limits = ['key'] },
               { name = 'one', paths = ['/one/*'], upstream = 'app', rate_limits = ['all'] },
               { name = 'two', paths = ['/two/*'], upstream = 'app', rate_limits = ['all'] }]",
        )
        .start();
    let with_key = |key: &str, status: u16| {
        edge.send(&Request::get("/key/x").header("x-api-key", key)).expect_status(status);
    };
    with_key("a", 200);
    with_key("a", 429);
    with_key("b", 200);
    edge.get("/key/none").expect_status(200);
    edge.get("/key/none").expect_status(200);
    for (path, status) in [("/one/a", 200), ("/one/b", 200), ("/one/c", 429), ("/two/a", 200)] {
        edge.get(path).expect_status(status);
    }
}

// key: proxy.toml rate_limits.*.dry_run
#[test]
fn a_dry_run_refuses_nobody_and_says_whom_it_would_have() {
    let backend = Backend::start();
    let limit = "rate_limits.try = { key = 'client', rate = '1/h', burst = 0, dry_run = true }";
    let edge = edge_with(&backend, "rate_limits = ['try']", limit);
    from(&edge, "192.0.2.1", "/first").expect_status(200);
    from(&edge, "192.0.2.1", "/second").expect_status(200);
    edge.wait_for_metric("proxy_rate_limited_total", &[("limit", "try"), ("result", "dry_run")], 1.0);
    assert_eq!(edge.logged("/second")["rate_limit_dry_run"], "try");
    assert!(edge.logged("/first").get("rate_limit_dry_run").is_none());
}

// key: proxy.toml rate_limits.*.keys
#[test]
fn more_clients_than_are_remembered_take_no_more_memory() {
    let backend = Backend::start();
    let limit = "rate_limits.few = { key = 'client', rate = '1/h', burst = 0, keys = 128 }";
    let edge = edge_with(&backend, "rate_limits = ['few']", limit);
    let mut client = edge.client();
    let mut refused = 0;
    for n in 0..2000 {
        let address = format!("198.18.{}.{}", n / 250, n % 250);
        let answer = client.send(&Request::get("/x").header("X-Forwarded-For", &address));
        refused += u32::from(answer.status != 200);
    }
    assert_eq!(refused, 0, "clients that asked once are forgotten, not refused");
    let first = client.send(&Request::get("/again").header("X-Forwarded-For", "198.18.0.0"));
    first.expect_status(200);
}

// key: proxy.toml defaults.route.rate_limits
#[test]
fn limits_hold_for_heads_upgrades_and_retried_requests_alike() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer(Reply::status(503));
    let edge = Edge::builder()
        .backend(&bad)
        .backend(&good)
        .without_probe()
        .toml("rate_limits.slow = { key = 'client', rate = '1/h', burst = 3 }")
        .toml("defaults.route.rate_limits = ['slow']")
        .start();
    // One request each, however many attempts it takes.
    edge.get("/retried").expect_status(200);
    edge.get("/retried").expect_status(200);
    edge.send(&Request::new("HEAD", "/head")).expect_status(200);
    edge.get("/last").expect_status(200);
    let upgrade = Request::get("/upgrade").header("Connection", "upgrade").header("Upgrade", "websocket");
    edge.send(&upgrade).expect_status(429);
    edge.send(&Request::new("HEAD", "/head2")).expect_status(429);
    assert!(good.requests_to("/upgrade").is_empty() && bad.requests_to("/upgrade").is_empty());
}

// key: proxy.toml routes[].max_requests, defaults.route.max_requests
#[test]
fn requests_above_what_a_route_works_on_at_once_are_shed_at_once() {
    for place in ["routes", "defaults"] {
        let backend = Backend::start();
        backend.answer_on("/slow", Reply::stall());
        let edge = match place {
            "routes" => edge_with(&backend, "max_requests = 3", ""),
            _ => {
                let edge = Edge::builder().backend(&backend).without_probe();
                edge.toml("defaults.route.max_requests = 3").start()
            }
        };
        let mut held: Vec<Connection> = (0..3).map(|_| Connection::open(edge.address())).collect();
        held.iter_mut().for_each(|one| one.write(Request::get("/slow").to_bytes()).unwrap());
        backend.wait_for_requests("/slow", 3);
        let shed = edge.get("/shed");
        assert_eq!(shed.expect_status(503).header("retry-after"), Some("1"));
        assert!(shed.elapsed < Duration::from_secs(5), "{shed:?}");
        assert_eq!(edge.logged("/shed")["reason"], "overload");
        edge.wait_for_metric("proxy_refusals_total", &[("reason", "overload")], 1.0);
        drop(held);
        let free = || edge.get("/free").status;
        eventually("there is room again", Duration::from_secs(10), free, |status| *status == 200);
        nothing_in_flight(&edge);
    }
}

// key: proxy.toml routes[].allow, routes[].deny, defaults.route.allow, defaults.route.deny
#[test]
fn the_most_specific_network_decides_whose_requests_a_route_takes() {
    let keys = "allow = ['192.0.2.0/24', '2001:db8::/32'], deny = ['192.0.2.128/25']";
    for place in ["routes", "defaults"] {
        let backend = Backend::start();
        let edge = match place {
            "routes" => edge_with(&backend, keys, ""),
            _ => {
                let edge = Edge::builder().backend(&backend).toml("trust.proxies = ['127.0.0.1']");
                edge.toml(&format!("defaults.route = {{ {keys} }}")).start()
            }
        };
        from(&edge, "192.0.2.1", "/in").expect_status(200);
        from(&edge, "2001:db8::1", "/in").expect_status(200);
        for (client, path) in [("192.0.2.200", "/denied"), ("198.51.100.1", "/unknown")] {
            from(&edge, client, path).expect_status(403);
            assert!(backend.requests_to(path).is_empty());
            assert_eq!(edge.logged(path)["reason"], "acl");
        }
        edge.wait_for_metric("proxy_refusals_total", &[("reason", "acl")], 2.0);
    }
}

#[test]
fn what_a_limit_remembers_outlives_a_reload() {
    let backend = Backend::start();
    let limit = "rate_limits.slow = { key = 'client', rate = '1/h', burst = 0 }";
    let mut edge = edge_with(&backend, "rate_limits = ['slow']", limit);
    from(&edge, "192.0.2.1", "/first").expect_status(200);
    let text = std::fs::read_to_string(edge.file()).unwrap();
    std::fs::write(edge.file(), text.replace("burst = 0", "burst = 1")).unwrap();
    edge.process.signal(cirque_tests::process::Signal::HUP);
    edge.wait_for_metric("proxy_config_reloads_total", &[("result", "applied")], 1.0);
    from(&edge, "192.0.2.1", "/one-more").expect_status(200);
    from(&edge, "192.0.2.1", "/two-more").expect_status(429);
}
