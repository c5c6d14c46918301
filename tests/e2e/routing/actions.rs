//! What a route does with a request: sends it on changed, sends the client elsewhere, answers, or is closed.

use std::fs;

use cirque_tests::{Backend, Connection, Edge, Request};

use crate::witness::{logged_status, nothing_in_flight};

/// An edge with these keys on its only route.
fn edge_with(backend: &Backend, keys: &str) -> Edge {
    let routes = format!("routes = [{{ name = 'all', paths = ['/*'], upstream = 'app', {keys} }}]");
    Edge::builder().backend(backend).without_probe().toml(&routes).start()
}

// key: proxy.toml routes[].methods
#[test]
fn a_method_is_a_match_and_others_are_405_with_what_is_allowed() {
    let (read, write) = (Backend::named("read"), Backend::named("write"));
    let edge = Edge::builder()
        .backend(&read)
        .toml(&format!(
            "routes = [{{ name = 'read', paths = ['/a/*'], methods = ['GET'], upstream = 'app' }},
               {{ name = 'write', paths = ['/a/*'], methods = ['POST', 'PUT'], upstream = 'write' }}]
             upstreams.write.backends = [{{ id = 'write', address = '{}' }}]",
            write.address()
        ))
        .start();
    edge.send(&Request::get("/a/get")).expect_status(200);
    edge.send(&Request::new("HEAD", "/a/head")).expect_status(200);
    edge.send(&Request::post("/a/post", "x")).expect_status(200);
    let refused = edge.send(&Request::new("DELETE", "/a/delete"));
    assert_eq!(refused.expect_status(405).header("allow"), Some("GET, POST, PUT"));
    assert_eq!((read.requests_to("/a/head").len(), write.requests_to("/a/post").len()), (1, 1));
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "method_not_allowed")], 1.0);
    assert_eq!(edge.logged("/a/delete")["reason"], "method_not_allowed");
}

// key: proxy.toml routes[].headers[].name, routes[].headers[].value
#[test]
fn a_header_is_a_match_and_the_most_conditions_win() {
    let (all, beta) = (Backend::named("all"), Backend::named("beta"));
    let edge = Edge::builder()
        .backend(&all)
        .toml(&format!(
            "routes = [{{ name = 'all', paths = ['/*'], upstream = 'app' }},
               {{ name = 'beta', paths = ['/*'], headers = [{{ name = 'X-Api-Version', value = '2*' }}],
                  upstream = 'beta' }}]
             upstreams.beta.backends = [{{ id = 'beta', address = '{}' }}]",
            beta.address()
        ))
        .start();
    for (version, backend) in [("2", &beta), ("2.1", &beta), ("1", &all)] {
        let response = edge.send(&Request::get("/x").header("x-api-version", version));
        assert_eq!(response.expect_status(200).header("x-served-by"), Some(backend.name()), "{version}");
    }
    edge.wait_for_metric("http_requests_total", &[("route", "beta"), ("code", "200")], 2.0);
}

// key: proxy.toml routes[].strip_prefix, routes[].add_prefix
#[test]
fn a_prefix_is_stripped_and_another_one_put_before_it() {
    let backend = Backend::start();
    let edge = edge_with(&backend, "strip_prefix = '/api', add_prefix = '/v2'");
    for (asked, seen) in [("/api/posts?a=/api", "/v2/posts?a=/api"), ("/api", "/v2"), ("/apis", "/v2/apis")] {
        edge.get(asked).expect_status(200);
        let targets: Vec<String> = backend.requests().iter().map(|request| request.target.clone()).collect();
        assert_eq!(targets.last().map(String::as_str), Some(seen), "{targets:?}");
    }
    assert_eq!(edge.logged("/api/posts")["http.response.status_code"], 200, "the log has the client's path");
}

#[test]
fn no_spelling_of_a_path_leads_past_the_route_of_its_place() {
    let (public, admin) = (Backend::named("public"), Backend::named("admin"));
    let edge = Edge::builder()
        .backend(&public)
        .toml(&format!(
            "routes = [{{ name = 'public', paths = ['/*'], upstream = 'app' }},
               {{ name = 'admin', paths = ['/admin/*'], upstream = 'admin' }}]
             upstreams.admin.backends = [{{ id = 'admin', address = '{}' }}]",
            admin.address()
        ))
        .start();
    for path in ["/admin/x", "/%61dmin/x", "/public/../admin/x", "//admin/x", "/public/%2e%2e/admin/x"] {
        let response = edge.get(path);
        assert_eq!(response.expect_status(200).header("x-served-by"), Some("admin"), "{path}");
    }
    let targets: Vec<String> = admin.requests().iter().map(|request| request.target.clone()).collect();
    assert!(targets.contains(&"/%61dmin/x".to_owned()), "what is forwarded is what was written: {targets:?}");
}

