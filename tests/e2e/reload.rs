//! A change of the configuration is put to work whole or not at all, and disturbs nothing that it does not concern.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use cirque_tests::edge::Path;
use cirque_tests::process::{Signal, Stream};
use cirque_tests::{Authority, Backend, Connection, Edge, Load, Reply, Request, eventually, ports};

use crate::witness::{logged_backends, nothing_in_flight};

/// Waits until so many changes are at work.
#[track_caller]
fn wait_until_applied(edge: &Edge, count: u32) {
    edge.wait_for_metric("proxy_config_reloads_total", &[("result", "applied")], f64::from(count));
    edge.wait_for_metric("proxy_config_last_reload_successful", &[], 1.0);
}

const REFUSED: &str = "configuration was not reloaded";

#[test]
fn backends_come_and_go_under_load_and_no_request_fails() {
    let (old, stays, new) = (Backend::named("old"), Backend::named("stays"), Backend::named("new"));
    let mut edge = Edge::builder().backend(&old).backend(&stays).start();
    let load = Load::on(edge.address(), "/x").connections(4).per_second(500).start();
    load.wait_for(100);
    for round in 1..=10 {
        let is_odd = round % 2 == 1;
        edge.rewrite(|file| {
            if is_odd { file.without("old").backend(&new) } else { file.without("new").backend(&old) }
        });
        edge.process.signal(Signal::HUP);
        wait_until_applied(&edge, round);
        load.wait_for(50);
    }
    load.stop().assert_all_ok();
    assert!(!new.requests_to("/x").is_empty(), "the new backend was asked");
    let metrics = edge.metrics();
    let up = |backend: &str| !metrics.lines("proxy_backend_up").iter().any(|line| line.contains(backend));
    assert!(up("\"new\"") && !up("\"old\""), "series go with their backend: {metrics:?}");
    nothing_in_flight(&edge);
}

#[test]
fn a_request_in_flight_ends_where_it_began_although_its_backend_is_gone() {
    let (leaving, staying) = (Backend::named("leaving"), Backend::named("staying"));
    leaving.answer_on("/slow", Reply::ok("x".repeat(10)).drip(1, Duration::from_millis(100)));
    let mut edge = Edge::builder().backend(&leaving).start();
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/slow").to_bytes()).unwrap();
    leaving.wait_for_requests("/slow", 1);
    edge.rewrite(|file| file.without("leaving").backend(&staying));
    edge.process.signal(Signal::HUP);
    wait_until_applied(&edge, 1);
    edge.get("/next").expect_status(200);
    assert_eq!(connection.read_response("GET").unwrap().expect_status(200).body.len(), 10);
    assert_eq!(logged_backends(&edge, "/slow"), ["leaving"]);
    assert_eq!(logged_backends(&edge, "/next"), ["staying"]);
    nothing_in_flight(&edge);
}

#[test]
fn a_broken_file_changes_nothing_and_the_log_says_why() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    let good = fs::read_to_string(edge.file()).unwrap();
    for (broken, why) in [
        (good.replace("upstream = ", "upstraem = "), "did you mean `upstream`"),
        (good.replace("127.0.0.1", "127.0.0.1.example.invalid"), "looked up"),
        ("[[[".to_owned(), "proxy.toml"),
        (good.replace("threads = 2", "threads = 3"), "server.threads"),
    ] {
        let before = edge.process.json_lines().len();
        fs::write(edge.file(), &broken).unwrap();
        edge.process.signal(Signal::HUP);
        let find = || {
            let lines = edge.process.json_lines();
            let mut new = lines.into_iter().skip(before);
            new.find(|line| line["message"].as_str().is_some_and(|said| said.starts_with(REFUSED)))
        };
        let line =
            eventually("the refusal is logged", Duration::from_secs(20), find, Option::is_some).unwrap();
        assert!(line.to_string().contains(why), "{why}: {line}");
        edge.wait_for_metric("proxy_config_last_reload_successful", &[], 0.0);
        edge.get("/x").expect_status(200);
    }
    fs::write(edge.file(), good).unwrap();
    edge.process.signal(Signal::HUP);
    wait_until_applied(&edge, 1);
}

