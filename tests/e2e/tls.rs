//! TLS from clients: which certificate is shown, how it changes under way, and what a handshake can fail of.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use cirque_tests::{Authority, Backend, Client, Connection, Edge, Reply, curl, eventually};

use crate::witness::nothing_in_flight;

/// A listener with these certificates and further keys, beside none without.
fn listener(edge: &cirque_tests::edge::Builder, rows: &[String], tls: &str, keys: &str) -> String {
    let (address, rows) = (edge.address(), rows.join(", "));
    format!(
        "listeners = [{{ name = 'https', address = '{address}', {keys} tls = {{ certificates = [{rows}] {tls} }} }}]"
    )
}

/// An edge with one certificate for `site.test`.
#[track_caller]
fn edge_with(authority: &Authority, backend: &Backend, tls: &str, keys: &str) -> Edge {
    let files = authority.issue("site", &["site.test"]);
    let builder = Edge::builder().backend(backend);
    let listener = listener(&builder, &[files.row()], tls, keys);
    builder.toml(&listener).start()
}

/// The common parts of asking `url` of this edge, trusting the authority.
fn ask(edge: &Edge, authority: &Authority, url: &str, more: &[&str]) -> cirque_tests::curl::Got {
    let file = authority.file().display().to_string();
    let arguments = [&["--cacert", file.as_str()], more].concat();
    curl(edge.address(), url, &arguments)
}

/// How many handshakes ended so.
fn handshakes(edge: &Edge, version: &str, result: &str) -> f64 {
    let labels = [("listener", "https"), ("version", version), ("result", result)];
    edge.metrics().value("proxy_tls_handshakes_total", &labels)
}

#[track_caller]
fn wait_for_handshake(edge: &Edge, version: &str, result: &str, count: f64) {
    let labels = [("listener", "https"), ("version", version), ("result", result)];
    edge.wait_for_metric("proxy_tls_handshakes_total", &labels, count);
}

/// What `openssl s_client` says of a connection with these arguments; it may end in an error.
fn s_client(edge: &Edge, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &edge.address().to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The certificate in what `s_client` said; empty when there is none.
fn certificate(said: &str) -> String {
    let pem = said.split("-----BEGIN").nth(1).unwrap_or_default();
    pem.split("-----END").next().unwrap_or_default().to_owned()
}

// key: proxy.toml listeners[].tls.certificates[].cert, listeners[].tls.certificates[].key
#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked() {
    let authority = Authority::new();
    let backend = Backend::start();
    let rows = [
        authority.issue("default", &["default.test"]).row(),
        authority.issue("wild", &["*.shop.test"]).row(),
        authority.issue("exact", &["api.shop.test", "shop.test"]).row(),
    ];
    let builder = Edge::builder().backend(&backend);
    let listener = listener(&builder, &rows, "", "");
    let edge = builder.toml(&listener).start();
    // The name is checked by the client: an answer means that the right certificate was shown.
    for host in ["default.test", "www.shop.test", "api.shop.test", "shop.test"] {
        ask(&edge, &authority, &format!("https://{host}/{host}"), &[]).expect_status(200);
    }
    let shown = |arguments: &[&str]| {
        let said = s_client(&edge, arguments);
        assert!(said.contains("-----BEGIN"), "{said}");
        certificate(&said)
    };
    let default = shown(&["-noservername"]);
    assert_eq!(shown(&["-servername", "else.test"]), default, "no certificate names it");
    assert_eq!(shown(&["-servername", "a.b.shop.test"]), default, "a wildcard is one label");
    assert_ne!(shown(&["-servername", "shop.test"]), default);
    // The backend and the log hear of https.
    let received = &backend.requests_to("/shop.test")[0];
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
    assert_eq!(edge.logged("/shop.test")["listener"], "https");
    nothing_in_flight(&edge);
}

#[test]
fn a_request_for_another_certificates_host_is_sent_back_to_connect_anew() {
    let authority = Authority::new();
    let backend = Backend::start();
    let rows = [authority.issue("a", &["a.test", "b.test"]).row(), authority.issue("c", &["c.test"]).row()];
    let builder = Edge::builder().backend(&backend);
    let listener = listener(&builder, &rows, "", "");
    let edge = builder.toml(&listener).start();
    for version in ["--http1.1", "--http2"] {
        let host = |host: &str| {
            let header = format!("Host: {host}");
            ask(&edge, &authority, "https://a.test/m", &[version, "--header", &header]).status
        };
        assert_eq!(
            [host("a.test"), host("b.test"), host("unknown.test"), host("C.test:443")],
            [200, 200, 200, 421]
        );
    }
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "misdirected")], 2.0);
    assert_eq!(backend.requests_to("/m").len(), 6);
}

