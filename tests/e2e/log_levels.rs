//! An operator lets a running process write more or less, for a while, and it goes back by itself.

use cirque_tests::process::Stream;
use cirque_tests::{Backend, Client, Edge, Node, Process, Request, eventually};

use crate::queue::{BOUND, app};

fn cirque(arguments: &[&str]) -> (i32, String) {
    let mut process = Process::cirque("command", arguments);
    let code = process.expect_exit(BOUND);
    (code, process.text(Stream::Stdout) + &process.text(Stream::Stderr))
}

fn lines(process: &Process, level: &str) -> usize {
    process.json_lines().iter().filter(|line| line["level"] == level).count()
}

#[test]
fn the_edges_level_is_shown_set_reset_and_ends_by_itself() {
    let backend = Backend::start();
    let edge = Edge::builder().backend(&backend).toml("log.level = 'error'").start();
    let admin = edge.admin().to_string();
    let log = |more: &[&str]| cirque(&[&["proxy", "log", "--admin", &admin], more].concat());
    assert_eq!(log(&[]), (0, "error, as configured".to_owned()));
    let reload = || {
        Client::to(edge.admin()).send(&Request::post("/v1/reload", "")).expect_status(200);
    };
    reload();
    assert_eq!(lines(&edge.process, "INFO"), 0);

    let (code, said) = log(&["info", "--for", "10m"]);
    assert!(code == 0 && said.starts_with("info for 5") && said.ends_with("configured is error"), "{said}");
    reload();
    eventually("more is written", BOUND, || lines(&edge.process, "INFO"), |lines| *lines > 0);
    let (code, said) = log(&["loud"]);
    assert!(code == 1 && said.contains("a level is one of off, error"), "{said}");
    assert_eq!(log(&["--reset"]), (0, "error, as configured".to_owned()));

    assert_eq!(log(&["cirque_proxy=debug", "--for", "1s"]).0, 0);
    eventually("it ends by itself", BOUND, || log(&[]).1, |said| said == "error, as configured");
    let before = lines(&edge.process, "INFO");
    reload();
    assert_eq!(lines(&edge.process, "INFO"), before);
}

#[test]
fn a_nodes_level_is_its_admins_to_change() {
    let node = Node::builder().posts(1).toml("log.level = 'warn'").start();
    let (file, address) = (node.folder().join("app.toml"), node.address().to_string());
    node.get("/api/admin/log").expect_status(401);
    let mut made = app(&["token", "create", "ada", "--ability", "posts:read", "--expires", "1d"], &file);
    assert_eq!(made.expect_exit(BOUND), 0, "{:#?}", made.lines());
    let token = made.text(Stream::Stdout).trim().to_owned();
    let log = |more: &[&str]| cirque(&[&["app", "log", "--app", &address, "--token", &token], more].concat());
    assert_eq!(log(&[]), (0, "warn, as configured".to_owned()));
    node.get("/api/v1/posts").expect_status(200);
    assert_eq!(lines(&node.process, "INFO"), 0);
    let (code, said) = log(&["info"]);
    assert!(code == 0 && said.contains("asked for by account"), "{said}");
    node.get("/api/v1/posts").expect_status(200);
    node.process.wait_for_line("request answered", BOUND);
    assert_eq!(log(&["--reset"]), (0, "warn, as configured".to_owned()));
    let (code, said) = cirque(&["app", "log", "--app", &address, "debug"]);
    assert!(code == 1 && said.contains("401"), "{said}");
}
