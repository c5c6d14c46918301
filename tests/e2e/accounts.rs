//! Accounts and tokens as an operator makes them from the command line, and what they open.

use std::path::Path;
use std::time::Duration;

use cirque_tests::node::{self, Node};
use cirque_tests::process::Stream;
use cirque_tests::{Request, Response};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(30);

/// What `cirque app …` says; fails the test when it does not end well.
#[track_caller]
pub(crate) fn app(arguments: &[&str], file: &Path) -> String {
    let (group, rest) = arguments.split_first().expect("there is a command");
    let mut all = vec!["app", group, rest[0], "-c"];
    let file = file.display().to_string();
    all.push(&file);
    all.extend(&rest[1..]);
    let mut process = cirque_tests::Process::cirque("app", &all);
    assert_eq!(process.expect_exit(BOUND), 0, "{:#?}", process.lines());
    process.text(Stream::Stdout)
}

fn profile(node: &Node, token: &str) -> Response {
    node.client()
        .send(&Request::get("/api/v1/auth/profile").header("Authorization", &format!("Bearer {token}")))
}

#[test]
fn an_operator_makes_accounts_and_tokens_and_ends_them() {
    let builder = Node::builder();
    let file = builder.write();
    let node = builder.start();
    let said = app(&["user", "create", "ada", "--email", "Ada@example.com", "--role", "editor"], &file);
    let password = said.split("the password of ada is ").nth(1).and_then(|rest| rest.split(' ').next());
    let password = password.expect("it is shown once").to_owned();
    assert!(!app(&["user", "list"], &file).contains(&password));
    let listed: Value = serde_json::from_str(&app(&["user", "list", "--json"], &file)).unwrap();
    assert_eq!(
        (listed["email"].as_str(), listed["role"].as_str()),
        (Some("ada@example.com"), Some("editor"))
    );

    let login = serde_json::json!({ "email": "ada@example.com", "password": password }).to_string();
    let login = Request::post("/api/v1/auth/login", login).header("Content-Type", "application/json");
    let answer = node.client().send(&login).expect_status(200).json();
    let session = answer["meta"]["token"].as_str().unwrap().to_owned();
    profile(&node, &session).expect_status(200);

    let token = app(
        &["token", "create", "ada", "--ability", "posts:write", "--expires", "90d", "--name", "ci"],
        &file,
    );
    profile(&node, token.trim()).expect_status(200);
    let list = app(&["token", "list", "--json"], &file);
    assert!(!list.contains(token.trim()), "a token is shown once");
    let ci: Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!((ci["name"].as_str(), &ci["abilities"]), (Some("ci"), &serde_json::json!(["posts:write"])));
    app(&["token", "revoke", &ci["id"].to_string()], &file);
    profile(&node, token.trim()).expect_status(401);

    // Another password ends every session.
    profile(&node, &session).expect_status(200);
    app(&["user", "password", "ada"], &file);
    profile(&node, &session).expect_status(401);
    node.client().send(&login).expect_status(401);
}

#[test]
fn an_account_that_is_there_already_is_said_so() {
    let builder = Node::builder();
    let mut migrate = node::run(&["migrate".to_owned()], &builder.write());
    assert_eq!(migrate.expect_exit(BOUND), 0, "{:#?}", migrate.lines());
    let file = builder.write();
    app(&["user", "create", "ada", "--email", "ada@example.com"], &file);
    let file = file.display().to_string();
    let mut again = cirque_tests::Process::cirque(
        "app user",
        &["app", "user", "create", "-c", &file, "ada", "--email", "other@example.com"],
    );
    assert_eq!(again.expect_exit(BOUND), 1);
    let said = again.text(Stream::Stderr);
    assert!(said.contains("there is an account with the user name ada"), "{said}");
}

#[test]
fn an_operator_sees_what_a_migration_would_do_before_it_does() {
    let builder = Node::builder();
    let file = builder.write().display().to_string();
    let migrate = |more: &[&str]| {
        let mut process =
            cirque_tests::Process::cirque("app", &[&["app", "migrate", "-c", &file][..], more].concat());
        (process.expect_exit(BOUND), process.text(Stream::Stdout))
    };
    let (code, said) = migrate(&["--dry-run"]);
    assert!(code == 0 && said.contains("would apply 0001_content"), "{said}");
    let (code, said) = migrate(&["--status"]);
    assert!(code == 0 && said.lines().all(|line| line.starts_with("missing  00")), "{said}");
    assert_eq!(migrate(&[]).0, 0);
    let (_, said) = migrate(&["--dry-run"]);
    assert!(said.trim_end().ends_with("is up to date"), "{said}");
    let (_, said) = migrate(&["--status", "--json"]);
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(first, serde_json::json!({ "version": 1, "name": "content", "applied": true }));
    assert_eq!(migrate(&["--status", "--dry-run"]).0, 2, "one at a time");
}
