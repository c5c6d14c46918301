//! What a client of HTTP/2 may make us hold, and for how long: more than that ends its stream or its connection.

use std::time::Duration;

use cirque_tests::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING,
    REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, head,
};
use cirque_tests::{Backend, Edge, Reply, eventually};
use tokio::time::Instant;

use super::{closed, http2};
use crate::witness::nothing_in_flight;

// key: proxy.toml client.client_body_timeout
#[test]
fn a_body_that_pauses_too_long_resets_its_stream_and_no_other() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("client.client_body_timeout = '400ms'").start();
    let mut client = Frames::open(edge.address());
    client.send(HEADERS, END_HEADERS, 1, &head("POST", "/slow", &[])).unwrap();
    client.send(DATA, 0, 1, b"begin").unwrap();
    let reset = client.until("a reset", |frame| frame.kind == RST_STREAM);
    assert_eq!(reset.stream, 1);
    client.get(3, "/next").unwrap();
    client.answer(3);
    let line = edge.logged("/slow");
    assert_eq!(line["reason"], "body_too_slow", "{line}");
    nothing_in_flight(&edge);
}

// key: proxy.toml client.http2_max_concurrent_streams
#[test]
fn a_client_that_opens_more_streams_than_it_may_is_refused_the_rest() {
    let backend = Backend::answering(Reply::ok("").delay(Duration::from_secs(1)));
    let edge = Edge::builder().backend(&backend).toml("client.http2_max_concurrent_streams = 3").start();
    let mut client = Frames::open(edge.address());
    let settings = client.until("settings", |frame| frame.kind == SETTINGS && frame.flags == 0);
    let most =
        settings.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("a limit is announced");
    assert_eq!(most[2..], [0, 0, 0, 3]);
    for stream in [1, 3, 5, 7] {
        client.get(stream, "/x").unwrap();
    }
    let refused = client.until("a refusal", |frame| frame.kind == RST_STREAM);
    assert_eq!((refused.stream, refused.code()), (7, REFUSED_STREAM));
    // In whatever order.
    for _ in 0..3 {
        client.until("an answer", Frame::is_200);
    }
    assert_eq!(backend.requests_to("/x").len(), 3);
    nothing_in_flight(&edge);
}

/// CVE-2023-44487.
#[test]
fn a_flood_of_requests_taken_back_ends_the_connection_and_disturbs_nobody() {
    let backend = Backend::answering(Reply::ok("x"));
    let edge = Edge::before(&[&backend]);
    let mut attacker = Frames::open(edge.address());
    let burst: Vec<u8> = (0..2000)
        .flat_map(|n| {
            let stream = 2 * n + 1;
            let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", "/flood", &[]));
            bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
            bytes
        })
        .collect();
    // It may be cut while it still sends.
    let _ = attacker.write(&burst);
    let frames = attacker.rest();
    assert!(frames.iter().any(|frame| frame.kind == GOAWAY && frame.code() != 0), "{frames:?}");
    closed(&edge, "error", 1.0);
    http2(&edge, "/other", &[]).expect_status(200);
    assert!(backend.requests_to("/flood").len() < 500, "most never reached it");
    nothing_in_flight(&edge);
}

#[test]
fn a_head_without_end_is_cut_within_bounds() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut attacker = Frames::open(edge.address());
    attacker.send(HEADERS, END_STREAM, 1, &head("GET", "/endless", &[])).unwrap();
    let piece = frame(CONTINUATION, 0, 1, &cirque_tests::frames::literal("x-filler", &"y".repeat(8000)));
    let mut sent = 0;
    while sent < 64 * 1024 * 1024 && attacker.write(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes of one head were taken");
    http2(&edge, "/other", &[]).expect_status(200);
    assert!(backend.requests_to("/endless").is_empty());
}

