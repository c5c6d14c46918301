//! How many connections there may be, and from where.

use std::time::Duration;

use cirque_tests::process::Stream;
use cirque_tests::{Backend, Connection, Edge, Request, eventually};

const SOON: Duration = Duration::from_secs(10);

/// Opens a connection and asks something on it: whether it was answered.
fn is_taken(edge: &Edge, held: &mut Vec<Connection>) -> bool {
    let mut connection = Connection::open(edge.address());
    let is_answered = connection.exchange(&Request::get("/x")).is_ok_and(|answer| answer.status == 200);
    if is_answered {
        held.push(connection);
    }
    is_answered
}

// key: proxy.toml client.max_connections, client.max_connections_per_client
#[test]
fn connections_above_a_limit_are_closed_as_they_come_and_each_end_makes_room() {
    for (toml, reason) in [
        ("client.max_connections = 5", "total"),
        ("client = { max_connections = 100, max_connections_per_client = 5 }", "client"),
    ] {
        let backend = Backend::start();
        let edge = Edge::builder().backend(&backend).without_probe().toml(toml).start();
        // The one that looked whether it listens was taken, and is gone.
        edge.wait_for_metric("proxy_connections_accepted_total", &[("listener", "http")], 1.0);
        edge.wait_for_metric("proxy_connections_active", &[("listener", "http")], 0.0);
        let mut held = Vec::new();
        let taken = (0..8).filter(|_| is_taken(&edge, &mut held)).count();
        assert_eq!(taken, 5, "{reason}");
        edge.wait_for_metric("proxy_connections_active", &[("listener", "http")], 5.0);
        edge.wait_for_metric("proxy_connections_refused_total", &[("reason", reason)], 3.0);
        for connection in &mut held {
            connection.exchange(&Request::get("/kept")).unwrap().expect_status(200);
        }
        held.clear();
        let again = || is_taken(&edge, &mut Vec::new());
        eventually("there is room again", SOON, again, |taken| *taken);
        edge.wait_for_metric("proxy_connections_active", &[], 0.0);
    }
}

#[test]
fn a_trusted_proxy_is_not_one_client() {
    let backend = Backend::start();
    let toml = "client.max_connections_per_client = 2\ntrust.proxies = ['127.0.0.1']";
    let edge = Edge::builder().backend(&backend).without_probe().toml(toml).start();
    let mut held = Vec::new();
    assert_eq!((0..5).filter(|_| is_taken(&edge, &mut held)).count(), 5);
}

#[test]
fn tunnels_count_as_connections() {
    let backend = Backend::start();
    backend.answer_on("/tunnel", cirque_tests::Reply::tunnel("websocket"));
    let edge = Edge::builder().backend(&backend).without_probe().toml("client.max_connections = 2").start();
    // The one that looked whether it listens was taken, and is gone.
    edge.wait_for_metric("proxy_connections_accepted_total", &[("listener", "http")], 1.0);
    edge.wait_for_metric("proxy_connections_active", &[("listener", "http")], 0.0);
    let upgrade = Request::get("/tunnel").header("Connection", "upgrade").header("Upgrade", "websocket");
    let mut tunnels: Vec<Connection> = (0..2).map(|_| Connection::open(edge.address())).collect();
    for tunnel in &mut tunnels {
        tunnel.exchange(&upgrade).unwrap().expect_status(101);
    }
    assert!(!is_taken(&edge, &mut Vec::new()));
    edge.wait_for_metric("proxy_connections_refused_total", &[("reason", "total")], 1.0);
}

// key: proxy.toml listeners[].allow, listeners[].deny
#[test]
fn a_listener_takes_connections_only_from_where_it_says() {
    let backend = Backend::start();
    for (keys, is_open) in [
        ("allow = ['192.0.2.0/24']", false),
        ("deny = ['127.0.0.0/8']", false),
        ("deny = ['127.0.0.0/8'], allow = ['127.0.0.1']", true),
    ] {
        let builder = Edge::builder().backend(&backend).without_probe();
        let listener =
            format!("listeners = [{{ name = 'http', address = '{}', {keys} }}]", builder.address());
        let edge = builder.toml(&listener).start();
        assert_eq!(is_taken(&edge, &mut Vec::new()), is_open, "{keys}");
        if !is_open {
            let refused = || edge.metrics().value("proxy_connections_refused_total", &[("reason", "acl")]);
            eventually("the refusal is counted", SOON, refused, |count| *count >= 1.0);
        }
    }
}

#[test]
fn the_limit_of_open_files_is_raised_at_the_start() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let line = edge.process.wait_for_line("open files limit is raised", SOON);
    assert!(line.contains("\"now\""), "{line}");
}

#[test]
fn a_connection_that_the_system_has_no_room_for_is_counted_and_served_once_there_is() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).without_probe().start();
    // As if somebody else had used up the files that it may open.
    let open = edge.process.open_files();
    edge.process.limit_open_files(open + 6);
    let mut held: Vec<Connection> = (0..20).map(|_| Connection::open(edge.address())).collect();
    let refused = || edge.metrics().value("proxy_connections_refused_total", &[("reason", "system")]);
    // Whoever asks needs a file too.
    held.truncate(12);
    eventually(
        "it is counted",
        SOON,
        || edge.process.text(Stream::Stderr),
        |text| text.contains("could not accept a connection"),
    );
    edge.process.limit_open_files(1024);
    eventually("it is counted", SOON, refused, |count| *count >= 1.0);
    for connection in &mut held {
        connection.exchange(&Request::get("/x")).unwrap().expect_status(200);
    }
    edge.get("/after").expect_status(200);
}
