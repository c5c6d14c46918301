//! Which route a request takes, by host and path, and what the route does with it.

mod actions;

use std::net::SocketAddr;
use std::time::Duration;

use cirque_tests::{Backend, Client, Edge, Request, ports};

use crate::witness::logged_status;

#[track_caller]
fn expect(edge: &Edge, host: &str, path: &str, backend: &Backend) {
    let response = edge.send(&Request::get(path).header("Host", host));
    assert_eq!(response.expect_status(200).header("x-served-by"), Some(backend.name()), "{host}{path}");
}

#[track_caller]
fn expect_not_found(edge: &Edge, host: &str, path: &str) {
    edge.send(&Request::get(path).header("Host", host)).expect_status(404);
}

// key: proxy.toml routes[].paths, routes[].upstream, upstreams.*.backends[].address
#[test]
fn an_exact_path_wins_over_the_longest_prefix() {
    let (all, api, login) = (Backend::named("all"), Backend::named("api"), Backend::named("login"));
    let edge = Edge::builder()
        .backend(&all)
        .toml(&format!(
            "routes = [{{ name = 'all', paths = ['/*'], upstream = 'app' }},
               {{ name = 'api', paths = ['/api/*', '/v1/*'], upstream = 'api' }},
               {{ name = 'login', paths = ['/api/login'], upstream = 'login' }}]
             upstreams.api.backends = [{{ id = 'api', address = '{}' }}]
             upstreams.login.backends = [{{ id = 'login', address = '{}' }}]",
            api.address(),
            login.address()
        ))
        .start();
    expect(&edge, "any.example", "/", &all);
    expect(&edge, "any.example", "/apis", &all);
    expect(&edge, "any.example", "/api/x", &api);
    expect(&edge, "any.example", "/v1/x?y=/api/login", &api);
    expect(&edge, "any.example", "/api/login", &login);
    expect(&edge, "any.example", "/api/login?next=/", &login);
    expect(&edge, "any.example", "/api/login/", &api);
}

// key: proxy.toml routes[].hosts
#[test]
fn the_host_decides_before_the_path_and_does_not_fall_through() {
    let (exact, below, any) = (Backend::named("exact"), Backend::named("below"), Backend::named("any"));
    let edge = Edge::builder()
        .backend(&any)
        .toml(&format!(
            "routes = [{{ name = 'any', hosts = ['*'], paths = ['/*'], upstream = 'app' }},
               {{ name = 'exact', hosts = ['api.example.com'], paths = ['/api/*'], upstream = 'exact' }},
               {{ name = 'below', hosts = ['*.example.com'], upstream = 'below' }}]
             upstreams.exact.backends = [{{ id = 'exact', address = '{}' }}]
             upstreams.below.backends = [{{ id = 'below', address = '{}' }}]",
            exact.address(),
            below.address()
        ))
        .start();
    expect(&edge, "api.example.com", "/api/x", &exact);
    expect(&edge, "API.Example.COM:8080", "/api/x", &exact);
    expect(&edge, "www.example.com", "/api/x", &below);
    expect(&edge, "a.b.example.com", "/", &below);
    expect(&edge, "example.com", "/", &any);
    expect(&edge, "elsewhere.example", "/api/x", &any);
    expect_not_found(&edge, "api.example.com", "/other");
}

// key: proxy.toml routes[].name
#[test]
fn a_request_without_a_route_is_404_and_counted_as_such() {
    let backend = Backend::start();
    let edge = Edge::builder()
        .backend(&backend)
        .toml("routes = [{ name = 'named-route', hosts = ['known.example'], paths = ['/in/*'], upstream = 'app' }]")
        .start();
    expect(&edge, "known.example", "/in/x", &backend);
    expect_not_found(&edge, "known.example", "/out");
    expect_not_found(&edge, "unknown.example", "/in/y");

    edge.wait_for_metric("http_requests_total", &[("route", "named-route"), ("code", "200")], 1.0);
    edge.wait_for_metric("http_requests_total", &[("route", "none"), ("code", "404")], 2.0);
    assert_eq!(edge.logged("/in/x")["route"], "named-route");
    assert_eq!(logged_status(&edge, "/out"), 404);
    assert!(backend.requests_to("/out").is_empty());
}

// key: proxy.toml listeners[].address, listeners[].name
#[test]
fn every_listener_accepts_and_is_named_at_the_start() {
    let backend = Backend::start();
    let (edge, second) = two_listeners(&backend);
    edge.get("/first").expect_status(200);
    Client::to(second).get("/second").expect_status(200);
    let line = edge.process.wait_for_line("edge is starting", Duration::from_secs(5));
    for expected in [format!("inside={}", edge.address()), format!("outside={second}")] {
        assert!(line.contains(&expected), "{expected} is not in {line}");
    }
}

#[test]
fn the_log_says_on_which_listener_a_request_came() {
    let backend = Backend::start();
    let (edge, second) = two_listeners(&backend);
    edge.get("/first").expect_status(200);
    Client::to(second).get("/second").expect_status(200);
    assert_eq!(edge.logged("/first")["listener"], "inside");
    assert_eq!(edge.logged("/second")["listener"], "outside");
}

/// An edge that also listens on a second address, before this backend.
fn two_listeners(backend: &Backend) -> (Edge, SocketAddr) {
    let builder = Edge::builder().backend(backend);
    let (first, second) = (builder.address(), ports::address());
    let edge = builder
        .toml(&format!(
            "listeners = [{{ name = 'inside', address = '{first}' }}, {{ name = 'outside', address = '{second}' }}]"
        ))
        .start();
    (edge, second)
}
