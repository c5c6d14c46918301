//! How backends are reached: over TLS with their certificate checked, over unix sockets, in HTTP/2; on either path.

use std::time::Duration;

use cirque_tests::edge::Path;
use cirque_tests::{Authority, Backend, Client, Edge, Reference, Reply, Request, curl, eventually};

use crate::witness::{logged_attempts, nothing_in_flight};

/// nginx under TLS with a certificate for these names, before a scripted backend.
fn secured(authority: &Authority, names: &[&str], more: &str, backend: &Backend) -> Reference {
    let files = authority.issue("backend", names);
    let keys =
        format!("ssl_certificate {}; ssl_certificate_key {};", files.cert.display(), files.key.display());
    Reference::serving(&format!("listen {{}} ssl {more};"), &keys, backend.address())
}

#[track_caller]
fn edge_before(server: &Reference, keys: &str) -> Edge {
    Edge::builder().backend_at("nginx", server.address(), "").toml(keys).start()
}

/// Asks over HTTP/1.1 and over HTTP/2: the two paths. What nginx said of the connection, per path.
#[track_caller]
fn said(edge: &Edge, path: &str, header: &str) -> Vec<(u16, String)> {
    let ask = |version: &str| {
        let got = curl(edge.address(), &format!("http://site.test{path}"), &[version]);
        (got.status, got.header(header).unwrap_or_default().to_owned())
    };
    vec![ask("--http1.1"), ask("--http2-prior-knowledge")]
}

fn twice(status: u16, value: &str) -> Vec<(u16, String)> {
    vec![(status, value.to_owned()); 2]
}

fn is_up(edge: &Edge, value: f64) {
    edge.wait_for_metric("proxy_backend_up", &[("upstream", "app"), ("backend", "nginx")], value);
}

// key: proxy.toml upstreams.*.tls.on, defaults.upstream.tls.on, upstreams.*.tls.ca, defaults.upstream.tls.ca
#[test]
fn a_backends_certificate_is_checked_against_the_authority_that_is_named() {
    let authority = Authority::new();
    let backend = Backend::start();
    let server = secured(&authority, &["127.0.0.1"], "", &backend);
    let ca = authority.file();
    let edge = edge_before(&server, &format!("upstreams.app.tls = {{ on = true, ca = '{}' }}", ca.display()));
    assert_eq!(said(&edge, "/", "x-protocol"), twice(200, "HTTP/1.1"));
    is_up(&edge, 1.0);
    // Connections are kept, and no session ticket is taken for an answer.
    let mut client = edge.client();
    for _ in 0..10 {
        client.get("/to/kept").expect_status(200);
    }
    nothing_in_flight(&edge);
    // The machine's authorities have not signed it.
    let strict = edge_before(
        &server,
        "upstreams.app = { tls = { on = true }, probe = { interval = '200ms', fall = 1 } }",
    );
    assert_eq!(said(&strict, "/", "x-protocol"), twice(502, ""));
    assert_eq!(logged_attempts(&strict, "/")[0].1, "connect");
    is_up(&strict, 0.0);
}

// key: proxy.toml upstreams.*.tls.server_name, defaults.upstream.tls.server_name
#[test]
fn a_backend_is_asked_for_by_a_name_and_must_have_it() {
    let authority = Authority::new();
    let backend = Backend::start();
    let server = secured(&authority, &["inner.test"], "", &backend);
    let tls = |more: &str| {
        format!("upstreams.app.tls = {{ on = true, ca = '{}' {more} }}", authority.file().display())
    };
    let named = edge_before(&server, &tls(", server_name = 'inner.test'"));
    assert_eq!(said(&named, "/", "x-sni"), twice(200, "inner.test"));
    let unnamed = edge_before(&server, &tls(""));
    assert_eq!(said(&unnamed, "/", "x-sni"), twice(502, ""), "its address is not in the certificate");
}

// key: proxy.toml upstreams.*.tls.insecure_skip_verify, defaults.upstream.tls.insecure_skip_verify
#[test]
fn only_the_explicit_key_believes_anyone_and_it_is_warned_of() {
    let authority = Authority::new();
    let backend = Backend::start();
    let server = secured(&authority, &["other.test"], "", &backend);
    let edge = edge_before(&server, "upstreams.app.tls = { on = true, insecure_skip_verify = true }");
    assert_eq!(said(&edge, "/", "x-protocol"), twice(200, "HTTP/1.1"));
    edge.process.wait_for_line("insecure_skip_verify", Duration::from_secs(5));
}

#[test]
fn a_backend_behind_a_unix_socket_is_reached_and_probed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let backend = Backend::answering(Reply::echo());
    let listen = format!("listen {{}}; listen unix:{};", socket.display());
    let server = Reference::serving(&listen, "", backend.address());
    let edge = Edge::builder()
        .toml(&format!(
            "upstreams.app.backends = [{{ id = 'nginx', address = 'unix:{}' }}]",
            socket.display()
        ))
        .start();
    assert_eq!(said(&edge, "/", "x-protocol"), twice(200, "HTTP/1.1"));
    is_up(&edge, 1.0);
    let large = vec![b'x'; 900_000];
    assert_eq!(edge.send(&Request::post("/to/echo", large.clone())).expect_status(200).body, large);
    drop(server);
    let gone = |edge: &Edge| edge.get("/").status;
    eventually("it is gone", Duration::from_secs(5), || gone(&edge), |status| *status == 502);
    let edge = Edge::builder().toml("upstreams.app.backends = [{ id = 'a', address = 'unix:relative' }]");
    let mut edge = edge.launch();
    assert_eq!(edge.process.expect_exit(Duration::from_secs(10)), 3);
}

