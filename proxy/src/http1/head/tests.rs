//! Which heads are understood, and which rule the others break.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn broken(head: &str, rule: Rule) {
    let mut finder = EndFinder::default();
    let outcome = finder.find(head.as_bytes()).and_then(|end| match end {
        Some(end) => parse(&head.as_bytes()[..end]).map(|_| ()),
        None => Ok(()),
    });
    assert_eq!(outcome, Err(rule), "{head:?}");
}

#[track_caller]
fn good(head: &str) -> Request {
    let end = EndFinder::default().find(head.as_bytes()).unwrap().expect("the head is complete");
    parse(&head.as_bytes()[..end]).unwrap_or_else(|rule| panic!("{rule:?} for {head:?}"))
}

fn text(head: &str, range: Range<usize>) -> &str {
    &head[range]
}

#[test]
fn a_plain_request_is_understood() {
    let head = "GET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n";
    let request = good(head);
    assert_eq!(text(head, request.method.clone()), "GET");
    assert_eq!(text(head, request.target.clone()), "/a/b?c=d");
    assert_eq!(text(head, request.path.clone()), "/a/b");
    assert_eq!(text(head, request.host.clone()), "example.com");
    assert_eq!(&head[request.fields..], "Host: example.com\r\nAccept: */*\r\n\r\n");
    assert_eq!(request.body, BodyLength::None);
    assert!(request.keep_alive && !request.is_http10);
}

#[test]
fn bodies_are_framed_by_length_or_chunks() {
    let post = |fields: &str| good(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).body;
    assert_eq!(post("Content-Length: 12\r\n"), BodyLength::Known(12));
    assert_eq!(post("Content-Length: 0\r\n"), BodyLength::None);
    assert_eq!(post("Transfer-Encoding: Chunked\r\n"), BodyLength::Chunked);
    assert_eq!(post(""), BodyLength::None);
}

#[test]
fn ambiguous_framing_is_refused() {
    for (fields, rule) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Rule::LengthAndCoding),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", Rule::ContentLength),
        ("Content-Length: 1, 1\r\n", Rule::ContentLength),
        ("Content-Length: +1\r\n", Rule::ContentLength),
        ("Content-Length: 0x1\r\n", Rule::ContentLength),
        ("Content-Length:\r\n", Rule::ContentLength),
        ("Content-Length: 99999999999999999999\r\n", Rule::ContentLength),
        ("Transfer-Encoding: gzip, chunked\r\n", Rule::TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", Rule::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Rule::TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", Rule::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", Rule::TransferEncoding),
        ("Transfer-Encoding:\x0bchunked\r\n", Rule::Field),
        ("Transfer-Encoding:\tchunked\r\n", Rule::TransferEncoding),
        ("Content-Length: 1\t\r\n", Rule::ContentLength),
        ("Transfer-Encoding : chunked\r\n", Rule::Field),
        (" Transfer-Encoding: chunked\r\n", Rule::Field),
        ("X: a\r\n folded\r\n", Rule::Field),
        ("X\r\n", Rule::Field),
        (": x\r\n", Rule::Field),
        ("X: a\0b\r\n", Rule::Field),
        ("X: a\rb\r\n", Rule::BareLineEnd),
        ("X: a\nY: b\r\n", Rule::BareLineEnd),
        ("Connection: content-length\r\n", Rule::Connection),
        ("Expect: the-worst\r\n", Rule::Expectation),
    ] {
        broken(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), rule);
    }
}

