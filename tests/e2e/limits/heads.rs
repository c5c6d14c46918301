//! What is refused because its head is too large.

use cirque_tests::{Backend, Edge, Request};

use crate::witness::logged_status;

// key: proxy.toml client.client_max_headers
#[test]
fn a_head_with_too_many_fields_is_431() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_max_headers = 10").start();
    let with = |path: &str, n: usize| {
        // Host is one of them.
        let request = (1..n).fold(Request::get(path), |request, n| request.header(&format!("X-{n}"), "x"));
        edge.send(&request).status
    };
    assert_eq!((with("/fits", 10), with("/more", 11)), (200, 431));
    assert_eq!(logged_status(&edge, "/more"), 431);
    assert_eq!(edge.logged("/more")["rule"], "too_many_fields");
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "head_too_large")], 1.0);
    assert!(backend.requests_to("/more").is_empty());
}

// key: proxy.toml client.client_max_uri_length
#[test]
fn a_target_that_is_too_long_is_414() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_max_uri_length = '100'").start();
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    edge.get(&path(100)).expect_status(200);
    edge.get(&path(101)).expect_status(414);
    edge.get(&format!("/q?{}", "x".repeat(98))).expect_status(414);
    assert_eq!(edge.logged(&path(101))["rule"], "target_too_long");
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "target_too_long")], 2.0);
}