// key: proxy.toml upstreams.*.protocol, defaults.upstream.protocol
#[test]
fn http2_is_spoken_to_backends_with_and_without_tls() {
    let authority = Authority::new();
    let backend = Backend::start();
    let plain = Reference::serving("listen {} http2;", "", backend.address());
    let edge = edge_before(&plain, "upstreams.app = { protocol = 'h2', probe = { interval = '1h' } }");
    assert_eq!(said(&edge, "/", "x-protocol"), twice(200, "HTTP/2.0"));
    let server = secured(&authority, &["127.0.0.1"], "http2", &backend);
    let tls = format!("tls = {{ on = true, ca = '{}' }}", authority.file().display());
    let edge = edge_before(&server, &format!("upstreams.app = {{ protocol = 'h2', {tls} }}"));
    assert_eq!(said(&edge, "/", "x-protocol"), twice(200, "HTTP/2.0"));
    is_up(&edge, 1.0);
    nothing_in_flight(&edge);
    // One that does not speak it is not spoken to in something else.
    let old = secured(&authority, &["127.0.0.1"], "", &backend);
    let edge = edge_before(
        &old,
        &format!("upstreams.app = {{ protocol = 'h2', {tls}, probe = {{ interval = '1h' }} }}"),
    );
    assert_eq!(edge.get("/").status, 502);
}

#[test]
fn bodies_of_any_kind_pass_through_http2() {
    let backend = Backend::answering(Reply::echo());
    let server = Reference::serving("listen {} http2;", "", backend.address());
    let edge = edge_before(
        &server,
        "upstreams.app = { protocol = 'h2', probe = { interval = '1h' } }\ndefaults.route.client_max_body_size = '16MiB'",
    );
    let large: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = edge.client();
    assert_eq!(client.send(&Request::post("/to/large", large.clone())).expect_status(200).body, large);
    let chunked =
        Request::post("/to/chunked", "5\r\nhello\r\n0\r\n\r\n").header("Transfer-Encoding", "chunked");
    assert_eq!(client.send(&chunked).expect_status(200).text(), "hello");
    let expecting = Request::post("/to/expect", "hello").header("Expect", "100-continue");
    assert_eq!(client.send(&expecting).expect_status(200).text(), "hello");
    let head = client.send(&Request::new("HEAD", "/"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    backend.answer(Reply::status(204));
    assert_eq!(client.get("/to/none").status, 204);
    backend.answer(Reply::status(304));
    assert_eq!(client.get("/to/unchanged").status, 304);
    backend.answer(Reply::ok("x".repeat(100_000)).cut_after(50_000));
    let mut cut = cirque_tests::Connection::open(edge.address());
    cut.write(Request::get("/to/cut").to_bytes()).unwrap();
    assert!(cut.read_response("GET").is_err(), "an answer that broke off must not look whole");
    nothing_in_flight(&edge);
}

// key: proxy.toml upstreams.*.http2_max_concurrent_streams, defaults.upstream.http2_max_concurrent_streams
#[test]
fn requests_share_a_connection_up_to_the_limit() {
    let backend = Backend::answering(Reply::ok("x").delay(Duration::from_secs(1)));
    let server = Reference::serving("listen {} http2;", "", backend.address());
    let links = cirque_tests::chaos::Link::to(server.address());
    let edge = Edge::builder()
        .backend_at("nginx", links.address(), "")
        .toml("upstreams.app = { protocol = 'h2', http2_max_concurrent_streams = 2, probe = { interval = '1h' } }")
        .start();
    edge.get("/").expect_status(200);
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let address = edge.address();
            std::thread::spawn(move || Client::to(address).get("/to/slow").status)
        })
        .collect();
    backend.wait_for_requests("/to/slow", 6);
    // pingora opens further ones while it hands out a stream; it keeps the limit of each.
    let most = if Path::under_test() == Path::Pingora { 6 } else { 3 };
    let open = links.open_connections();
    assert!((3..=most).contains(&open), "{open}");
    for client in clients {
        assert_eq!(client.join().expect("it does not panic"), 200);
    }
    nothing_in_flight(&edge);
}

#[test]
fn a_backend_that_says_goaway_loses_no_request() {
    let backend = Backend::start();
    let server = Reference::serving("listen {} http2;", "keepalive_requests 40;", backend.address());
    let edge = edge_before(&server, "upstreams.app = { protocol = 'h2', probe = { interval = '1h' } }");
    let mut client = edge.client();
    for _ in 0..60 {
        client.get("/").expect_status(200);
    }
    let report = cirque_tests::Load::on(edge.address(), "/").connections(8).requests(400).run();
    report.assert_all_ok();
    nothing_in_flight(&edge);
}

#[test]
fn a_plain_python_server_serves_behind_the_edge() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.txt"), "from python").unwrap();
    let address = cirque_tests::ports::address();
    let mut command = std::process::Command::new("python3");
    command.args(["-m", "http.server", &address.port().to_string(), "--bind", "127.0.0.1", "--directory"]);
    command.arg(folder.path());
    let _python = cirque_tests::Process::spawn("python", &mut command);
    let connect = || std::net::TcpStream::connect(address).map(drop);
    eventually("python listens", Duration::from_secs(20), connect, Result::is_ok).unwrap();
    // HTTP/1.0, one request per connection.
    let edge = Edge::builder().backend_at("python", address, "").start();
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let got = curl(edge.address(), "http://site.test/page.txt", &[version]);
        assert_eq!((got.status, got.body.as_str()), (200, "from python"), "{got:?}");
    }
    nothing_in_flight(&edge);
}
