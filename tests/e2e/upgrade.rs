//! A new process takes the edge's place without a refused connection, a failed request or a cut tunnel.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use cirque_tests::process::{Signal, Stream, is_alive, signal_pid};
use cirque_tests::{Backend, Client, Cluster, Connection, Edge, Load, Process, Reply, Request, eventually};
use serde_json::Value;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(40);

/// The process that took over; ended with the test.
struct Successor(u32);

impl Successor {
    #[track_caller]
    fn of(answer: &Value) -> Successor {
        let pid = answer["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        Successor(pid.expect("the answer names a pid"))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        signal_pid(self.0, Signal::TERM);
        eventually("the successor ends", SOON, || is_alive(self.0), |alive| !alive);
    }
}

fn upgrade(edge: &Edge) -> (i32, String) {
    let admin = edge.admin().to_string();
    let mut process = Process::cirque("upgrade", &["proxy", "upgrade", "--json", "--admin", &admin]);
    let code = process.expect_exit(SOON);
    (code, process.text(Stream::Stdout) + &process.text(Stream::Stderr))
}

#[track_caller]
fn successor(edge: &Edge) -> Successor {
    let (code, said) = upgrade(edge);
    assert_eq!(code, 0, "{said}");
    let answer: Value = serde_json::from_str(&said).expect("the command prints JSON");
    Successor::of(&answer)
}

/// A tunnel through the edge, with a byte gone through it.
fn tunnel(edge: &Edge) -> Connection {
    let mut tunnel = Connection::open(edge.address());
    let upgrade = Request::get("/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    tunnel.exchange(&upgrade).expect("an answer to an upgrade").expect_status(101);
    ping(&mut tunnel);
    tunnel
}

#[track_caller]
fn ping(tunnel: &mut Connection) {
    tunnel.write(b"still here").expect("the tunnel takes bytes");
    assert_eq!(tunnel.read_some(10).expect("the tunnel gives bytes back"), b"still here");
}

fn edge_with_tunnels(app: &Backend, tunnels: &Backend, keys: &str) -> Edge {
    Edge::builder()
        .backend(app)
        .toml(
            "routes = [{ name = 'all', paths = ['/*'], upstream = 'app' }, \
             { name = 'ws', paths = ['/ws'], upstream = 'ws' }]",
        )
        .toml(keys)
        .toml(&format!("upstreams.ws.backends = [{{ id = 'ws', address = '{}' }}]", tunnels.address()))
        .start()
}

#[test]
fn under_load_a_successor_takes_over_and_nothing_is_refused_failed_or_cut() {
    let (app, tunnels) = (Backend::start(), Backend::answering(Reply::tunnel("websocket")));
    let mut edge = edge_with_tunnels(&app, &tunnels, "");
    let mut open = tunnel(&edge);
    let load = Load::on(edge.address(), "/x").connections(4).per_second(400).start();
    load.wait_for(200);
    let first = successor(&edge);
    load.wait_for(200);
    ping(&mut open);
    assert_ne!(first.0, edge.process.pid());
    // The second is the first's child, and asked over the same address.
    let second = successor(&edge);
    load.wait_for(200);
    load.stop().assert_all_ok();
    eventually("the first successor leaves", SOON, || is_alive(first.0), |alive| !alive);
    assert!(edge.process.is_running(), "the old edge stays for its tunnel");
    ping(&mut open);
    drop(open);
    assert_eq!(edge.process.expect_exit(SOON), 0);
    edge.get("/x").expect_status(200);
    edge.wait_for_metric("http_requests_in_flight", &[], 0.0);
    drop(second);
}

#[test]
fn a_successor_that_fails_leaves_the_old_edge_serving_and_says_why() {
    let (app, tunnels) = (Backend::start(), Backend::answering(Reply::tunnel("websocket")));
    let mut edge = edge_with_tunnels(&app, &tunnels, "");
    let mut open = tunnel(&edge);
    let good = fs::read_to_string(edge.file()).unwrap();
    let load = Load::on(edge.address(), "/x").connections(2).per_second(200).start();
    for (broken, why) in [
        (good.replace("upstream = ", "upstraem = "), "did you mean `upstream`"),
        (
            good.replace("access_log.output = 'stdout'", "")
                .replace("output = \"stdout\"", "output = \"/nowhere/x\""),
            "access log",
        ),
    ] {
        fs::write(edge.file(), &broken).unwrap();
        let (code, said) = upgrade(&edge);
        assert_eq!((code, said.contains(why)), (1, true), "{why}: {said}");
        ping(&mut open);
    }
    fs::write(edge.file(), &good).unwrap();
    load.wait_for(50);
    load.stop().assert_all_ok();
    assert!(edge.process.is_running());
    assert!(edge.process.text(Stream::Stderr).contains("this edge serves on"));
}

// key: proxy.toml server.handover_period
#[test]
fn an_edge_that_was_replaced_stays_no_longer_than_it_may() {
    let (app, tunnels) = (Backend::start(), Backend::answering(Reply::tunnel("websocket")));
    let mut edge = edge_with_tunnels(&app, &tunnels, "server.handover_period = '1s'");
    let mut open = tunnel(&edge);
    let successor = successor(&edge);
    assert_eq!(edge.process.expect_exit(SOON), 0);
    assert_eq!(open.read_until_close(SOON), Some(Vec::new()), "the tunnel ended with it");
    assert!(edge.process.text(Stream::Stderr).contains("cutting requests off"));
    drop(successor);
}

#[test]
fn an_edge_that_cirque_up_watches_over_is_not_replaced() {
    let site = Cluster::builder().nodes(1).seed(1).start();
    let admin = site.admin().to_string();
    let mut process = Process::cirque("upgrade", &["proxy", "upgrade", "--admin", &admin]);
    assert_eq!(process.expect_exit(SOON), 1);
    assert!(process.text(Stream::Stderr).contains("`cirque up` watches over this edge"));
    site.client().get("/api/v1/posts").expect_status(200);
}

#[test]
fn a_signal_upgrades_too() {
    let app = Backend::start();
    let mut edge = Edge::before(&[&app]);
    edge.process.signal(Signal::USR2);
    assert_eq!(edge.process.expect_exit(SOON), 0);
    edge.get("/x").expect_status(200);
    let line = edge.process.wait_for_line("successor is ready", SOON);
    let line: Value = serde_json::from_str(&line).unwrap();
    drop(Successor::of(&line));
}

// key: proxy.toml server.drain_delay
#[test]
fn a_stop_goes_on_accepting_while_it_says_that_it_stops() {
    let app = Backend::start();
    let mut edge = Edge::builder().backend(&app).toml("server.drain_delay = '3s'").start();
    edge.process.terminate();
    let ask = || Client::to(edge.admin()).get("/readyz").status;
    eventually("it says that it stops", SOON, ask, |status| *status == 503);
    edge.get("/x").expect_status(200);
    let began = Instant::now();
    // A second signal is in a hurry.
    edge.process.terminate();
    assert_eq!(edge.process.expect_exit(SOON), 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(TcpStream::connect(edge.address()).is_err());
}
