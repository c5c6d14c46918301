//! What an operator asks of alerts, at the command line and over the API.

use cirque_tests::{Process, Request};

use super::*;

fn cirque(arguments: &[&str]) -> (i32, String) {
    let mut process = Process::cirque("cirque alerts", arguments);
    let code = process.expect_exit(Duration::from_secs(20));
    let lines: Vec<String> = process.lines().into_iter().map(|line| line.text).collect();
    (code, lines.join("\n"))
}

#[test]
fn an_operator_lists_tests_and_silences_alerts_from_the_command_line() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, one) = (Backend::named("hook"), Backend::named("one"));
    let edge = edge(&telling(&hook, &quick(&folder)), &[&one]).start();
    let admin = edge.admin().to_string();
    let silence = [
        "alerts",
        "silence",
        "UpstreamUnavailable",
        "--label",
        "upstream=app",
        "--for",
        "1h",
        "--reason",
        "new disk",
        "--author",
        "ada",
        "--admin",
        &admin,
    ];
    let (code, said) = cirque(&silence);
    assert_eq!(code, 0, "{said}");
    one.refuse();
    let list = || cirque(&["alerts", "list", "--admin", &admin]).1;
    let listed = eventually("it is listed as muted", SOON, list, |said| said.contains("muted    critical"));
    assert!(listed.contains("ada: new disk") && listed.contains("channel  slack"), "{listed}");
    nothing_else(&hook, 0, Duration::from_secs(2));
    let id = said.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(cirque(&["alerts", "unsilence", &id, "--admin", &admin]).0, 0);
    wait_for(&hook, &[":rotating_light: *Upstream Unavailable*"]);
    assert_eq!(cirque(&["alerts", "test", "--channel", "slack", "--admin", &admin]).0, 0);
    let (_, history) = cirque(&["alerts", "history", "--admin", &admin]);
    for word in ["silenced", "unsilenced", "firing", "told"] {
        assert!(history.contains(word), "{word} is not in\n{history}");
    }
    hook.answer_on("/slack", Reply::status(404));
    let (code, said) = cirque(&["alerts", "test", "--admin", &admin]);
    assert_eq!((code, said.contains("answered 404")), (1, true), "{said}");
    let (code, said) =
        cirque(&["alerts", "silence", "Nothing", "--for", "1h", "--reason", "x", "--admin", &admin]);
    assert_eq!(
        (code, said.contains("there is no rule \"Nothing\"; there are BackendDown,")),
        (1, true),
        "{said}"
    );
}

#[test]
fn a_script_can_ask_a_running_node_whether_it_serves() {
    let server = postgres::Server::start(&[]);
    let mut node =
        Node::builder().toml(&format!("database.url = '{}'\nhealth.timeout = '500ms'", server.url())).start();
    let url = format!("http://{}", node.address());
    let check = || cirque_app_check(&url);
    assert_eq!(check(), (0, true));
    let mut server = server;
    server.process.interrupt();
    eventually("it does not serve", SOON, check, |found| *found == (1, true));
    // A database that is gone does not keep it from stopping.
    node.process.terminate();
    node.process.expect_exit(Duration::from_secs(10));
}

/// The exit code, and whether the services are told.
fn cirque_app_check(url: &str) -> (i32, bool) {
    let mut process = Process::cirque("cirque app check", &["app", "check", "--live", url]);
    let code = process.expect_exit(Duration::from_secs(20));
    (code, process.lines().iter().any(|line| line.text.starts_with("database ")))
}

#[test]
fn a_nodes_alerts_are_for_admins_and_what_it_told_is_for_nodes_alone() {
    let node = Node::builder().start();
    node.get("/api/alerts").expect_status(401);
    node.get("/api/alerts/word").expect_status(401);
    let file = node.folder().join("app.toml");
    let token = |name: &str, role: &str| {
        let email = format!("{name}@example.com");
        let user = [
            "user".to_owned(),
            "create".to_owned(),
            name.to_owned(),
            format!("--email={email}"),
            format!("--role={role}"),
        ];
        let token = ["token", "create", name, "--ability=posts:read", "--expires=1h"].map(str::to_owned);
        let made = [user.to_vec(), token.to_vec()].map(|arguments| {
            let mut all = vec!["app".to_owned()];
            all.extend(arguments);
            all.push(format!("--config={}", file.display()));
            let mut process = Process::cirque("cirque app", &all);
            assert_eq!(process.expect_exit(Duration::from_secs(30)), 0, "{:#?}", process.lines());
            process.text(cirque_tests::process::Stream::Stdout)
        });
        made[1].split_whitespace().find(|word| word.len() > 30).unwrap_or_default().to_owned()
    };
    let ask = |method: &str, path: &str, body: &str, token: &str| {
        let request = Request::new(method, path).header("Authorization", &format!("Bearer {token}"));
        node.client().send(&request.header("Content-Type", "application/json").body(body))
    };
    let (admin, editor) = (token("ada", "admin"), token("eve", "editor"));
    ask("GET", "/api/alerts", "", &editor).expect_status(403);
    let view = ask("GET", "/api/alerts", "", &admin).expect_status(200).json();
    let rules = view["rules"].as_array().map_or(0, Vec::len);
    assert_eq!((rules, &view["alerts"]), (4, &serde_json::json!([])), "{view}");
    let wanted = r#"{"rule":"HighErrorRate","reason":"load test","seconds":60}"#;
    let silence = ask("POST", "/api/alerts/silences", wanted, &admin).expect_status(201).json();
    let id = silence["id"].as_str().unwrap_or_default();
    ask("DELETE", &format!("/api/alerts/silences/{id}"), "", &admin).expect_status(204);
    ask("DELETE", &format!("/api/alerts/silences/{id}"), "", &admin).expect_status(404);
    ask("POST", "/api/alerts/silences", r#"{"rule":"HighErrorRate","reason":"","seconds":60}"#, &admin)
        .expect_status(422);
    let history = ask("GET", "/api/alerts/history", "", &admin).expect_status(200).json();
    assert_eq!(history["history"][0]["what"], "unsilenced", "{history}");
}
