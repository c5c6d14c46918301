//! What backends and clients get to see of a head.

use super::super::answer::parse as parse_answer;
use super::super::head::{EndFinder, parse};
use super::*;
use crate::config::policy::{Coding, HeaderRules};
use crate::config::template::{Facts, Template};

fn told(is_trusted: bool) -> Told {
    let client = IpAddr::from([192, 0, 2, 1]);
    Told { is_trusted, client, proto: "http", lines: "X-Real-IP: 192.0.2.1\r\n".into(), chain: 0..0 }
}

#[track_caller]
fn forwarded(head: &str, is_trusted: bool, expected: &str) {
    let request = parse(head.as_bytes()).unwrap();
    let mut out = Vec::new();
    let told = told(is_trusted);
    let onward = Onward { told: &told, id: "id", host: "backend:80", trace: None, target: None, edit: None };
    super::request(&request, head.as_bytes(), &onward, &mut out);
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
    let changes = Changes { id: "id", plan: Plan::AsIs, edit: None, hsts: "" };
    super::answer(&answer, head.as_bytes(), (shown, then), &changes, &mut out);
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

/// Rules that replace, add and remove, also what the edge says itself.
fn rules() -> HeaderRules {
    let field = |name: &str, value: &str| (name.into(), Template::parse(value).unwrap());
    HeaderRules {
        set: vec![field("Host", "inside"), field("x-real-ip", "{client}"), field("Server", "")],
        add: vec![field("X-Path", "{path}")],
        remove: vec!["Cookie".into(), "X-Request-ID".into()],
    }
}

#[test]
fn header_rules_reach_every_field_but_the_framing() {
    let head =
        "POST http://a/b?c HTTP/1.1\r\nHost: a\r\nCookie: c\r\nContent-Length: 1\r\nX-Path: mine\r\n\r\n";
    let request = parse(head.as_bytes()).unwrap();
    let (told, rules, mut out) = (told(false), rules(), Vec::new());
    let edit = Edit::of(&rules, || Facts { path: b"/b", ..Facts::example() });
    let onward =
        Onward { told: &told, id: "id", host: "backend:80", trace: None, target: Some(b"/v2/b?c"), edit };
    super::request(&request, head.as_bytes(), &onward, &mut out);
    let expected = "POST /v2/b?c HTTP/1.1\r\nX-Path: mine\r\nContent-Length: 1\r\nHost: inside\r\n\
        x-real-ip: 192.0.2.1\r\nX-Path: /b\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn header_rules_reach_backends_answers_and_ours() {
    let rules = rules();
    let edit = Edit::of(&rules, || Facts { path: b"/b", ..Facts::example() });
    let head = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n";
    let answer = parse_answer(head.as_bytes(), &mut EndFinder::default(), false).unwrap().unwrap();
    let mut out = Vec::new();
    let changes = Changes { id: "id", plan: Plan::AsIs, edit, hsts: "" };
    super::answer(&answer, head.as_bytes(), (Shown::AsIs, Then::KeepAlive), &changes, &mut out);
    let fields = "Host: inside\r\nx-real-ip: 192.0.2.1\r\nX-Path: /b\r\n";
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\n")
    );

    let answer = respond::Answer {
        status: 308,
        content_type: "text/plain".into(),
        body: "x".into(),
        fields: vec![("Location", "/there".to_owned()), ("Server", "y".to_owned())],
    };
    let mut out = Vec::new();
    own(&answer, "id", false, Then::Close, edit.as_ref(), "", &mut out);
    let expected = format!(
        "HTTP/1.1 308 Permanent Redirect\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\
         Location: /there\r\n{fields}Connection: close\r\n\r\nx"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_trace_goes_on_with_a_parent_of_ours_and_another_ones_state_does_not() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (given, state_stays) in [(parent, true), ("nonsense", false)] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {given}\r\ntracestate: v=1\r\n\r\n");
        let request = parse(head.as_bytes()).unwrap();
        let trace = Trace::of(request.trace_parent.clone().map(|range| &head.as_bytes()[range]));
        let (told, mut out) = (told(false), Vec::new());
        let onward =
            Onward { told: &told, id: "id", host: "b", trace: Some(&trace), target: None, edit: None };
        super::request(&request, head.as_bytes(), &onward, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.contains("tracestate: v=1"), state_stays, "{out}");
        assert!(out.contains(&format!("\r\ntraceparent: {}\r\n", trace.parent())), "{out}");
        assert!(!out.contains("Traceparent"), "{out}");
    }
}

#[test]
fn a_compressed_answer_says_so_and_no_longer_claims_the_plain_bytes() {
    let head =
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\nContent-Length: 5\r\n\r\n";
    for (plan, shown, expected) in [
        (
            Plan::Coded(Coding::Gzip),
            Shown::Chunked,
            "HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nVary: Origin\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n\
             X-Request-ID: id\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            Plan::Varies,
            Shown::AsIs,
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\nVary: Accept-Encoding\r\n\
             X-Request-ID: id\r\nContent-Length: 5\r\n\r\n",
        ),
    ] {
        let answer = parse_answer(head.as_bytes(), &mut EndFinder::default(), false).unwrap().unwrap();
        let mut out = Vec::new();
        let changes = Changes { id: "id", plan, edit: None, hsts: "" };
        super::answer(&answer, head.as_bytes(), (shown, Then::KeepAlive), &changes, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