#[test]
fn a_changed_certificate_is_served_without_cutting_a_connection() {
    let authority = Authority::new();
    let backend = Backend::start();
    let edge = edge_with(&authority, &backend, "", "");
    let shown = || certificate(&s_client(&edge, &[]));
    let before = shown();
    let expiry = |edge: &Edge| edge.metrics().lines("proxy_tls_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry(&edge).len(), 1);
    // An open connection, half way through a request.
    let mut open = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &edge.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let mut input = open.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut input, b"GET /open HTTP/1.1\r\nHost: site.test\r\n").unwrap();

    authority.issue("site", &["site.test"]);
    eventually("the new certificate is shown", Duration::from_secs(15), shown, |now| {
        *now != before && !now.is_empty()
    });
    let labels = |result| [("listener", "https"), ("result", result)];
    edge.wait_for_metric("proxy_tls_certificate_reloads_total", &labels("success"), 1.0);
    std::io::Write::write_all(&mut input, b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    open.stdout.take().expect("it is piped").read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(input);
    let _ = open.wait();

    // A broken one changes nothing, and says so once.
    let renewed = shown();
    fs::write(authority.files("site").cert, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    edge.wait_for_metric("proxy_tls_certificate_reloads_total", &labels("failure"), 1.0);
    edge.process.wait_for_line("the one before is served on", Duration::from_secs(5));
    assert_eq!(shown(), renewed);
    // A key that belongs to another certificate neither.
    let other = authority.issue("other", &["site.test"]);
    fs::copy(other.cert, authority.files("site").cert).unwrap();
    edge.wait_for_metric("proxy_tls_certificate_reloads_total", &labels("failure"), 2.0);
    assert_eq!(shown(), renewed);
    // And a right one is taken again.
    authority.issue("site", &["site.test"]);
    edge.wait_for_metric("proxy_tls_certificate_reloads_total", &labels("success"), 2.0);
    assert_ne!(shown(), renewed);
    nothing_in_flight(&edge);
}

#[test]
fn a_session_is_resumed_in_both_versions() {
    let authority = Authority::new();
    let backend = Backend::start();
    let edge = edge_with(&authority, &backend, "", "");
    for (version, name) in [("-tls1_2", "1.2"), ("-tls1_3", "1.3")] {
        let file = authority.folder().join(name).display().to_string();
        // A 1.3 ticket comes after the handshake: an answer is waited for.
        let ask = |option: &str| {
            let mut client = Command::new("openssl")
                .args(["s_client", "-quiet", "-connect", &edge.address().to_string(), version, option, &file])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("openssl is installed");
            let mut input = client.stdin.take().expect("it is piped");
            let request = b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(&mut input, request).unwrap();
            let mut answer = String::new();
            client.stdout.take().expect("it is piped").read_to_string(&mut answer).unwrap();
            let _ = client.wait();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        };
        ask("-sess_out");
        ask("-sess_in");
        wait_for_handshake(&edge, name, "resumed", 1.0);
        assert!(handshakes(&edge, name, "full") >= 1.0);
    }
}

// key: proxy.toml listeners[].tls.min_version, defaults.listener.tls.min_version
#[test]
fn an_older_version_than_the_least_is_refused_and_counted() {
    let authority = Authority::new();
    let backend = Backend::start();
    let edge = edge_with(&authority, &backend, ", min_version = '1.3'", "");
    let got = ask(&edge, &authority, "https://site.test/", &["--tls-max", "1.2"]);
    assert_ne!(got.exit, 0, "{got:?}");
    wait_for_handshake(&edge, "none", "version", 1.0);
    ask(&edge, &authority, "https://site.test/", &[]).expect_status(200);
    let by_default = edge_with(&authority, &backend, "", "");
    ask(&by_default, &authority, "https://site.test/", &["--tls-max", "1.2"]).expect_status(200);
}

// key: proxy.toml listeners[].tls.handshake_timeout, defaults.listener.tls.handshake_timeout
#[test]
fn a_handshake_that_takes_too_long_is_cut_and_counted() {
    let authority = Authority::new();
    let backend = Backend::start();
    let edge = edge_with(&authority, &backend, ", handshake_timeout = '300ms'", "");
    let mut silent = TcpStream::connect(edge.address()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut byte = [0];
    assert_eq!(silent.read(&mut byte).unwrap_or(0), 0, "it is closed");
    wait_for_handshake(&edge, "none", "timeout", 1.0);
}

#[test]
fn what_is_not_tls_and_who_trusts_us_not_are_counted_by_reason() {
    let authority = Authority::new();
    let backend = Backend::start();
    let edge = edge_with(&authority, &backend, "", "");
    let mut plain = Connection::open(edge.address());
    plain.write("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
    assert!(!matches!(plain.read_head(), Ok(Some(_))));
    wait_for_handshake(&edge, "none", "not_tls", 1.0);
    // This client does not know the authority; it says so in the handshake.
    let got = curl(edge.address(), "https://site.test/", &["--tls-max", "1.2"]);
    assert_ne!(got.exit, 0);
    wait_for_handshake(&edge, "none", "refused", 1.0);
    let said = s_client(&edge, &["-alpn", "spdy/1"]);
    assert!(said.contains("no application protocol"), "{said}");
    wait_for_handshake(&edge, "none", "protocol", 1.0);
    drop(TcpStream::connect(edge.address()).unwrap());
    eventually(
        "a client that left is counted",
        Duration::from_secs(10),
        || handshakes(&edge, "none", "closed"),
        |count| *count >= 1.0,
    );
}

// key: proxy.toml listeners[].protocols, defaults.listener.protocols
#[test]
fn a_listener_speaks_the_protocols_that_it_is_told() {
    let authority = Authority::new();
    let backend = Backend::start();
    let version = |edge: &Edge, option: &str| ask(edge, &authority, "https://site.test/", &[option]).version;
    let both = edge_with(&authority, &backend, "", "");
    assert_eq!(
        ["--http2", "--http1.1", "--http1.0"].map(|option| version(&both, option)),
        ["2", "1.1", "1.1"]
    );
    let one = edge_with(&authority, &backend, "", "protocols = ['http/1.1'],");
    assert_eq!(version(&one, "--http2"), "1.1");
    let two = edge_with(&authority, &backend, "", "protocols = ['h2'],");
    assert_eq!(version(&two, "--http2"), "2");
    // Without TLS, what the client begins with decides.
    let plain = Edge::builder().backend(&backend).toml("defaults.listener.protocols = ['http/1.1']").start();
    let got = curl(plain.address(), "http://site.test/", &["--http2-prior-knowledge"]);
    assert_ne!(got.status, 200, "{got:?}");
    assert_eq!(curl(plain.address(), "http://site.test/", &[]).version, "1.1");
}

// key: proxy.toml listeners[].tls.hsts, defaults.listener.tls.hsts
#[test]
fn every_answer_over_tls_says_to_come_back_over_tls() {
    const VALUE: &str = "max-age=600; includeSubDomains";
    let authority = Authority::new();
    let backend = Backend::answering(Reply::ok("x").header("Strict-Transport-Security", "max-age=1"));
    let edge = edge_with(&authority, &backend, &format!(", hsts = '{VALUE}'"), "");
    for version in ["--http1.1", "--http2"] {
        let got = ask(&edge, &authority, "https://site.test/", &[version]);
        let values: Vec<&str> = got
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("strict-transport-security"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, [VALUE], "ours, and not the backend's: {got:?}");
    }
    backend.refuse();
    let refused = ask(&edge, &authority, "https://site.test/", &[]);
    assert_eq!((refused.status, refused.header("strict-transport-security")), (502, Some(VALUE)));
}

// key: proxy.toml listeners[].https_redirect, defaults.listener.https_redirect
#[test]
fn a_plain_listener_sends_clients_to_https() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("defaults.listener.https_redirect = 8443").start();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let got = curl(edge.address(), "http://site.test/a/b?c=d", &[version]);
        assert_eq!(
            (got.status, got.header("location")),
            (308, Some("https://site.test:8443/a/b?c=d")),
            "{got:?}"
        );
    }
    assert!(backend.requests_to("/a/b").is_empty());
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "https_only")], 2.0);
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_problem_of_the_configuration() {
    let authority = Authority::new();
    let backend = Backend::start();
    let (one, other) = (authority.issue("one", &["one.test"]), authority.issue("other", &["other.test"]));
    let mixed = format!("{{ cert = '{}', key = '{}' }}", one.cert.display(), other.key.display());
    let missing = "{ cert = '/nowhere/at/all.pem', key = '/nowhere/at/all.key' }".to_owned();
    let builder = Edge::builder().backend(&backend);
    let listener = listener(&builder, &[mixed, missing], "", "");
    let mut edge = builder.toml(&listener).launch();
    assert_eq!(edge.process.expect_exit(Duration::from_secs(10)), 3);
    edge.process.wait_for_line("give the two that belong together", Duration::from_secs(5));
    edge.process.wait_for_line("could not read /nowhere/at/all.pem", Duration::from_secs(5));
}

#[test]
fn the_admin_interface_stays_plain() {
    let authority = Authority::new();
    let backend = Backend::start();
    let edge = edge_with(&authority, &backend, "", "");
    Client::to(edge.admin()).get("/livez").expect_status(200);
}