// key: proxy.toml routes[].redirect.to, routes[].redirect.status
#[test]
fn a_redirect_keeps_what_its_template_says_and_no_client_can_bend_it() {
    let edge = Edge::builder()
        .toml(
            "routes = [{ name = 'www', hosts = ['example.com'], redirect = { to = 'https://www.example.com{uri}', status = 301 } },
               { name = 'moved', paths = ['/old/*'], redirect = { to = '/new/{rest}{query}', status = 308 } },
               { name = 'same', paths = ['/same/*'], redirect = { to = '{path}', status = 307 } }]
             upstreams.app.backends = [{ id = 'nobody', address = '127.0.0.1:9' }]",
        )
        .without_probe()
        .start();
    let mut client = edge.client();
    for (host, target, status, location) in [
        ("example.com", "/a?b=c", 301, "https://www.example.com/a?b=c"),
        ("other.example", "/old/x/y?z", 308, "/new/x/y?z"),
        ("other.example", "/old//evil.example", 308, "/new/evil.example"),
        ("other.example", "//same//evil.example", 307, "/same//evil.example"),
    ] {
        let response = client.send(&Request::get(target).header("Host", host));
        assert_eq!(response.expect_status(status).header("location"), Some(location), "{host}{target}");
        assert_eq!(response.header("cache-control"), None, "a redirect may be kept");
    }
    edge.wait_for_metric("http_requests_total", &[("route", "moved"), ("code", "308")], 2.0);
    assert_eq!(logged_status(&edge, "/a"), 301);
    assert_eq!(edge.metrics().value("proxy_refusals_total", &[]), 0.0, "a redirect is no refusal");
    nothing_in_flight(&edge);
}

// key: proxy.toml routes[].respond.status, routes[].respond.content_type, routes[].respond.body
#[test]
fn a_fixed_answer_is_given_without_any_backend() {
    let edge = Edge::builder()
        .toml(
            "routes = [{ name = 'robots', paths = ['/robots.txt'],
                 respond = { status = 200, content_type = 'text/x-robots', body = 'User-agent: *' } },
               { name = 'gone', paths = ['/gone'], respond = { status = 410 } },
               { name = 'nothing', paths = ['/nothing'], respond = { status = 204 } }]
             upstreams.app.backends = [{ id = 'nobody', address = '127.0.0.1:9' }]",
        )
        .without_probe()
        .start();
    let mut client = edge.client();
    let robots = client.get("/robots.txt");
    assert_eq!(robots.expect_status(200).header("content-type"), Some("text/x-robots"));
    assert_eq!(robots.text(), "User-agent: *");
    let head = client.send(&Request::new("HEAD", "/robots.txt"));
    assert_eq!(head.expect_status(200).header("content-length"), Some("13"));
    client.get("/gone").expect_status(410);
    assert_eq!(client.get("/nothing").expect_status(204).header("content-length"), None);
    client.get("/robots.txt").expect_status(200);
    edge.wait_for_metric("http_requests_total", &[("route", "gone"), ("code", "410")], 1.0);
    assert_eq!(edge.logged("/gone")["route"], "gone");
}

// key: proxy.toml routes[].request_headers.set, routes[].request_headers.add, routes[].request_headers.remove
// key: proxy.toml defaults.route.request_headers.set, defaults.route.request_headers.add
// key: proxy.toml defaults.route.request_headers.remove
#[test]
fn request_headers_are_set_added_and_removed_on_their_way_to_a_backend() {
    let keys = "request_headers = { set = ['X-Env: prod', 'Host: inside.example', 'X-Real-IP: {client}', 'X-At: {path}'],
        add = ['X-Tag: two'], remove = ['Cookie', 'X-Request-ID'] }";
    for place in ["routes", "defaults"] {
        let backend = Backend::start();
        let edge = match place {
            "routes" => edge_with(&backend, &keys.replace('\n', " ")),
            _ => Edge::builder().backend(&backend).toml(&format!("defaults.route.{keys}")).start(),
        };
        let request =
            Request::get("/seen?q").header("Host", "a").header("X-Env", "forged").header("Cookie", "c");
        edge.send(&request.header("X-Tag", "one")).expect_status(200);
        let seen = &backend.requests_to("/seen")[0];
        let values = |name: &str| -> Vec<&str> {
            let fields = seen.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            fields.map(|(_, value)| value.as_str()).collect()
        };
        for (name, expected) in [
            ("X-Env", &["prod"][..]),
            ("Host", &["inside.example"]),
            ("X-Real-IP", &["127.0.0.1"]),
            ("X-At", &["/seen"]),
            ("X-Tag", &["one", "two"]),
            ("Cookie", &[]),
            ("X-Request-ID", &[]),
            ("X-Forwarded-For", &["127.0.0.1"]),
        ] {
            assert_eq!(values(name), expected, "{place}: {name} of {seen:?}");
        }
    }
}

