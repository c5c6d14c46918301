//! Answers are compressed for those who accept it, and for nobody else; what must stay as it is does.

use std::io::Read as _;
use std::time::Duration;

use cirque_tests::client::Response;
use cirque_tests::{Backend, Connection, Edge, Reply, Request};

use crate::witness::nothing_in_flight;

const ON: &str = "defaults.route.compress = { encodings = ['zstd', 'br', 'gzip'], min_size = '100' }";

fn page() -> Vec<u8> {
    "<p>The same words again and again.</p>\n".repeat(500).into_bytes()
}

fn html(body: Vec<u8>) -> Reply {
    Reply::ok(body).header("Content-Type", "text/html; charset=utf-8")
}

fn decoded(answer: &Response) -> Vec<u8> {
    let (body, mut out) = (&answer.body[..], Vec::new());
    let read = match answer.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut out),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut out),
        Some("zstd") => {
            zstd::stream::read::Decoder::new(body).and_then(|mut coder| coder.read_to_end(&mut out))
        }
        _ => return answer.body.clone(),
    };
    read.unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    out
}

fn ask(edge: &Edge, path: &str, accepts: &str) -> Response {
    edge.send(&Request::get(path).header("Accept-Encoding", accepts))
}

// key: proxy.toml defaults.route.compress.encodings, routes[].compress.encodings
#[test]
fn each_client_gets_the_coding_that_it_likes_best() {
    for place in ["defaults", "routes"] {
        let backend = Backend::start();
        backend.answer_on("/page", html(page()).header("ETag", "\"v1\""));
        backend.answer_on("/chunked", html(page()).chunked());
        backend.answer_on("/closed", html(page()).until_close());
        let edge = Edge::builder().backend(&backend).without_probe();
        let edge = match place {
            "defaults" => edge.toml(ON).start(),
            _ => {
                let keys = ON.strip_prefix("defaults.route.").expect("it begins so");
                edge.toml(&format!("routes = [{{ name = 'all', paths = ['/*'], upstream = 'app', {keys} }}]"))
                    .start()
            }
        };
        for (accepts, coding) in [
            ("gzip, br, zstd", Some("zstd")),
            ("gzip, br", Some("br")),
            ("gzip", Some("gzip")),
            ("br;q=0.1, gzip;q=0.9", Some("gzip")),
            ("gzip;q=0", None),
            ("", None),
        ] {
            for path in ["/page", "/chunked", "/closed"] {
                let answer = ask(&edge, path, accepts);
                answer.expect_status(200);
                assert_eq!(answer.header("content-encoding"), coding, "{path} {accepts}");
                assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{path} {accepts}");
                assert_eq!(decoded(&answer), page(), "{path} {accepts}");
                assert!(coding.is_none() || answer.body.len() < page().len() / 10, "{path} {accepts}");
            }
            let etag = if coding.is_some() { "W/\"v1\"" } else { "\"v1\"" };
            assert_eq!(ask(&edge, "/page", accepts).header("etag"), Some(etag));
        }
        nothing_in_flight(&edge);
    }
}

// key: proxy.toml defaults.route.compress.types, defaults.route.compress.min_size, routes[].compress.types
// key: proxy.toml routes[].compress.min_size
#[test]
fn only_listed_types_from_the_least_size_on_are_compressed() {
    let backend = Backend::start();
    backend.answer_on("/json", Reply::ok(page()).header("Content-Type", "application/json"));
    backend.answer_on("/html", html(page()));
    backend.answer_on("/small", html(b"x".repeat(99)));
    for keys in [
        "defaults.route.compress = { encodings = ['gzip'], types = ['text/*'], min_size = '100' }",
        "routes = [{ name = 'all', paths = ['/*'], upstream = 'app',
           compress = { encodings = ['gzip'], types = ['text/*'], min_size = '100' } }]",
    ] {
        let edge = Edge::builder().backend(&backend).toml(keys).start();
        for (path, coding) in [("/html", Some("gzip")), ("/json", None), ("/small", None)] {
            let answer = ask(&edge, path, "gzip");
            assert_eq!(
                (answer.header("content-encoding"), answer.header("vary").is_some()),
                (coding, coding.is_some())
            );
        }
    }
}

