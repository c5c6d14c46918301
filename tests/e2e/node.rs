//! What the keys of an app node do, each shown by its effect.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use cirque_tests::client::wait_until_ready;
use cirque_tests::node::{self, Node};
use cirque_tests::process::Stream;
use cirque_tests::{Client, Connection, Request, eventually, ports};
use serde_json::Value;
use tokio::time::Instant;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const LIST: &str = "/api/v1/posts?per_page=50";

// key: app.toml server.host, server.port, database.url
#[test]
fn a_node_listens_where_it_is_told_and_serves_the_database_it_is_told() {
    let builder = Node::builder().posts(30);
    let database = builder.folder().join("elsewhere.db");
    let node = builder.toml(&format!("database.url = 'sqlite:{}'", database.display())).start();
    assert!(node.get(LIST).expect_status(200).json()["meta"]["total"].as_u64() > Some(0));
    assert!(database.exists() && !node.folder().join("app.db").exists());

    let builder = Node::builder().toml("server.host = '127.0.0.2'");
    let mut check = node::run(&["check".to_owned()], &builder.write());
    assert_eq!(check.expect_exit(ms(20_000)), 1, "there is no database yet: {:#?}", check.lines());
    let mut migrate = node::run(&["migrate".to_owned()], &builder.write());
    assert_eq!(migrate.expect_exit(ms(20_000)), 0, "{:#?}", migrate.lines());
    let _serving = node::run(&["serve".to_owned()], &builder.write());
    wait_until_ready("the node", SocketAddr::from(([127, 0, 0, 2], builder.address().port())), ms(20_000));
    assert!(Connection::try_open(builder.address()).is_err(), "it listens on 127.0.0.1 too");
}

// key: app.toml server.node
#[test]
fn a_node_names_itself_in_every_answer() {
    let node = Node::builder().toml("server.node = 'blue-1'").start();
    assert_eq!(node.get("/livez").header("x-served-by"), Some("blue-1"));
    assert_eq!(node.get("/nowhere").expect_status(404).header("x-served-by"), Some("blue-1"));
    assert_eq!(node.get("/api/health").expect_status(200).json()["node"], "blue-1");
    let unnamed = Node::builder().start();
    assert_eq!(unnamed.get("/livez").header("x-served-by"), Some(unnamed.address().to_string().as_str()));
}

// key: app.toml server.public_url
#[test]
fn links_start_with_the_public_url() {
    for (url, start) in [("https://api.example.com", "https://api.example.com/api/"), ("", "/api/")] {
        let node = Node::builder().posts(20).toml(&format!("server.public_url = '{url}'")).start();
        let body = node.get("/api/v1/posts?per_page=2").expect_status(200).json();
        let next = body["links"]["next"].as_str().unwrap_or_default();
        assert!(next.starts_with(start), "{next:?} does not start with {start:?}");
    }
}

// key: app.toml server.max_connections
#[test]
fn above_max_connections_a_client_waits_until_another_leaves() {
    let node = Node::builder().toml("server.max_connections = 2").start();
    let mut open: Vec<Connection> = Vec::new();
    // The connection that asked for readiness may still be closing: two places are free a moment later.
    for _ in 0..2 {
        let mut connection = Connection::open(node.address());
        connection.exchange(&Request::get("/livez")).unwrap().expect_status(200);
        open.push(connection);
    }
    let mut third = Connection::open(node.address());
    third.write(Request::get("/livez").to_bytes()).unwrap();
    assert_eq!(third.read_until_close(ms(300)), None, "it waits, and is not refused");
    open.pop();
    third.set_timeout(ms(5000));
    third.read_response("GET").unwrap().expect_status(200);
}

// key: app.toml server.header_timeout
#[test]
fn a_slow_head_is_cut_at_its_deadline() {
    let node = Node::builder().toml("server.header_timeout = '500ms'").start();
    for kept in [false, true] {
        let mut connection = Connection::open(node.address());
        if kept {
            connection.exchange(&Request::get("/livez")).unwrap().expect_status(200);
        }
        connection.write("GET /livez HTTP/1.1\r\nX-Slow: ").unwrap();
        let began = Instant::now();
        while connection.read_until_close(ms(40)).is_none() {
            assert!(began.elapsed() < ms(5000), "still open");
            let _ = connection.write("x");
        }
        assert!(began.elapsed() > ms(400) && began.elapsed() < ms(2500), "{:?}", began.elapsed());
    }
    assert_eq!(node.metrics().value("app_connections_closed_total", &[("reason", "slow_head")]), 2.0);
}

// key: app.toml server.keep_alive_timeout
#[test]
fn an_idle_connection_is_closed_after_keep_alive_timeout() {
    let node = Node::builder().toml("server.keep_alive_timeout = '1s'").start();
    let mut connection = Connection::open(node.address());
    connection.exchange(&Request::get("/livez")).unwrap().expect_status(200);
    let began = Instant::now();
    assert_eq!(connection.read_until_close(ms(8000)), Some(Vec::new()));
    assert!(began.elapsed() > ms(800) && began.elapsed() < ms(3000), "{:?}", began.elapsed());
}

