//! What an operator does at three in the morning: see what is wrong, take a backend out, bring it back, go back.

use std::fs;
use std::time::Duration;

use cirque_tests::process::Stream;
use cirque_tests::{Backend, Client, Connection, Edge, Load, Process, Reply, Request, eventually, ports};

use crate::witness::nothing_in_flight;

const SOON: Duration = Duration::from_secs(30);

/// Runs `cirque proxy …` on this edge; its exit code and everything it said.
fn cirque(edge: &Edge, arguments: &[&str]) -> (i32, String) {
    let (admin, file) = (edge.admin().to_string(), edge.file().display().to_string());
    let told = ["--admin", &admin, "--config", &file];
    let arguments: Vec<&str> = ["proxy"].iter().chain(arguments).chain(&told).copied().collect();
    ended(Process::cirque("command", &arguments))
}

fn ended(mut process: Process) -> (i32, String) {
    let code = process.expect_exit(SOON);
    (code, process.text(Stream::Stdout) + &process.text(Stream::Stderr))
}

/// Like [`cirque`], for what must succeed.
#[track_caller]
fn done(edge: &Edge, arguments: &[&str]) -> String {
    let (code, said) = cirque(edge, arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said
}

fn served_by(edge: &Edge, requests: usize) -> Vec<String> {
    let mut names: Vec<String> =
        Load::on(edge.address(), "/x").requests(requests).run().served_by.into_keys().collect();
    names.sort();
    names
}

#[test]
fn a_drained_backend_finishes_what_it_has_and_gets_nothing_new() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    for backend in [&a, &b] {
        backend.answer_on("/slow", Reply::ok("x".repeat(10)).drip(1, Duration::from_millis(100)));
    }
    let edge = Edge::before(&[&a, &b]);
    let mut connections: Vec<Connection> = (0..2).map(|_| Connection::open(edge.address())).collect();
    for connection in &mut connections {
        connection.write(Request::get("/slow").to_bytes()).unwrap();
    }
    a.wait_for_requests("/slow", 1);
    let said = done(&edge, &["drain", "app", "a", "--wait", "20s", "--comment", "new disk"]);
    assert!(said.contains("active -> draining") && said.contains("a has nothing in flight"), "{said}");
    for connection in &mut connections {
        assert_eq!(connection.read_response("GET").unwrap().expect_status(200).body.len(), 10);
    }
    assert_eq!(served_by(&edge, 100), ["b"]);
    let shown = done(&edge, &["upstreams"]);
    assert!(shown.contains("draining") && shown.contains("new disk"), "{shown}");
    edge.wait_for_metric("proxy_backend_up", &[("backend", "a")], 0.0);
    done(&edge, &["undrain", "app", "a"]);
    assert_eq!(served_by(&edge, 100), ["a", "b"]);
    nothing_in_flight(&edge);
}

#[test]
fn the_last_backend_that_an_operator_took_out_gets_nothing_even_failing_open() {
    let a = Backend::named("a");
    let edge = Edge::before(&[&a]);
    done(&edge, &["maintain", "app", "a", "--wait", "5s"]);
    a.forget_requests();
    edge.get("/x").expect_status(503);
    assert!(a.requests().is_empty(), "neither a request nor a probe: {:?}", a.requests());
    done(&edge, &["undrain", "app", "a"]);
    edge.get("/x").expect_status(200);
}

#[test]
fn orders_hold_over_a_restart_of_the_edge() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let state = tempfile::tempdir().unwrap();
    let builder = Edge::builder().backend(&a).backend(&b).state_dir(state.path());
    let mut first = builder.clone().start();
    done(&first, &["drain", "app", "a"]);
    done(&first, &["weight", "app", "b", "7"]);
    first.process.terminate();
    assert_eq!(first.process.expect_exit(SOON), 0);
    let second = builder.start();
    assert_eq!(served_by(&second, 50), ["b"]);
    assert_eq!(second.upstreams()["upstreams"][0]["backends"][1]["weight"], 7);
    done(&second, &["weight", "app", "b"]);
    assert_eq!(second.upstreams()["upstreams"][0]["backends"][1]["weight"], 1);
}

