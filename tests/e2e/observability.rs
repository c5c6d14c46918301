//! What metrics, logs and the admin address say, and that it agrees with what happened.

use std::time::Duration;

use cirque_tests::{Backend, Client, Cluster, Connection, Edge, Load, Node, Reply, Request, Scrape};

use crate::witness::{logged_attempts, nothing_in_flight};

#[test]
fn promtool_has_nothing_to_say_about_either_tier() {
    let cluster = Cluster::start();
    Load::on(cluster.address(), "/api/v1/posts").requests(20).run().assert_all_ok();
    Client::to(cluster.address()).get("/api/v1/posts/there-is-no-such-post").expect_status(404);
    assert_eq!(cluster.metrics().promtool_findings(), "");
    let app = Scrape::fetch(cluster.node_address(1), "/api/metrics");
    assert!(app.value("http_requests_total", &[]) > 0.0, "{}", app.text);
    let findings = app.promtool_findings();
    let expected = "http_request_duration_milliseconds use base unit \"seconds\" instead of \"milliseconds\"";
    assert!(findings.starts_with(expected), "the guide's name, and nothing else: {findings}");
    assert_eq!(findings.lines().filter(|line| line.contains(" use ")).count(), 1, "{findings}");
}

// key: app.toml metrics.guide_names
#[test]
fn the_guides_names_are_shown_unless_switched_off_and_then_promtool_is_content() {
    let node = Node::builder().toml("metrics.guide_names = false").start();
    node.get("/api/v1/posts").expect_status(200);
    let metrics = node.metrics();
    assert_eq!(metrics.promtool_findings(), "");
    assert!(!metrics.has("http_request_duration_milliseconds_count", &[]));
    let node = Node::builder().start();
    node.get("/api/v1/posts").expect_status(200);
    let metrics = node.metrics();
    for name in [
        "http_requests_total",
        "http_request_duration_milliseconds_count",
        "database_connections",
        "cache_hit_ratio",
        "memory_usage_bytes",
    ] {
        assert!(metrics.has(name, &[]), "{name} is missing");
    }
}

#[test]
fn series_of_failures_exist_before_the_first_failure() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let metrics = edge.metrics();
    for (name, labels) in [
        ("http_requests_total", &[("route", "all"), ("code", "502")][..]),
        ("http_request_duration_seconds_count", &[("route", "all")][..]),
        ("http_requests_in_flight", &[][..]),
        (
            "proxy_upstream_requests_total",
            &[("upstream", "app"), ("backend", "backend"), ("code", "200")][..],
        ),
        ("proxy_upstream_errors_total", &[("backend", "backend"), ("reason", "connect")][..]),
        ("proxy_upstream_in_flight", &[("upstream", "app"), ("backend", "backend")][..]),
        ("proxy_retries_total", &[("upstream", "app"), ("reason", "http_503")][..]),
        ("proxy_retries_denied_total", &[("upstream", "app"), ("reason", "budget_empty")][..]),
        ("proxy_backend_transitions_total", &[("backend", "backend"), ("to", "down")][..]),
        ("proxy_refusals_total", &[("reason", "no_backend")][..]),
        ("proxy_fail_open_total", &[("upstream", "app")][..]),
    ] {
        assert!(metrics.has(name, labels), "{name}{labels:?} is missing");
        assert_eq!(metrics.value(name, labels), 0.0, "{name}{labels:?}");
    }
    assert_eq!(metrics.value("proxy_backend_up", &[("backend", "backend")]), 1.0);
}

#[test]
fn gauges_of_work_in_flight_follow_what_is_in_flight() {
    let backend = Backend::start();
    backend.answer_on("/slow", Reply::stall());
    let edge = Edge::builder().backend(&backend).without_probe().start();
    let mut connections: Vec<Connection> = (0..5).map(|_| Connection::open(edge.address())).collect();
    for connection in &mut connections {
        connection.write(Request::get("/slow").to_bytes()).unwrap();
    }
    backend.wait_for_requests("/slow", 5);
    edge.wait_for_metric("http_requests_in_flight", &[], 5.0);
    edge.wait_for_metric("proxy_upstream_in_flight", &[("backend", "backend")], 5.0);
    let row = &edge.upstreams()["upstreams"][0]["backends"][0];
    assert_eq!(row["in_flight"], 5, "{row}");
    drop(connections);
    nothing_in_flight(&edge);
}