#[test]
fn floods_of_pings_and_settings_make_the_edge_hold_nothing() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    http2(&edge, "/warm", &[]).expect_status(200);
    let before = edge.process.resident_bytes();
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[][..])] {
        let mut attacker = Frames::open(edge.address());
        attacker.set_timeout(Duration::from_millis(500));
        let burst = frame(kind, 0, 0, payload).repeat(10_000);
        // Nothing is read back: at some point the edge must stop reading, too.
        let sent = (0..200).take_while(|_| attacker.write(&burst).is_ok()).count();
        http2(&edge, "/other", &[]).expect_status(200);
        let grown = edge.process.resident_bytes().saturating_sub(before);
        assert!(grown < 24 * 1024 * 1024, "{grown} bytes more after {sent} bursts of kind {kind}");
    }
}

#[test]
fn a_head_above_the_limit_is_refused_and_the_connection_goes_on() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut client = Frames::open(edge.address());
    let large = "y".repeat(15_000);
    let fields = head("GET", "/large", &[("x-a", &large), ("x-b", &large), ("x-c", &large)]);
    let (first, rest) = fields.split_at(16_000);
    client.send(HEADERS, END_STREAM, 1, first).unwrap();
    client.send(CONTINUATION, 0, 1, &rest[..16_000]).unwrap();
    client.send(CONTINUATION, END_HEADERS, 1, &rest[16_000..]).unwrap();
    let answer = client.until("a refusal", |frame| frame.stream == 1);
    assert!(!answer.is_200(), "{answer:?}");
    client.get(3, "/small").unwrap();
    client.answer(3);
    assert!(backend.requests_to("/large").is_empty());
    let line = edge.logged("/large");
    assert_eq!((line["reason"].as_str(), line["rule"].as_str()), (Some("head_too_large"), Some("too_large")));
    assert_eq!(line["http.response.status_code"], 431);
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "head_too_large")], 1.0);
    nothing_in_flight(&edge);
}

#[test]
fn malformed_requests_are_logged_counted_and_in_the_end_cut() {
    let backend = Backend::start();
    let edge = Edge::before(&[&backend]);
    let mut client = Frames::open(edge.address());
    // Two hosts: each reader could take another one.
    let fields = head("GET", "/two", &[("host", "other.test")]);
    for n in 0..32 {
        let _ = client.send(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &fields);
    }
    closed(&edge, "abuse", 1.0);
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "malformed")], 32.0);
    let line = eventually(
        "it is logged",
        Duration::from_secs(5),
        || edge.access_log().into_iter().find(|line| line["rule"] == "http2"),
        Option::is_some,
    );
    assert_eq!(line.expect("accepted only when found")["http.response.status_code"], 400);
    assert!(backend.requests_to("/two").is_empty());
}

// key: proxy.toml client.client_min_send_rate
#[test]
fn an_answer_that_is_taken_too_slowly_resets_its_stream_and_no_other() {
    const LARGE: usize = 4 << 20;
    let backend = Backend::answering(Reply::ok(vec![b'x'; LARGE]));
    backend.answer_on("/small", Reply::ok("x"));
    let limits = "client = { client_min_send_rate = '1MiB', send_timeout = '1s' }";
    let edge = Edge::builder().backend(&backend).toml(limits).start();
    let mut client = Frames::open(edge.address());
    client.get(1, "/slow").unwrap();
    let (began, mut opened) = (Instant::now(), 0);
    client.set_timeout(Duration::from_millis(20));
    // A little of it is taken again and again, about 100 KB a second, so that no single write is ever late.
    let reset = loop {
        if let Ok(frame) = client.read()
            && frame.kind == RST_STREAM
        {
            break frame;
        }
        while opened < began.elapsed().as_millis() * 100 {
            for stream in [0, 1] {
                client.send(WINDOW_UPDATE, 0, stream, &1000_u32.to_be_bytes()).unwrap();
            }
            opened += 1000;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "a slow reader was still served");
    };
    client.set_timeout(Duration::from_secs(10));
    assert_eq!(reset.stream, 1);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(800), "{took:?}");
    client.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes()).unwrap();
    client.get(3, "/small").unwrap();
    client.answer(3);
    assert_eq!(edge.logged("/slow")["reason"], "reader_too_slow");
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "reader_too_slow")], 1.0);
    nothing_in_flight(&edge);
}
