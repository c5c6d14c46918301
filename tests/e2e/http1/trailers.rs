//! Fields after a chunked body pass only where the route lists them, in both directions.

use cirque_tests::{Backend, Connection, Edge, Reply, curl};

/// Everything that the client gets of this answer, to its last byte.
fn answered(edge: &Edge) -> String {
    let mut connection = Connection::open(edge.address());
    connection
        .write("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("it takes a few bytes");
    let mut bytes = Vec::new();
    loop {
        match connection.read_some(64 * 1024) {
            Ok(piece) if !piece.is_empty() => bytes.extend_from_slice(&piece),
            _ => return String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

// key: proxy.toml routes[].trailers, defaults.route.trailers
#[test]
fn only_listed_trailers_of_an_answer_reach_the_client() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nServer-Timing: db\r\nX-Secret: 1\r\n\r\n";
    let backend = Backend::answering(Reply::raw(answer));
    let listing =
        Edge::builder().backend(&backend).toml("defaults.route.trailers = ['server-timing']").start();
    assert!(
        answered(&listing).ends_with("5\r\nhello\r\n0\r\nServer-Timing: db\r\n\r\n"),
        "{}",
        answered(&listing)
    );
    let silent = Edge::before(&[&backend]);
    assert!(answered(&silent).ends_with("5\r\nhello\r\n0\r\n\r\n"), "{}", answered(&silent));
}

#[test]
fn an_answer_that_is_compressed_keeps_its_trailers() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = format!("{head}5\r\nhello\r\n0\r\nServer-Timing: db\r\n\r\n");
    let backend = Backend::answering(Reply::raw(answer));
    let keys = "defaults.route = { trailers = ['server-timing'], compress = { encodings = ['gzip'] } }";
    let edge = Edge::builder().backend(&backend).toml(keys).start();
    let got = curl(edge.address(), "http://site.test/x", &["--compressed", "--raw"]);
    assert_eq!(got.header("content-encoding"), Some("gzip"), "{got:?}");
    assert!(got.body.ends_with("0\r\nServer-Timing: db\r\n\r\n"), "{got:?}");
    let got = curl(edge.address(), "http://site.test/x", &["--compressed"]);
    // curl writes trailers where it writes heads.
    assert!(got.body.starts_with("hello") && got.body.contains("Server-Timing: db"), "{got:?}");
}

#[test]
fn only_listed_trailers_of_a_request_reach_the_backend() {
    let recorder = cirque_tests::Recorder::start();
    let asked = |keys: &str| {
        let edge =
            Edge::builder().backend_at("recorder", recorder.address(), "").without_probe().toml(keys).start();
        let mut connection = Connection::open(edge.address());
        let before = recorder.messages().len();
        let body = "5\r\nhello\r\n0\r\nDigest: x\r\nX-Secret: 1\r\n\r\n";
        connection
            .write(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
            .unwrap();
        connection.read_response("POST").unwrap().expect_status(200);
        let message = recorder.messages().swap_remove(before);
        (message.fault, message.has_trailers, String::from_utf8_lossy(&message.body).into_owned())
    };
    assert_eq!(asked("defaults.route.trailers = ['digest']"), (None, true, "hello".to_owned()));
    assert_eq!(asked(""), (None, false, "hello".to_owned()));
}