#[test]
fn a_weight_is_felt_at_once() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    for backend in [&a, &b] {
        backend.answer(Reply::ok("x").delay(Duration::from_millis(2)));
    }
    let edge = Edge::before(&[&a, &b]);
    done(&edge, &["weight", "app", "a", "9"]);
    let report = Load::on(edge.address(), "/x").connections(20).requests(2000).run();
    report.assert_all_ok();
    assert!(report.share("a") > 0.8, "{report:?}");
}

#[test]
fn backends_are_added_and_removed_in_the_file_with_its_comments_and_gone_back_to() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let edge = Edge::before(&[&a]);
    let original = format!("# Ours.\n{}", fs::read_to_string(edge.file()).unwrap());
    fs::write(edge.file(), &original).unwrap();
    done(&edge, &["reload", "--comment", "a comment at its head"]);
    let said = done(&edge, &["add", "app", &b.address().to_string(), "--id", "b"]);
    assert!(said.contains("+ upstreams.app.backends.b"), "{said}");
    assert_eq!(served_by(&edge, 100), ["a", "b"]);
    let file = fs::read_to_string(edge.file()).unwrap();
    assert!(file.starts_with("# Ours.\n") && file.contains(&b.address().to_string()), "{file}");
    done(&edge, &["remove", "app", "a"]);
    assert_eq!(served_by(&edge, 50), ["b"]);
    let history = done(&edge, &["history"]);
    for expected in ["a comment at its head", "+ upstreams.app.backends.b", "- upstreams.app.backends.a"] {
        assert!(history.contains(expected), "{expected}: {history}");
    }
    let said = done(&edge, &["rollback", "2"]);
    assert!(said.contains("version 2 is at work again"), "{said}");
    assert_eq!(fs::read_to_string(edge.file()).unwrap(), original);
    assert_eq!(served_by(&edge, 50), ["a"]);
    edge.wait_for_metric("proxy_config_reloads_total", &[("result", "applied")], 4.0);
}

#[test]
fn mistakes_are_refused_with_their_reason_and_change_nothing() {
    let a = Backend::named("a");
    let edge = Edge::before(&[&a]);
    let good = fs::read_to_string(edge.file()).unwrap();
    for (arguments, code, expected) in [
        (&["drain", "app", "z"][..], 1, "there is no backend `z` in upstream `app`"),
        (&["add", "app", "127.0.0.1:1", "--id", "a"][..], 1, "there is a backend `a` already"),
        (&["add", "nope", "127.0.0.1:1"][..], 1, "there is no upstream `nope`"),
        (&["add", "app", "nowhere"][..], 3, "must be an address with a port"),
        (&["remove", "app", "a"][..], 3, "must not be empty"),
        (&["rollback", "77"][..], 1, "there is no version 77"),
        (&["rollback"][..], 1, "there is no earlier version"),
        (&["weight", "app", "a", "5000"][..], 2, "0..=1000"),
    ] {
        let (seen, said) = cirque(&edge, arguments);
        assert_eq!((seen, said.contains(expected)), (code, true), "{arguments:?}: {said}");
    }
    fs::write(edge.file(), good.replace("upstream = ", "upstraem = ")).unwrap();
    for command in ["diff", "reload"] {
        let (code, said) = cirque(&edge, &[command]);
        assert_eq!((code, said.contains("did you mean `upstream`")), (3, true), "{command}: {said}");
    }
    let (code, said) = cirque(&edge, &["add", "app", "127.0.0.1:1"]);
    assert_eq!((code, said.contains("not at work")), (1, true), "{said}");
    edge.get("/x").expect_status(200);
}

