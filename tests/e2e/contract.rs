//! Holds the API to its own description, with programs that others wrote: a validator and a fuzzer.

use std::path::Path;
use std::process::Stdio;

use cirque_tests::node::{self, Node};
use cirque_tests::postgres::Database;
use cirque_tests::python;
use serde_json::Value;

use crate::accounts::app;

/// Requests that the fuzzer must have sent, over each database.
const REQUESTS: u64 = 2_000;

#[test]
fn the_description_is_valid() {
    let node = Node::builder().start();
    let file = node.folder().join("openapi.json");
    std::fs::write(&file, node.get("/api/openapi.json").expect_status(200).text()).unwrap();
    let output = python::program("openapi-spec-validator").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_fuzzer_finds_nothing_over_sqlite_that_the_description_does_not_say() {
    let sent = fuzzed(Node::builder(), "30", "1");
    assert!(sent >= REQUESTS, "{sent}");
}

/// Fewer examples of each, and others: what differs is what PostgreSQL says to them.
#[test]
fn a_fuzzer_finds_nothing_over_postgresql_that_the_description_does_not_say() {
    let database = Database::create();
    let sent = fuzzed(Node::builder().toml(&format!("database.url = '{}'", database.url())), "14", "2");
    assert!(sent >= REQUESTS, "{sent}");
}

/// All checks of schemathesis, over all that is described, with a token that may do everything; how many requests it
/// sent. They are the same each time; CONTRACT_SEED makes it send others.
#[track_caller]
#[expect(clippy::print_stdout, reason = "how many requests were sent is worth reading")]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on says where and why")]
fn fuzzed(builder: node::Builder, examples: &str, seed: &str) -> u64 {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A body as long as the description allows, with every letter escaped, is larger than is usual.
    let node = builder
        .posts(300)
        .toml("server.max_body_size = '32MiB'\nauth.login_attempts = 1000\nlog.level = 'error'")
        // Nobody takes its mails; what waits for that waits in the queue.
        .toml("mail.smtp = 'smtp://127.0.0.1:1'\nserver.public_url = 'http://site.test'")
        .start();
    let file = node.folder().join("app.toml");
    let abilities = ["--ability", "posts:read", "--ability", "posts:write", "--ability", "queue:manage"];
    // An admin: operators' routes are fuzzed as well.
    let token = app(&[&["token", "create", "ada", "--expires", "1d"][..], &abilities].concat(), &file);
    // Another account for signing in and out.
    let said = app(&["user", "create", "otto", "--email", "otto@example.com"], &file);
    let password = said.split("the password of otto is ").nth(1).and_then(|rest| rest.split(' ').next());
    let address = format!("http://{}", node.address());
    let report = node.folder().join("report.json");
    let seed = std::env::var("CONTRACT_SEED").unwrap_or_else(|_| seed.to_owned());
    let output = python::program("schemathesis")
        .args(["run", &format!("{address}/api/openapi.json"), "--url", &address])
        .args(["--checks", "all", "--max-response-time", "10"])
        .args(["--max-examples", examples, "--seed", &seed, "--continue-on-failure", "--no-color"])
        .args(["--generation-database", "none", "--report", "json", "--report-json-path"])
        .arg(&report)
        .env("SCHEMATHESIS_HOOKS", tests.join("contract/hooks.py"))
        .env("CONTRACT_ADDRESS", &address)
        .env("CONTRACT_TOKEN", token.trim())
        .env("CONTRACT_EMAIL", "otto@example.com")
        .env("CONTRACT_PASSWORD", password.expect("it is shown once"))
        .current_dir(node.folder())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let sent = report["test_cases"]["generated"].as_u64().unwrap();
    println!("{sent} requests with seed {seed} found nothing");
    assert_eq!(report["operations"]["tested"], report["operations"]["total"], "{report}");
    sent
}
