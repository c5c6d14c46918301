//! Listeners come, change and go by a reload: all of it or nothing, and nobody who is inside notices.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use cirque_tests::frames::{Frames, GOAWAY};
use cirque_tests::process::{Signal, Stream};
use cirque_tests::{
    Authority, Backend, Client, Connection, Edge, Load, Process, Reply, Request, curl, eventually, ports,
};

use crate::witness::nothing_in_flight;

const SOON: Duration = Duration::from_secs(10);

fn row(name: &str, address: SocketAddr, keys: &str) -> String {
    format!("{{ name = '{name}', address = '{address}'{keys} }}")
}

/// Lays listeners over the file, beside the first one.
fn rewrite(edge: &mut Edge, more: &[String]) {
    let first = row("http", edge.address(), "");
    let rows = [&[first], more].concat().join(", ");
    edge.rewrite(|file| file.toml(&format!("listeners = [{rows}]")));
}

fn reload(edge: &Edge) -> (i32, String) {
    command(edge, "reload")
}

fn command(edge: &Edge, what: &str) -> (i32, String) {
    let (admin, file) = (edge.admin().to_string(), edge.file().display().to_string());
    let mut process = Process::cirque(what, &["proxy", what, "-c", &file, "--admin", &admin]);
    let code = process.expect_exit(SOON);
    (code, process.text(Stream::Stdout) + &process.text(Stream::Stderr))
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

#[test]
fn listeners_come_and_go_under_load_and_no_request_fails() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    let other = ports::address();
    let load = Load::on(edge.address(), "/x").connections(4).per_second(300).start();
    load.wait_for(50);
    for round in 0..5 {
        rewrite(&mut edge, &[row("other", other, "")]);
        let (code, said) = command(&edge, "diff");
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("+ listeners.other") && said.contains(&other.to_string()), "{said}");
        assert_eq!(reload(&edge).0, 0, "round {round}");
        let mut kept = Connection::open(other);
        kept.exchange(&Request::get("/other")).unwrap().expect_status(200);
        let more = Load::on(other, "/more").connections(2).per_second(200).start();
        more.wait_for(20);
        more.stop().assert_all_ok();
        rewrite(&mut edge, &[]);
        assert!(command(&edge, "diff").1.contains("- listeners.other"));
        assert_eq!(reload(&edge).0, 0, "round {round}");
        eventually("it is closed", SOON, || is_open(other), |open| !open);
        // Who is inside gets one more answer, and is told to come back elsewhere.
        let last = kept.exchange(&Request::get("/last")).unwrap();
        assert_eq!(last.expect_status(200).header("connection"), Some("close"));
        load.wait_for(20);
    }
    load.stop().assert_all_ok();
    assert!(edge.metrics().lines("proxy_connections_active").iter().all(|line| !line.contains("other")));
    edge.process.wait_for_line("listener is closed", SOON);
    nothing_in_flight(&edge);
}

#[test]
fn a_listener_that_cannot_be_opened_refuses_the_change_and_opens_none_of_the_others() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    let (fine, taken) = (ports::address(), TcpListener::bind("127.0.0.1:0").unwrap());
    let taken_address = taken.local_addr().unwrap();
    rewrite(&mut edge, &[row("fine", fine, ""), row("taken", taken_address, "")]);
    edge.rewrite(|file| file.toml("client.keepalive_requests = 7"));
    let (code, said) = reload(&edge);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("listener `taken`: could not listen on"), "{said}");
    assert!(!is_open(fine), "all or nothing");
    edge.wait_for_metric("proxy_config_last_reload_successful", &[], 0.0);
    let refused = [("source", "api"), ("result", "refused")];
    edge.wait_for_metric("proxy_config_reloads_total", &refused, 1.0);
    assert!(!edge.metrics().has("proxy_connections_active", &[("listener", "fine")]));
    let mut client = edge.client();
    (0..10).for_each(|_| drop(client.get("/x").expect_status(200).clone()));
    drop(taken);
    edge.process.signal(Signal::HUP);
    edge.wait_for_metric("proxy_config_reloads_total", &[("source", "signal"), ("result", "applied")], 1.0);
    let at = edge.metrics().value("proxy_config_last_reload_success_timestamp_seconds", &[]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((0.0..60.0).contains(&(now - at)), "{at}, now {now}");
    assert!(is_open(fine) && is_open(taken_address));
}