#[test]
fn gauges_return_to_zero_after_errors_retries_and_early_disconnects() {
    let (odd, even) = (Backend::named("odd"), Backend::named("even"));
    for backend in [&odd, &even] {
        backend.script(|request| match request.path() {
            "/refuses" => Reply::status(503),
            "/closes" => Reply::close(),
            "/cuts" => Reply::ok("0123456789").cut_after(3),
            "/late" => Reply::ok("late").delay(Duration::from_millis(300)),
            _ => Reply::ok("fine"),
        });
    }
    let edge = Edge::before(&[&odd, &even]);
    for path in ["/refuses", "/closes", "/cuts", "/fine"] {
        let _ = Load::on(edge.address(), path).connections(4).requests(20).run();
    }
    for _ in 0..10 {
        let mut connection = Connection::open(edge.address());
        connection.write(Request::get("/late").to_bytes()).unwrap();
        let mut half = Connection::open(edge.address());
        half.write("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    }
    nothing_in_flight(&edge);
    let metrics = edge.metrics();
    assert_eq!(
        metrics.value("http_requests_total", &[]),
        edge.metrics().value("http_request_duration_seconds_count", &[])
    );
}

#[test]
fn each_attempt_is_counted_once() {
    let backends: Vec<Backend> = (1..=3).map(|n| Backend::named(&format!("bad-{n}"))).collect();
    backends.iter().for_each(|backend| backend.answer_on("/x", Reply::status(503)));
    let edge = Edge::before(&backends.iter().collect::<Vec<_>>());
    edge.get("/x").expect_status(503);
    let metrics = edge.metrics();
    let answered = metrics.value("proxy_upstream_requests_total", &[("code", "503")]);
    let sent: usize = backends.iter().map(|backend| backend.requests_to("/x").len()).sum();
    assert_eq!((answered, sent), (3.0, 3), "{:#?}", metrics.lines("proxy_upstream_requests_total"));
    edge.wait_for_metric("http_requests_total", &[("code", "503")], 1.0);
}

#[test]
fn one_line_tells_the_story_of_a_request() {
    let (bad, good) = (Backend::named("bad"), Backend::named("good"));
    bad.answer_on("/story", Reply::status(503));
    let edge = Edge::builder().backend(&bad).backend_with(&good, "backup = true").start();
    edge.send(&Request::get("/story?secret=1").header("Host", "a.example")).expect_status(200);
    let line = edge.logged("/story");
    for (field, expected) in [
        ("http.request.method", "GET"),
        ("server.address", "a.example"),
        ("url.path", "/story"),
        ("route", "all"),
        ("upstream", "app"),
        ("backend", "good"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert_eq!(line["http.response.status_code"], 200);
    assert!(
        line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0) && line["bytes_out"].as_u64() == Some(4),
        "{line}"
    );
    assert!(!line.to_string().contains("secret"), "query strings are never logged: {line}");
    let attempts = logged_attempts(&edge, "/story");
    let expected = [("bad", "http_503"), ("good", "answered")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(attempts, expected);
    assert_eq!(line["attempts"][0]["status"], 503, "{line}");
    assert_eq!(edge.access_log().len(), 1);
}

#[test]
fn a_client_that_leaves_is_logged_as_499() {
    let backend = Backend::start();
    backend.answer_on("/left", Reply::stall());
    let edge = Edge::before(&[&backend]);
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/left").to_bytes()).unwrap();
    backend.wait_for_requests("/left", 1);
    drop(connection);
    let line = edge.logged("/left");
    assert_eq!(
        (&line["http.response.status_code"], &line["reason"]),
        (&499.into(), &"client_left".into()),
        "{line}"
    );
    assert_eq!(edge.metrics().value("proxy_upstream_errors_total", &[]), 0.0, "the backend is not to blame");
    nothing_in_flight(&edge);
}

#[test]
fn upstreams_shows_who_is_available_and_why_not() {
    let (well, ill) = (Backend::named("well"), Backend::named("ill"));
    ill.answer_on("/", Reply::status(500));
    let toml = "upstreams.app.probe = { interval = '100ms', timeout = '100ms', fall = 1 }";
    let edge = Edge::builder().backend(&well).backend_with(&ill, "weight = 7").toml(toml).start();
    edge.wait_for_metric("proxy_backend_up", &[("backend", "ill")], 0.0);
    let upstream = &edge.upstreams()["upstreams"][0];
    assert_eq!((&upstream["name"], &upstream["available"]), (&"app".into(), &1.into()), "{upstream}");
    let (first, second) = (&upstream["backends"][0], &upstream["backends"][1]);
    assert_eq!((&first["id"], &first["available"]), (&"well".into(), &true.into()), "{first}");
    assert_eq!(second["address"], ill.address().to_string());
    assert_eq!((&second["weight"], &second["reason"]), (&7.into(), &"down".into()), "{second}");
}

/// What an edge has to show: names, and labels of the listener `https`, the route `all` and the backend `backend`.
fn wanted() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let (listener, route) = (("listener", "https"), ("route", "all"));
    let (upstream, member) = (("upstream", "app"), ("backend", "backend"));
    let mut wanted = vec![
        ("http_requests_total", vec![route, ("method", "GET"), ("code", "200")]),
        ("http_request_duration_seconds_bucket", vec![route]),
        ("proxy_listener_requests_total", vec![listener, ("class", "5xx")]),
        ("proxy_listener_requests_in_flight", vec![listener]),
        ("proxy_request_body_bytes_total", vec![route]),
        ("proxy_response_body_bytes_total", vec![route]),
        ("proxy_connections_active", vec![listener]),
        ("proxy_connections_accepted_total", vec![listener]),
        ("proxy_tls_handshakes_total", vec![listener, ("version", "1.3"), ("result", "full")]),
        ("proxy_tls_certificate_expiry_timestamp_seconds", vec![listener]),
        ("proxy_upstream_requests_total", vec![upstream, member, ("code", "200")]),
        ("proxy_upstream_response_seconds_bucket", vec![upstream, member]),
        ("proxy_upstream_connect_seconds_bucket", vec![upstream, member]),
        ("proxy_upstream_in_flight", vec![upstream, member]),
        ("proxy_upstream_connection_reuses_total", vec![upstream, member]),
        ("proxy_backend_up", vec![upstream, member]),
        ("proxy_backend_state", vec![upstream, member, ("state", "up")]),
        ("proxy_probes_total", vec![upstream, member, ("result", "success")]),
        ("proxy_probe_duration_seconds_bucket", vec![upstream, member]),
        ("proxy_backend_transitions_total", vec![upstream, member, ("to", "down"), ("cause", "probe")]),
        ("proxy_upstream_backends", vec![upstream, ("state", "ejected")]),
        ("proxy_upstream_ejections_total", vec![upstream, member, ("reason", "max_fails")]),
        ("proxy_upstream_panic", vec![upstream]),
        ("proxy_upstream_backup_active", vec![upstream]),
        ("proxy_retries_total", vec![upstream, ("reason", "http_503")]),
        ("proxy_retry_success_total", vec![upstream]),
        ("proxy_queue_length", vec![upstream]),
        ("proxy_queue_wait_seconds_bucket", vec![upstream]),
        ("proxy_queue_overflow_total", vec![upstream]),
        ("proxy_no_backend_total", vec![upstream]),
        ("proxy_config_last_reload_successful", vec![]),
        ("proxy_config_last_reload_success_timestamp_seconds", vec![]),
        ("proxy_config_info", vec![("version", "1")]),
        ("proxy_build_info", vec![]),
        ("process_open_fds", vec![]),
    ];
    wanted.extend(wanted_by_reason());
    wanted
}

/// The same for what has a series for each reason or state.
fn wanted_by_reason() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let (listener, upstream, member) = (("listener", "https"), ("upstream", "app"), ("backend", "backend"));
    let mut wanted = Vec::new();
    for state in ["active", "idle"] {
        wanted.push(("proxy_upstream_connections", vec![upstream, member, ("state", state)]));
    }
    for kind in ["configured", "effective"] {
        wanted.push(("proxy_upstream_weight", vec![upstream, member, ("kind", kind)]));
    }
    for reason in ["rate", "acl", "overload", "maintenance", "queue_full", "body_too_large", "head_too_large"]
    {
        wanted.push(("proxy_refusals_total", vec![("route", "none"), ("reason", reason)]));
    }
    for reason in ["total", "client", "acl", "system", "stranger", "no_header", "late_header"] {
        wanted.push(("proxy_connections_refused_total", vec![listener, ("reason", reason)]));
    }
    for reason in ["connect", "connect_timeout", "read_timeout", "write_timeout", "reset", "protocol"] {
        wanted.push(("proxy_upstream_errors_total", vec![upstream, member, ("reason", reason)]));
    }
    for reason in [
        "budget_empty",
        "attempts_exhausted",
        "deadline_reached",
        "not_idempotent",
        "body_not_replayable",
        "answer_started",
    ] {
        wanted.push(("proxy_retries_denied_total", vec![upstream, ("reason", reason)]));
    }
    for source in ["signal", "api"] {
        wanted.push(("proxy_config_reloads_total", vec![("source", source), ("result", "refused")]));
    }
    wanted
}

#[test]
fn every_series_that_an_operator_may_look_for_is_there_from_the_start() {
    let backend = Backend::start();
    let authority = cirque_tests::Authority::new();
    let files = authority.issue("site", &["site.test"]);
    let builder = Edge::builder().backend(&backend);
    let (http, https) = (builder.address(), cirque_tests::ports::address());
    let edge = builder
        .toml(&format!(
            "listeners = [{{ name = 'http', address = '{http}' }}, {{ name = 'https', address = '{https}', \
             tls = {{ certificates = [{}] }} }}]",
            files.row()
        ))
        .start();
    let metrics = edge.metrics();
    let wanted = wanted();
    let missing: Vec<_> = wanted.iter().filter(|(name, labels)| !metrics.has(name, labels)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // And they count: a request by its listener, a connection to its backend.
    edge.get("/x").expect_status(200);
    edge.wait_for_metric("proxy_listener_requests_total", &[("listener", "http"), ("class", "2xx")], 1.0);
    assert_eq!(edge.metrics().value("proxy_listener_requests_total", &[("listener", "https")]), 0.0);
    edge.wait_for_metric("proxy_listener_requests_in_flight", &[], 0.0);
    if cirque_tests::edge::Path::under_test() == cirque_tests::edge::Path::Own {
        edge.wait_for_metric("proxy_upstream_connections", &[("state", "idle")], 1.0);
    }
}
