//! Replays the stored inputs of the fuzz targets against a real edge, and copies of them with bytes changed by seed.
//!
//! Whatever comes, from a client or from a backend: the edge answers or closes in time, goes on, and leaks nothing.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cirque_tests::process::Stream;
use cirque_tests::{Backend, Connection, Edge, Reply, Request};

use crate::differential::generate::Dice;
use crate::witness::nothing_in_flight;

const SEED: u64 = 9112;
/// How many changed copies of each input are sent.
const COPIES: usize = 20;
const AT_ONCE: usize = 8;
/// Longer than every deadline that the edge below has.
const IN_TIME: Duration = Duration::from_secs(8);
/// A wait of the client's counts for half a second here, so that half-finished inputs end soon.
const TIMEOUTS: &str =
    "client = { client_header_timeout = '1s', client_body_timeout = '1s', keepalive_timeout = '1s' }
    upstreams.app.read_timeout = '1s'";

/// Every stored input of a target, and its changed copies, the same ones each time.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut dice = Dice::new(SEED);
    let mut inputs = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stored = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for n in 1..=COPIES {
            let mut copy = stored.clone();
            (0..n).for_each(|_| dice.mutate(&mut copy));
            inputs.push((format!("{name}, copy {n}"), copy));
        }
        inputs.push((name, stored));
    }
    assert!(inputs.len() > 50, "{} inputs for {target}", inputs.len());
    inputs
}

/// Calls `send` with every input, several at once.
fn with_each(inputs: &[(String, Vec<u8>)], send: impl Fn(&str, &[u8]) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, bytes)) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    send(name, bytes);
                }
            });
        }
    });
}

/// Sends bytes as a whole client does who then says nothing more; the edge must end the connection.
fn expect_an_end(edge: &Edge, name: &str, bytes: &[u8]) {
    let mut connection = Connection::open(edge.address());
    // The edge may have refused what it saw and closed.
    let _ = connection.write(bytes);
    connection.finish_writing();
    assert!(connection.read_until_close(IN_TIME).is_some(), "{name}: still open: {bytes:?}");
}

#[track_caller]
fn expect_to_go_on(edge: &mut Edge) {
    edge.get("/after").expect_status(200);
    assert!(edge.process.is_running());
    let said = edge.process.text(Stream::Stderr);
    assert!(!said.contains("panicked"), "{said}");
    nothing_in_flight(edge);
}

#[test]
fn no_stored_head_of_a_request_keeps_the_edge_from_going_on() {
    let backend = Backend::start();
    let mut edge =
        Edge::builder().backend_with(&backend, "max_fails = 0").without_probe().toml(TIMEOUTS).start();
    with_each(&inputs("request_head"), |name, bytes| expect_an_end(&edge, name, bytes));
    expect_to_go_on(&mut edge);
}

#[test]
fn no_stored_chunked_body_keeps_the_edge_from_going_on() {
    let backend = Backend::start();
    let mut edge =
        Edge::builder().backend_with(&backend, "max_fails = 0").without_probe().toml(TIMEOUTS).start();
    let head = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    with_each(&inputs("chunked"), |name, bytes| {
        expect_an_end(&edge, name, &[&head[..], bytes].concat());
    });
    expect_to_go_on(&mut edge);
}

#[test]
fn no_stored_answer_keeps_the_edge_from_going_on() {
    let backend = Backend::start();
    let mut edge =
        Edge::builder().backend_with(&backend, "max_fails = 0").without_probe().toml(TIMEOUTS).start();
    let inputs = inputs("response_head");
    let answers: Vec<Vec<u8>> = inputs.iter().map(|(_, bytes)| bytes.clone()).collect();
    backend.script(move |request| {
        let place = request.path().strip_prefix("/answer/").and_then(|place| place.parse::<usize>().ok());
        place
            .and_then(|place| answers.get(place))
            .map_or_else(|| Reply::ok("fine"), |bytes| Reply::garbage(bytes.clone()))
    });
    let numbered: Vec<(String, Vec<u8>)> = (0..inputs.len())
        .map(|place| (inputs[place].0.clone(), Request::get(&format!("/answer/{place}")).to_bytes()))
        .collect();
    with_each(&numbered, |name, bytes| {
        let mut connection = Connection::open(edge.address());
        connection.set_timeout(IN_TIME);
        connection.write(bytes).expect("a new connection takes a request");
        // Answered, refused or cut; never silence, and never another request's answer.
        let answer = connection.read_response("GET");
        let is_silent = answer.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_silent, "{name}: no answer and no end");
        assert!(
            !answer.is_ok_and(|answer| answer.text().contains("fine")),
            "{name}: another request's answer"
        );
    });
    expect_to_go_on(&mut edge);
}