#[test]
fn lists_and_certificates_of_a_listener_change_in_place_and_connections_of_before_go_on() {
    let backend = Backend::start();
    let authority = Authority::new();
    let (one, two) = (authority.issue("one", &["one.test"]), authority.issue("two", &["two.test"]));
    let mut edge = Edge::before(&[&backend]);
    let secure = ports::address();
    let trust = authority.file().display().to_string();
    let ask = |host: &str| curl(secure, &format!("https://{host}/x"), &["--cacert", &trust]).status;
    let tls = |rows: &[String]| format!(", tls = {{ certificates = [{}] }}", rows.join(", "));
    rewrite(&mut edge, &[row("https", secure, &tls(&[one.row()]))]);
    assert_eq!(reload(&edge).0, 0);
    assert_eq!((ask("one.test"), ask("two.test")), (200, 0));
    rewrite(&mut edge, &[row("https", secure, &tls(&[one.row(), two.row()]))]);
    assert_eq!(reload(&edge).0, 0);
    assert_eq!((ask("one.test"), ask("two.test")), (200, 200));
    rewrite(&mut edge, &[row("https", secure, &tls(&[two.row()]))]);
    assert_eq!(reload(&edge).0, 0);
    assert_eq!((ask("one.test"), ask("two.test")), (0, 200));
    let expiries = edge.metrics().lines("proxy_tls_certificate_expiry_timestamp_seconds");
    assert_eq!(expiries.len(), 1, "{expiries:?}");
    // Certificates that a reload brought are watched as well.
    authority.issue("two", &["two.test", "three.test"]);
    eventually("the file's change is taken over", SOON, || ask("three.test"), |status| *status == 200);

    rewrite(&mut edge, &[row("plain", secure, "")]);
    assert_eq!(reload(&edge).0, 0);
    let mut before = Connection::open(secure);
    before.exchange(&Request::get("/before")).unwrap().expect_status(200);
    rewrite(&mut edge, &[row("plain", secure, ", deny = ['127.0.0.0/8']")]);
    assert_eq!(reload(&edge).0, 0);
    before.exchange(&Request::get("/still")).unwrap().expect_status(200);
    assert!(Client::to(secure).try_send(&Request::get("/x")).is_err(), "new ones are not let in");
    edge.wait_for_metric("proxy_connections_refused_total", &[("listener", "plain"), ("reason", "acl")], 1.0);
    drop(before);
    nothing_in_flight(&edge);
}

#[test]
fn an_http2_connection_of_a_listener_that_goes_is_told_so_and_its_requests_end() {
    let backend = Backend::start();
    backend.answer_on("/slow", Reply::ok("x".repeat(10)).drip(1, Duration::from_millis(100)));
    let mut edge = Edge::before(&[&backend]);
    let other = ports::address();
    rewrite(&mut edge, &[row("other", other, "")]);
    assert_eq!(reload(&edge).0, 0);
    let mut client = Frames::open(other);
    client.get(1, "/slow").unwrap();
    backend.wait_for_requests("/slow", 1);
    rewrite(&mut edge, &[]);
    assert_eq!(reload(&edge).0, 0);
    let goaway = client.until("a GOAWAY", |frame| frame.kind == GOAWAY);
    assert_eq!(goaway.code(), 0);
    client.until("the end of the answer", |frame| frame.stream == 1 && frame.ends_stream());
    nothing_in_flight(&edge);
}

#[test]
fn a_successor_gets_the_listeners_as_they_are_then() {
    let backend = Backend::start();
    let mut edge = Edge::before(&[&backend]);
    let (gone, new) = (ports::address(), ports::address());
    rewrite(&mut edge, &[row("gone", gone, "")]);
    assert_eq!(reload(&edge).0, 0);
    rewrite(&mut edge, &[row("new", new, "")]);
    assert_eq!(reload(&edge).0, 0);
    let load = Load::on(new, "/x").connections(2).per_second(200).start();
    load.wait_for(50);
    let admin = edge.admin().to_string();
    let mut upgrade = Process::cirque("upgrade", &["proxy", "upgrade", "--json", "--admin", &admin]);
    assert_eq!(upgrade.expect_exit(Duration::from_secs(40)), 0, "{}", upgrade.text(Stream::Stderr));
    let said: serde_json::Value = serde_json::from_str(&upgrade.text(Stream::Stdout)).unwrap();
    let pid = u32::try_from(said["pid"].as_u64().unwrap()).unwrap();
    load.wait_for(100);
    load.stop().assert_all_ok();
    assert!(!is_open(gone));
    cirque_tests::process::signal_pid(pid, Signal::TERM);
    eventually("the successor ends", SOON, || cirque_tests::process::is_alive(pid), |alive| !alive);
}
