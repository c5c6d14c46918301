//! What backends and clients get to see of a head.

use super::super::answer::parse as parse_answer;
use super::super::head::{EndFinder, parse};
use super::*;

fn told(is_trusted: bool) -> Told {
    let client = IpAddr::from([192, 0, 2, 1]);
    Told { is_trusted, client, lines: "X-Real-IP: 192.0.2.1\r\n".into() }
}

#[track_caller]
fn forwarded(head: &str, is_trusted: bool, expected: &str) {
    let request = parse(head.as_bytes()).unwrap();
    let mut out = Vec::new();
    super::request(&request, head.as_bytes(), &told(is_trusted), "id", "backend:80", &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn fields_keep_their_order_case_and_bytes() {
    forwarded(
        "GET /a?b HTTP/1.1\r\nHost: example.com\r\nuser-AGENT:  x \r\nAccept: */*\r\n\r\n",
        false,
        "GET /a?b HTTP/1.1\r\nHost: example.com\r\nuser-AGENT:  x \r\nAccept: */*\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[test]
fn fields_for_one_connection_and_forged_ones_stay_here() {
    forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nx_real_ip: 6.6.6.6\r\nUpgrade: h2c\r\nCookie: c\r\n\r\n",
        false,
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: c\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[test]
fn a_trusted_proxys_other_words_are_passed_on() {
    forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: www\r\n\r\n",
        true,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: www\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[test]
fn framing_is_written_anew() {
    forwarded(
        "POST / HTTP/1.1\r\nTransfer-Encoding:  CHUNKED\r\nHost: a\r\n\r\n",
        false,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
    forwarded(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n",
        false,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[test]
fn an_absolute_target_becomes_path_and_host() {
    forwarded(
        "GET http://b.example.com/x?y HTTP/1.1\r\nHost: b.example.com\r\n\r\n",
        false,
        "GET /x?y HTTP/1.1\r\nHost: b.example.com\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[test]
fn a_request_without_a_host_gets_the_backends() {
    forwarded(
        "GET / HTTP/1.0\r\n\r\n",
        false,
        "GET / HTTP/1.1\r\nHost: backend:80\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[test]
fn an_upgrade_is_asked_for_in_one_form() {
    forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        false,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Real-IP: 192.0.2.1\r\nX-Request-ID: id\r\n\r\n",
    );
}

#[track_caller]
fn answered(head: &str, is_to_head: bool, shown: Shown, then: Then, expected: &str) {
    let answer = parse_answer(head.as_bytes(), &mut EndFinder::default(), is_to_head).unwrap().unwrap();
    let mut out = Vec::new();
    super::answer(&answer, head.as_bytes(), shown, then, "id", &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn an_answer_keeps_its_fields_and_gets_our_framing() {
    answered(
        "HTTP/1.0 200 Fine\r\nServer: x\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\n",
        false,
        Shown::AsIs,
        Then::KeepAlive,
        "HTTP/1.1 200 Fine\r\nServer: x\r\nX-Request-ID: id\r\nContent-Length: 5\r\n\r\n",
    );
    answered(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
        Shown::UntilClose,
        Then::Close,
        "HTTP/1.1 200 OK\r\nX-Request-ID: id\r\nConnection: close\r\n\r\n",
    );
}

#[test]
fn an_answer_to_head_announces_what_it_does_not_send() {
    answered(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        true,
        Shown::AsIs,
        Then::KeepAlive,
        "HTTP/1.1 200 OK\r\nX-Request-ID: id\r\nContent-Length: 5\r\n\r\n",
    );
    answered(
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        false,
        Shown::AsIs,
        Then::KeepAlive,
        "HTTP/1.1 204 No Content\r\nX-Request-ID: id\r\n\r\n",
    );
}