// key: proxy.toml routes[].response_headers.set, routes[].response_headers.add, routes[].response_headers.remove
// key: proxy.toml defaults.route.response_headers.set, defaults.route.response_headers.add
// key: proxy.toml defaults.route.response_headers.remove
#[test]
fn response_headers_reach_backends_answers_and_the_edges_own() {
    let keys = "response_headers = { set = ['Server: edge', 'X-Frame-Options: DENY'], add = ['Via: {host}'], \
        remove = ['X-Served-By'] }";
    for place in ["routes", "defaults"] {
        let backend = Backend::start();
        let edge = match place {
            "routes" => edge_with(&backend, keys),
            _ => Edge::builder()
                .backend(&backend)
                .without_probe()
                .toml(&format!("defaults.route.{keys}"))
                .start(),
        };
        let answers = [edge.get("/answered"), {
            backend.refuse();
            edge.get("/refused")
        }];
        for (answer, status) in answers.iter().zip([200, 502]) {
            answer.expect_status(status);
            for (name, expected) in [
                ("server", Some("edge")),
                ("x-frame-options", Some("DENY")),
                ("via", Some("localhost")),
                ("x-served-by", None),
            ] {
                assert_eq!(answer.header(name), expected, "{place}: {name} of {answer:?}");
            }
        }
    }
}

#[test]
fn no_request_can_smuggle_a_field_through_a_placeholder() {
    let backend = Backend::start();
    let edge = edge_with(&backend, "request_headers = { set = ['X-At: {uri}', 'X-Host: {host_port}'] }");
    let mut connection = Connection::open(edge.address());
    connection.write("GET /a%0d%0aX-Evil:%201?b%0D%0AX-Evil:1 HTTP/1.1\r\nHost: a:80\r\n\r\n").unwrap();
    connection.read_response("GET").unwrap().expect_status(200);
    let seen = &backend.requests()[0];
    assert!(seen.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("x-evil")), "{seen:?}");
}

// key: proxy.toml routes[].error_pages[].statuses, routes[].error_pages[].file
// key: proxy.toml defaults.route.error_pages[].statuses, defaults.route.error_pages[].file
#[test]
fn an_error_page_stands_for_the_edges_own_answer_and_not_for_a_backends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("down.html");
    fs::write(&file, "<h1>down</h1>").unwrap();
    let pages = format!("error_pages = [{{ statuses = [502, 503, 404], file = '{}' }}]", file.display());
    for place in ["routes", "defaults"] {
        let backend = Backend::start();
        backend.script(|request| match request.path() {
            "/own-404" => cirque_tests::Reply::status(404),
            _ => cirque_tests::Reply::ok("fine"),
        });
        let edge = match place {
            "routes" => edge_with(&backend, &pages),
            _ => Edge::builder()
                .backend(&backend)
                .without_probe()
                .toml(&format!("defaults.route.{pages}"))
                .toml("routes = [{ name = 'all', hosts = ['localhost'], upstream = 'app' }]")
                .start(),
        };
        assert_ne!(edge.get("/own-404").expect_status(404).text(), "<h1>down</h1>", "it is the backend's");
        if place == "defaults" {
            let elsewhere = edge.send(&Request::get("/elsewhere").header("Host", "unknown.example"));
            assert_eq!(elsewhere.expect_status(404).text(), "<h1>down</h1>");
        }
        backend.refuse();
        let answer = edge.get("/down");
        assert_eq!(answer.expect_status(502).header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.text(), "<h1>down</h1>");
        assert_eq!(edge.logged("/down")["reason"], "unreachable");
        edge.wait_for_metric("proxy_refusals_total", &[("reason", "unreachable")], 1.0);
    }
}

// key: proxy.toml routes[].maintenance.enabled, routes[].maintenance.allow, routes[].maintenance.retry_after
// key: proxy.toml routes[].maintenance.page, defaults.route.maintenance.enabled, defaults.route.maintenance.allow
// key: proxy.toml defaults.route.maintenance.retry_after, defaults.route.maintenance.page
#[test]
fn a_closed_route_is_503_for_everybody_but_the_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("closed.html");
    fs::write(&file, "back at noon").unwrap();
    for place in ["routes", "defaults"] {
        let keys = format!(
            "maintenance = {{ enabled = true, allow = ['192.0.2.0/24'], retry_after = '90s', page = '{}' }}",
            file.display()
        );
        let backend = Backend::start();
        let builder = Edge::builder().backend(&backend).without_probe().toml("trust.proxies = ['127.0.0.1']");
        let edge = match place {
            "routes" => builder
                .toml(&format!("routes = [{{ name = 'all', paths = ['/*'], upstream = 'app', {keys} }}]"))
                .start(),
            _ => builder.toml(&format!("defaults.route.{keys}")).start(),
        };
        let from =
            |client: &str, path: &str| edge.send(&Request::get(path).header("X-Forwarded-For", client));
        let closed = from("198.51.100.1", "/closed");
        assert_eq!(closed.expect_status(503).header("retry-after"), Some("90"));
        assert_eq!(closed.text(), "back at noon");
        from("192.0.2.7", "/open").expect_status(200);
        assert!(backend.requests_to("/closed").is_empty());
        assert_eq!(edge.logged("/closed")["reason"], "maintenance");
        edge.wait_for_metric("proxy_refusals_total", &[("reason", "maintenance")], 1.0);
        nothing_in_flight(&edge);
    }
}