#[test]
fn what_must_stay_as_it_is_does() {
    let backend = Backend::start();
    let fixed = [
        ("/encoded", html(page()).header("Content-Encoding", "br")),
        ("/untouchable", html(page()).header("Cache-Control", "no-transform")),
        ("/digested", html(page()).header("Content-Digest", "sha-256=:x:")),
    ];
    for (path, reply) in &fixed {
        backend.answer_on(path, reply.clone());
    }
    let part = page()[..500].to_vec();
    let range = format!("bytes 0-499/{}", page().len());
    let raw = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: {range}\r\nContent-Length: 500\r\n\r\n"
    );
    backend.answer_on("/part", Reply::raw([raw.into_bytes(), part.clone()].concat()));
    backend.answer_on("/unchanged", Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n"));
    let edge = Edge::builder().backend(&backend).without_probe().toml(ON).start();
    for (path, _) in &fixed {
        let answer = ask(&edge, path, "gzip");
        assert_eq!(answer.expect_status(200).body, page(), "{path}");
    }
    let answer = ask(&edge, "/part", "gzip");
    assert_eq!((answer.expect_status(206).header("content-encoding"), &answer.body), (None, &part));
    let answer = ask(&edge, "/unchanged", "gzip");
    assert_eq!(answer.expect_status(304).header("etag"), Some("\"v1\""));
}

#[test]
fn a_head_says_what_a_get_would() {
    let backend = Backend::start();
    let length = page().len();
    backend.script(move |request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n");
        if request.method == "HEAD" { Reply::raw(head) } else { html(page()) }
    });
    let edge = Edge::builder().backend(&backend).without_probe().toml(ON).start();
    let head = edge.send(&Request::new("HEAD", "/page").header("Accept-Encoding", "gzip"));
    head.expect_status(200);
    for (name, expected) in
        [("content-encoding", Some("gzip")), ("vary", Some("Accept-Encoding")), ("content-length", None)]
    {
        assert_eq!(head.header(name), expected, "{head:?}");
    }
}

/// The content of the whole chunks in these bytes.
fn content(wire: &[u8]) -> Vec<u8> {
    let (mut rest, mut content) = (wire, Vec::new());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let size = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
        let size = usize::from_str_radix(&size, 16).unwrap_or(0);
        let Some(data) = rest.get(end + 1..end + 1 + size) else { break };
        content.extend_from_slice(data);
        rest = rest.get(end + size + 3..).unwrap_or_default();
    }
    content
}

#[test]
fn an_event_reaches_the_client_before_the_next_one_is_sent() {
    let backend = Backend::start();
    let events = "data: one\n\n".to_owned() + &"data: two\n\n".repeat(3);
    let reply = Reply::ok(events).header("Content-Type", "text/event-stream").chunked();
    backend.answer_on("/events", reply.stall_after(11));
    let edge = Edge::builder().backend(&backend).without_probe().toml(ON).start();
    for accepts in ["gzip", "br", "zstd"] {
        let mut connection = Connection::open(edge.address());
        connection.set_timeout(Duration::from_secs(10));
        connection.write(Request::get("/events").header("Accept-Encoding", accepts).to_bytes()).unwrap();
        let head = connection.read_head().unwrap().expect("an answer begins");
        assert_eq!(head.header("content-encoding"), Some(accepts));
        let (mut wire, mut out) = (Vec::new(), Vec::new());
        while out.is_empty() {
            wire.extend(connection.read_some(4096).expect("the event comes while the stream is open"));
            // The stream has no end yet: what can be read of it is.
            let body = content(&wire);
            let _ = match accepts {
                "gzip" => flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut out),
                "br" => brotli::Decompressor::new(&body[..], 4096).read_to_end(&mut out),
                _ => zstd::stream::read::Decoder::new(&body[..]).unwrap().read_to_end(&mut out),
            };
        }
        assert_eq!(String::from_utf8_lossy(&out), "data: one\n\n", "{accepts}");
    }
}

#[test]
fn twenty_megabytes_pass_through_a_slow_reader_in_bounded_memory() {
    let backend = Backend::start();
    let noise: Vec<u8> = (0_u32..5 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    backend.answer_on("/large", html(noise.clone()));
    let edge = Edge::builder().backend(&backend).without_probe().toml(ON).start();
    edge.get("/small").expect_status(200);
    let before = edge.process.resident_bytes();
    let mut connection = Connection::open(edge.address());
    connection.write(Request::get("/large").header("Accept-Encoding", "gzip").to_bytes()).unwrap();
    let head = connection.read_head().unwrap().expect("an answer begins");
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    edge.wait_for_metric("http_requests_in_flight", &[], 1.0);
    let grown = edge.process.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{} KiB", grown / 1024);
    let answer = edge.send(&Request::get("/large").header("Accept-Encoding", "gzip"));
    assert_eq!(decoded(&answer), noise);
    drop(connection);
    nothing_in_flight(&edge);
}
