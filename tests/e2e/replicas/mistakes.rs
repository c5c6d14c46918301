//! Addresses of servers that are wrong: `cirque app check` and the log say so from the start, with what to do.

use cirque_tests::chaos::Abyss;
use cirque_tests::postgres::Server;
use cirque_tests::process::{Process, Stream};
use cirque_tests::redis;
use cirque_tests::{Node, eventually};
use serde_json::Value;

use super::{BOUND, PRIMARY};

#[test]
fn replicas_that_are_none_and_a_redis_that_lets_nobody_in_are_told_with_what_to_do() {
    let (primary, other) = (Server::start(PRIMARY), Server::start(&[]));
    let replica = primary.replica();
    let abyss = Abyss::open();
    let guarded = redis::Server::prepared(&["--requirepass", "right"], &["-a", "right"], |_| {});
    let nowhere = format!("postgres://cirque@{}/nowhere", replica.address());
    let replicas = format!(
        "['{}', '{}', '{nowhere}', 'postgres://cirque@{}/postgres']",
        replica.url(),
        other.url(),
        abyss.address()
    );
    let builder = Node::builder().toml(&format!(
        "database = {{ url = '{}', replicas = {replicas}, acquire_timeout = '1s' }}\nredis = {{ servers = ['{}'], password = 'wr0ng' }}\n",
        primary.url(),
        guarded.address()
    ));
    let file = builder.write();
    let node = builder.start();
    let check = || {
        let mut check = Process::cirque("check", &["app", "check", "-c", &file.display().to_string()]);
        assert_eq!(check.expect_exit(BOUND), 0, "a node starts with these: {:#?}", check.lines());
        check.text(Stream::Stdout)
    };
    let said = check();
    for (line, words) in [
        ("primary        ok", primary.address().to_string()),
        ("replica        ok", replica.address().to_string()),
        (
            "replica        WARNING",
            format!("{} would not be read from (not_a_replica): it takes writes itself", other.address()),
        ),
        ("replica        WARNING", "database \"nowhere\" does not exist".to_owned()),
        ("replica        WARNING", format!("{} would not be read from (unreachable): ", abyss.address())),
        ("redis          WARNING", "Password authentication failed".to_owned()),
    ] {
        assert!(
            said.lines().any(|said| said.starts_with(line) && said.contains(&words)),
            "{line} {words}:\n{said}"
        );
    }
    assert!(!said.contains("wr0ng"), "{said}");
    // The node's log says the same once, and no more.
    let told = |server: &str| -> Vec<Value> {
        let lines = node.process.json_lines().into_iter();
        lines
            .filter(|line| line["message"] == "replica is not read from" && line["server"] == server)
            .collect()
    };
    let name = other.address().to_string();
    let lines = eventually("it is told", BOUND, || told(&name), |lines| !lines.is_empty());
    assert_eq!((lines.len(), &lines[0]["reason"]), (1, &"not_a_replica".into()), "{lines:?}");
    assert!(
        lines[0]["error.chain"].as_str().unwrap_or_default().contains("database.successors"),
        "{lines:?}"
    );
    let name = abyss.address().to_string();
    let lines = eventually("it is told", BOUND, || told(&name), |lines| !lines.is_empty());
    assert!(!lines[0]["error.chain"].as_str().unwrap_or_default().is_empty(), "{lines:?}");
    node.get("/api/v1/posts").expect_status(200);
}