#[test]
fn a_diff_says_in_words_what_a_reload_would_change() {
    let a = Backend::named("a");
    let mut edge = Edge::before(&[&a]);
    assert!(done(&edge, &["diff"]).contains("the file says what is at work"));
    edge.rewrite(|file| file.toml("upstreams.app.read_timeout = '3s'\nclient.keepalive_requests = 7"));
    let said = done(&edge, &["diff"]);
    for expected in ["~ client.keepalive_requests: 1000 -> 7", "~ upstreams.app.read_timeout: 60s -> 3s"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(done(&edge, &["reload"]), said);
}

#[test]
fn whoever_saw_an_older_state_does_not_overwrite_a_newer_one() {
    let a = Backend::named("a");
    let edge = Edge::before(&[&a]);
    let target = "/v1/upstreams/app/backends/a";
    let seen = Client::to(edge.admin()).get(target).header("etag").unwrap().to_owned();
    let weigh = |weight: u32| {
        let body = format!("{{\"weight\": {weight}}}");
        let request = Request::new("PUT", target).body(body).header("If-Match", &seen);
        Client::to(edge.admin()).send(&request)
    };
    let fresh = weigh(3).expect_status(200).header("etag").unwrap().to_owned();
    assert_ne!(fresh, seen);
    assert!(weigh(9).expect_status(412).text().contains("changed meanwhile"));
    assert_eq!(edge.upstreams()["upstreams"][0]["backends"][0]["weight"], 3);
}

#[test]
fn an_explanation_names_the_route_the_scores_and_why_a_backend_is_out() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let edge = Edge::before(&[&a, &b]);
    done(&edge, &["maintain", "app", "b"]);
    let said = done(&edge, &["explain", "--host", "www.example.com", "/some/path?x=1"]);
    for expected in ["route `all`", "`a` has the lowest score", "out: maintenance", "score 1"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(a.requests_to("/some/path?x=1").is_empty(), "nothing was sent");
}

#[test]
fn an_explanation_of_a_hash_names_the_backend_that_requests_of_its_key_go_to() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let pool = "upstreams.app = { balance = 'hash', hash_by = 'header:X-User' }";
    let edge = Edge::builder().backend(&a).backend(&b).backend(&c).toml(pool).start();
    for user in 0..12 {
        let user = format!("user-{user}");
        let answer = edge.send(&Request::get("/x").header("X-User", &user));
        let asked = answer.header("x-served-by").unwrap();
        let said = done(&edge, &["explain", "/x", "--header", &format!("X-User: {user}")]);
        assert!(said.contains(&format!("its key leads to `{asked}`")), "{user} went to {asked}: {said}");
    }
}

#[test]
fn an_explanation_knows_turns_weights_of_zero_and_tiers() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let edge = Edge::builder()
        .backend(&a)
        .backend_with(&b, "weight = 0")
        .backend_with(&c, "backup = true")
        .toml("upstreams.app.balance = 'round_robin'")
        .start();
    let said = done(&edge, &["explain", "/x"]);
    assert!(said.contains("in turn by weight: a\n") && said.contains("out: weight 0"), "{said}");
    done(&edge, &["drain", "app", "a"]);
    let said = done(&edge, &["explain", "/x"]);
    assert!(said.contains("in turn by weight: c\n"), "for want of a, the backup: {said}");
}

// key: proxy.toml server.admin_tokens
#[test]
fn a_token_lets_its_holder_in_as_far_as_its_scope_and_signs_their_changes() {
    let a = Backend::named("a");
    let tokens: Vec<(String, String)> = ["read", "change"]
        .iter()
        .map(|scope| {
            let (code, said) = ended(Process::cirque(
                "token",
                &["proxy", "token", &format!("the-{scope}"), "--scope", scope],
            ));
            assert_eq!(code, 0, "{said}");
            let secret = said.split_whitespace().find(|word| word.starts_with("cirque_")).unwrap().to_owned();
            let line =
                said.lines().find(|line| line.contains(&format!(":{scope}:"))).unwrap().trim().to_owned();
            (secret, line)
        })
        .collect();
    let lines: Vec<&str> = tokens.iter().map(|(_, line)| line.as_str()).collect();
    let edge =
        Edge::builder().backend(&a).toml(&format!("server.admin_tokens = [{}]", lines.join(", "))).start();
    let ask = |token: Option<&str>, method: &str, target: &str| {
        let mut request = Request::new(method, target);
        if let Some(token) = token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        Client::to(edge.admin()).send(&request).status
    };
    let (reader, changer) = (tokens[0].0.as_str(), tokens[1].0.as_str());
    for (token, method, target, status) in [
        (None, "GET", "/livez", 200),
        (None, "GET", "/metrics", 401),
        (Some("cirque_guess"), "GET", "/metrics", 401),
        (Some(reader), "GET", "/metrics", 200),
        (Some(reader), "GET", "/v1/upstreams", 200),
        (Some(reader), "POST", "/v1/reload", 403),
        (None, "POST", "/v1/reload", 401),
        (Some(changer), "POST", "/v1/reload", 200),
    ] {
        assert_eq!(ask(token, method, target), status, "{method} {target}");
    }
    let (code, said) = cirque(&edge, &["history"]);
    assert_eq!((code, said.contains("admin_tokens")), (1, true), "{said}");
    done(&edge, &["weight", "app", "a", "2", "--token", changer]);
    let log = edge.process.text(Stream::Stderr) + &edge.process.text(Stream::Stdout);
    assert!(log.contains("the-change"), "the log says whose change it was");
    assert!(!log.contains(changer), "and not with which token");
}