// key: proxy.toml server.state_dir
#[test]
fn an_edge_that_cannot_read_its_operators_orders_does_not_start() {
    let backend = Backend::start();
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("operator.json"), "{\"app\": ").unwrap();
    let mut edge = Edge::builder().backend(&backend).state_dir(state.path()).launch();
    assert_eq!(edge.process.expect_exit(Duration::from_secs(10)), 1);
    let said = edge.process.text(Stream::Stderr);
    assert!(said.contains("operator.json") && said.contains("repair or remove it"), "{said}");
}

#[test]
fn the_next_request_of_an_open_connection_is_under_the_new_limits() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    // pingora counts down from what held when the connection was opened.
    let (first, second) = match Path::under_test() {
        Path::Own => (None, "close"),
        Path::Pingora => (Some("keep-alive"), "keep-alive"),
    };
    let mut connection = Connection::open(edge.address());
    let answer = connection.exchange(&Request::get("/x")).unwrap();
    assert_eq!(answer.expect_status(200).header("connection"), first);
    edge.rewrite(|file| file.toml("client.keepalive_requests = 2"));
    edge.process.signal(Signal::HUP);
    wait_until_applied(&edge, 1);
    let answer = connection.exchange(&Request::get("/x")).unwrap();
    assert_eq!(answer.expect_status(200).header("connection"), Some(second));
    if second == "close" {
        assert_eq!(connection.read_until_close(Duration::from_secs(5)), Some(Vec::new()));
    }
    nothing_in_flight(&edge);
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request_and_cut_no_tunnel() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let tunnels = Backend::answering(Reply::tunnel("websocket"));
    let authority = Authority::new();
    let (certificate, secure) = (authority.issue("site", &["site.test"]), ports::address());
    let builder = Edge::builder().backend(&a).backend(&b);
    let listeners = format!(
        "listeners = [{{ name = 'http', address = '{}' }}, \
         {{ name = 'https', address = '{secure}', tls = {{ certificates = [{}] }} }}]",
        builder.address(),
        certificate.row()
    );
    let mut edge = builder
        .toml("routes = [{ name = 'all', paths = ['/*'], upstream = 'app' }, { name = 'ws', paths = ['/ws'], upstream = 'ws' }]")
        .toml(&format!("upstreams.ws.backends = [{{ id = 'ws', address = '{}' }}]", tunnels.address()))
        .toml(&listeners)
        .start();
    let mut tunnel = Connection::open(edge.address());
    let upgrade = Request::get("/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    tunnel.exchange(&upgrade).unwrap().expect_status(101);
    let mut secured = Secured::open(secure);
    let load = Load::on(edge.address(), "/x").connections(4).per_second(400).start();
    for round in 1..=100_u32 {
        edge.rewrite(|file| {
            let weights = format!("upstreams.app.read_timeout = '{}s'", 10 + round % 7);
            let file = file.toml(&weights);
            match round % 4 {
                1 => file.without("a"),
                2 => file.backend_with(&a, "weight = 3"),
                3 => file.without("b"),
                _ => file.backend(&b).without("a").backend(&a),
            }
        });
        if round % 25 == 1 {
            authority.issue("site", &["site.test"]);
        }
        edge.process.signal(Signal::HUP);
        wait_until_applied(&edge, round);
        if round % 10 == 0 {
            tunnel.write(b"still here").unwrap();
            assert_eq!(tunnel.read_some(10).unwrap(), b"still here");
            secured.expect_answer();
        }
    }
    // The last change of the certificate is taken over at the second look that finds it.
    let swapped = [("listener", "https"), ("result", "success")];
    eventually(
        "certificates are swapped",
        Duration::from_secs(15),
        || edge.metrics().value("proxy_tls_certificate_reloads_total", &swapped),
        |swaps| *swaps >= 1.0,
    );
    secured.expect_answer();
    load.stop().assert_all_ok();
    drop((tunnel, secured));
    nothing_in_flight(&edge);
}

/// A TLS connection, kept by openssl.
struct Secured {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Secured {
    fn open(address: SocketAddr) -> Secured {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Secured { child, lines }
    }

    /// Asks over the one connection, and reads the head of the answer; it has no body.
    #[track_caller]
    fn expect_answer(&mut self) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(b"HEAD /x HTTP/1.1\r\nHost: site.test\r\n\r\n").expect("the connection is open");
        let (mut status, mut line) = (String::new(), String::new());
        self.lines.read_line(&mut status).expect("the connection is open");
        while self.lines.read_line(&mut line).expect("the connection is open") > 2 {
            line.clear();
        }
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