// key: app.toml server.write_timeout
#[test]
fn a_client_that_takes_no_byte_is_closed_after_write_timeout() {
    let node = Node::builder().posts(100).toml("server.write_timeout = '500ms'").start();
    let mut connection = Connection::open(node.address());
    connection.set_timeout(ms(200));
    // Answers pile up, because none is read; asking goes on until the node has enough.
    let request = Request::get(LIST).to_bytes();
    let ask = || connection.write(&request).map_err(|error| error.kind());
    eventually("the connection is closed", ms(20_000), ask, |asked| {
        matches!(asked, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
    })
    .expect_err("accepted only when closed");
    assert_eq!(node.metrics().value("app_connections_closed_total", &[("reason", "slow_reader")]), 1.0);
}

// key: app.toml server.max_head_size
#[test]
fn a_head_above_its_limit_is_431() {
    let node = Node::builder().toml("server.max_head_size = '8KiB'").start();
    node.client().send(&Request::get("/livez").header("X-Fits", &"x".repeat(7000))).expect_status(200);
    node.client().send(&Request::get("/livez").header("X-Long", &"x".repeat(9000))).expect_status(431);
}

// key: app.toml server.max_body_size
#[test]
fn a_body_above_its_limit_is_413() {
    let node = Node::builder().toml("server.max_body_size = '1KiB'").start();
    let fits = node.client().send(&Request::post("/api/v1/posts", vec![b'x'; 1024]));
    assert_ne!(fits.status, 413, "{fits:?}");
    node.client().send(&Request::post("/api/v1/posts", vec![b'x'; 1025])).expect_status(413);
}

// key: app.toml server.drain_delay
#[test]
fn during_drain_delay_a_node_still_accepts_and_says_that_it_is_leaving() {
    let mut node = Node::builder().toml("server.drain_delay = '1s'").start();
    let began = Instant::now();
    node.process.terminate();
    let status = || node.get("/readyz").status;
    eventually("it says that it is draining", ms(900), status, |status| *status == 503);
    node.get("/livez").expect_status(200);
    assert_eq!(node.process.expect_exit(ms(5000)), 0);
    assert!(began.elapsed() > ms(900) && began.elapsed() < ms(3000), "{:?}", began.elapsed());
}

// key: app.toml server.grace_period
#[test]
fn what_does_not_finish_within_the_grace_period_is_cut() {
    let toml = "server = { grace_period = '700ms', write_timeout = '60s' }";
    let mut node = Node::builder().posts(100).toml(toml).start();
    let mut connection = Connection::open(node.address());
    connection.set_timeout(ms(200));
    let request = Request::get(LIST).to_bytes();
    // Until nothing more fits: an answer is under way, and nobody reads it.
    while connection.write(&request).is_ok() {}
    let began = Instant::now();
    node.process.terminate();
    assert!(node.process.wait_exit(ms(6000)).is_some(), "still running after the grace period");
    assert!(began.elapsed() > ms(600) && began.elapsed() < ms(3000), "{:?}", began.elapsed());
}

#[test]
fn a_stop_ends_at_once_when_nothing_is_in_flight() {
    let mut node = Node::builder().start();
    let mut kept = Connection::open(node.address());
    kept.exchange(&Request::get("/livez")).unwrap().expect_status(200);
    let began = Instant::now();
    node.process.terminate();
    assert_eq!(node.process.expect_exit(ms(5000)), 0);
    assert!(began.elapsed() < ms(1500), "{:?}", began.elapsed());
}

// key: app.toml log.level
#[test]
fn the_level_decides_which_lines_are_written() {
    for (level, is_logged) in [("info", true), ("warn", false)] {
        let mut node = Node::builder().toml(&format!("log.level = '{level}'")).start();
        node.get("/api/v1/posts/there-is-none").expect_status(404);
        node.process.terminate();
        node.process.expect_exit(ms(5000));
        let said = node.process.text(Stream::Stdout) + &node.process.text(Stream::Stderr);
        assert_eq!(said.contains("there-is-none"), is_logged, "{level}: {said}");
    }
}

// key: app.toml log.format
#[test]
fn the_format_is_json_or_text() {
    for format in ["json", "text"] {
        let mut node = Node::builder().toml(&format!("log.format = '{format}'")).start();
        node.get("/api/v1/posts").expect_status(200);
        node.process.terminate();
        node.process.expect_exit(ms(5000));
        let said = node.process.text(Stream::Stdout) + &node.process.text(Stream::Stderr);
        assert!(said.contains("/api/v1/posts"), "{said}");
        let objects =
            said.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object()));
        let expected = if format == "json" { said.lines().count() } else { 0 };
        assert_eq!(objects.count(), expected, "{format}: {said}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let port = ports::free();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let other = Node::builder().start();
    let database = format!("database.url = 'sqlite:{}'", other.folder().join("app.db").display());
    let builder = Node::builder().toml(&database).toml(&format!("server.port = {port}"));
    let mut process = node::run(&["serve".to_owned()], &builder.write());
    assert_eq!(process.expect_exit(ms(10_000)), 1);
    assert!(process.text(Stream::Stderr).contains(&port.to_string()), "{:#?}", process.lines());
    Client::to(other.address()).get("/livez").expect_status(200);
}