#[test]
fn the_admin_interface_can_be_a_socket_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let a = Backend::named("a");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let admin = format!("unix:{}", socket.display());
    let mut edge = Edge::builder().backend(&a).toml(&format!("server.admin = '{admin}'")).launch();
    edge.wait_until_listening();
    let mode = fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let ask = || ended(Process::cirque("command", &["proxy", "upstreams", "--admin", &admin]));
    let (code, said) = ask();
    assert_eq!((code, said.contains("available")), (0, true), "{said}");
    // One that was left behind is no hindrance.
    edge.process.kill();
    assert!(edge.process.wait_exit(SOON).is_some());
    assert!(socket.exists());
    let again = Edge::builder().backend(&a).toml(&format!("server.admin = '{admin}'")).launch();
    again.wait_until_listening();
    assert_eq!(ask().0, 0);
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let a = Backend::named("a");
    let admin = format!("0.0.0.0:{}", ports::free());
    let mut edge = Edge::builder().backend(&a).toml(&format!("server.admin = '{admin}'")).launch();
    assert_eq!(edge.process.expect_exit(SOON), 3);
    let said = edge.process.text(Stream::Stderr);
    assert!(said.contains("server.admin") && said.contains("cirque proxy token"), "{said}");
}

#[test]
fn a_page_in_the_operators_browser_gets_nothing() {
    let a = Backend::named("a");
    let edge = Edge::before(&[&a]);
    let mut client = Client::to(edge.admin());
    for (name, value) in [("Origin", "https://evil.example.com"), ("Host", "evil.example.com")] {
        let request = Request::new("POST", "/v1/reload").header(name, value);
        client.send(&request).expect_status(403);
    }
    edge.wait_for_metric("proxy_config_reloads_total", &[("result", "applied")], 0.0);
}

#[test]
fn what_a_backend_did_of_late_is_shown() {
    let a = Backend::named("a");
    let edge = Edge::before(&[&a]);
    let id = "0123456789abcdef-of-the-one-that-failed";
    let mut client = edge.client();
    for _ in 0..2 {
        client.get("/x").expect_status(200);
    }
    a.answer_on("/y", Reply::garbage("nonsense\r\n\r\n"));
    edge.send(&Request::get("/y").header("X-Request-ID", id)).expect_status(502);
    let shown = eventually(
        "rates of the last seconds",
        SOON,
        || {
            edge.get("/x").expect_status(200);
            edge.upstreams()["upstreams"][0]["backends"][0].clone()
        },
        |shown| {
            shown["recent"]["answers_per_second"].as_f64() > Some(0.0)
                && shown["recent"]["p99_ms"].is_number()
        },
    );
    assert_eq!(shown["last_errors"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["last_errors"][0]["request_id"], id, "{shown}");
    assert_eq!(shown["last_errors"][0]["reason"], "protocol", "{shown}");
    let said = done(&edge, &["upstreams"]);
    assert!(said.contains("ANSWERS/S") && said.contains("last error protocol"), "{said}");
    let metrics = edge.metrics();
    assert!(metrics.value("proxy_upstream_connection_reuses_total", &[("backend", "a")]) >= 1.0);
    assert!(metrics.value("proxy_upstream_connect_seconds_count", &[("backend", "a")]) >= 1.0);
    assert!(metrics.value("proxy_response_body_bytes_total", &[("route", "all")]) >= 1.0);
    assert_eq!(metrics.value("proxy_refusals_total", &[("route", "all"), ("reason", "broken_answer")]), 1.0);
}