#[test]
fn request_lines_have_one_form() {
    for (line, rule) in [
        ("GET  / HTTP/1.1", Rule::RequestLine),
        ("GET /  HTTP/1.1", Rule::RequestLine),
        ("GET / HTTP/1.1 ", Rule::RequestLine),
        ("GET / HTTP/2.0", Rule::Version),
        ("GET / HTTP/1.2", Rule::Version),
        ("GET / http/1.1", Rule::RequestLine),
        ("GET /", Rule::RequestLine),
        ("G@T / HTTP/1.1", Rule::RequestLine),
        ("GET a HTTP/1.1", Rule::Target),
        ("GET * HTTP/1.1", Rule::Target),
        ("GET /# HTTP/1.1", Rule::Target),
        ("GET ftp://a/ HTTP/1.1", Rule::Target),
        ("GET http://a HTTP/1.1", Rule::Target),
        ("GET http://u@a/ HTTP/1.1", Rule::Target),
        ("CONNECT a:443 HTTP/1.1", Rule::Method),
        ("TRACE / HTTP/1.1", Rule::Method),
        ("gEt / HTTP/1.1", Rule::RequestLine),
        ("GET /%00 HTTP/1.1", Rule::Target),
        ("GET /%zz HTTP/1.1", Rule::Target),
        ("GET /a% HTTP/1.1", Rule::Target),
        ("GET /../etc HTTP/1.1", Rule::Target),
        ("GET /a/%2e%2E/../etc HTTP/1.1", Rule::Target),
        ("GET http://a/../b HTTP/1.1", Rule::Target),
    ] {
        broken(&format!("{line}\r\nHost: a\r\n\r\n"), rule);
    }
    for path in ["/a/../b", "/.../x", "/%7Ea", "/a/./..", "/x?q=%zz&/../.."] {
        good(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    assert_eq!(good("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target, 8..9);
}

#[test]
fn there_is_one_host_and_it_agrees_with_the_target() {
    for (fields, rule) in [
        ("", Rule::Host),
        ("Host: a\r\nHost: a\r\n", Rule::Host),
        ("Host:\r\n", Rule::Host),
        ("Host: a b\r\n", Rule::Host),
        ("Host: a/b\r\n", Rule::Host),
        ("Host: u@a\r\n", Rule::Host),
        ("Host: a:80:80\r\n", Rule::Host),
        ("Host: [::g]\r\n", Rule::Host),
    ] {
        broken(&format!("GET / HTTP/1.1\r\n{fields}\r\n"), rule);
    }
    broken("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Rule::HostConflict);
    let head = "GET http://a.example.com:8080/x?y HTTP/1.1\r\nHost: A.example.com:8080\r\n\r\n";
    let request = good(head);
    assert_eq!(
        (text(head, request.target.clone()), text(head, request.host.clone())),
        ("/x?y", "a.example.com:8080")
    );
    assert_eq!(good("GET / HTTP/1.0\r\n\r\n").host, 0..0);
    assert_eq!(good("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").host, 22..30);
}

#[test]
fn connections_are_kept_as_the_version_says() {
    let keeps =
        |line: &str, fields: &str| good(&format!("GET / {line}\r\nHost: a\r\n{fields}\r\n")).keep_alive;
    assert!(keeps("HTTP/1.1", ""));
    assert!(!keeps("HTTP/1.1", "Connection: close\r\n"));
    assert!(!keeps("HTTP/1.1", "Connection: keep-alive, Close\r\n"));
    assert!(!keeps("HTTP/1.0", ""));
    assert!(keeps("HTTP/1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn only_named_protocols_may_take_over_and_never_http2() {
    let upgrade = |what: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {what}\r\n\r\n");
        good(&head).upgrade.is_some()
    };
    assert!(upgrade("websocket"));
    for refused in ["h2c", "H2C", "h2", "h2c, websocket", "websocket, h2c", "HTTP/2.0", "TLS/1.0 , x", ""] {
        assert!(!upgrade(refused), "{refused}");
    }
    let without = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    assert!(good(without).upgrade.is_none(), "Connection does not name it");
}

#[test]
fn a_head_with_too_many_fields_is_refused() {
    let fields = "X: y\r\n".repeat(MOST_FIELDS);
    broken(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), Rule::TooManyFields);
}

#[test]
fn empty_lines_before_a_request_are_skipped_within_bounds() {
    assert_eq!(leading_empty_lines(b"\r\nGET", 0), 2);
    assert_eq!(leading_empty_lines(b"\r\n\r\n\r\nGET", 0), 4);
    assert_eq!(leading_empty_lines(b"\r\n\r\nGET", 2), 2);
    assert_eq!(leading_empty_lines(b"GET", 0), 0);
}

proptest! {
    #[test]
    fn any_split_finds_the_same_end(
        head in "GET /[a-z]{0,9} HTTP/1\\.1\r\n([A-Z][a-z]{0,5}: [a-z]{0,9}\r\n){0,5}\r\n[a-z\r\n]{0,9}",
        cuts in prop::collection::vec(0_usize..80, 0..6),
    ) {
        let bytes = head.as_bytes();
        let whole = EndFinder::default().find(bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut finder = EndFinder::default();
        let mut found = Ok(None);
        for cut in cuts {
            found = finder.find(&bytes[..cut]);
            if found != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(end)) = EndFinder::default().find(&bytes) {
            let _ = parse(&bytes[..end]);
        }
    }

    #[test]
    fn what_is_understood_lies_within_the_head(
        head in "(GET|POST) (/|http://a/)[!-~]{0,9} HTTP/1\\.[01]\r\n(Host: a\r\n)?((Connection|Upgrade|Expect|Content-Length): [a-z0-9,-]{0,12}\r\n){0,3}\r\n",
    ) {
        if let Ok(request) = parse(head.as_bytes()) {
            for range in [&request.method, &request.target, &request.host, &request.path] {
                prop_assert!(range.start <= range.end && range.end <= head.len());
            }
        }
    }
}
