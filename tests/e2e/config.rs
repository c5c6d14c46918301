//! What a configuration file is told when it is wrong, and what its keys about the process itself do.

use std::fs;
use std::time::Duration;

use cirque_tests::process::Stream;
use cirque_tests::{Backend, Client, Edge, Process, eventually, ports};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(15);

/// Runs `cirque proxy check` on this text; its exit code and everything it said.
fn check(text: &str) -> (i32, String) {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let file = folder.path().join("proxy.toml");
    fs::write(&file, text).expect("the temporary directory is writable");
    let arguments = ["proxy".as_ref(), "check".as_ref(), "-c".as_ref(), file.as_os_str()];
    let mut process = Process::cirque("check", &arguments);
    let code = process.expect_exit(SOON);
    (code, process.text(Stream::Stdout) + &process.text(Stream::Stderr))
}

#[test]
fn a_good_file_is_accepted() {
    let backend = Backend::start();
    let (code, said) = check(&Edge::builder().backend(&backend).render());
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_misspelled_key_names_its_neighbour() {
    let backend = Backend::start();
    let text = Edge::builder().backend(&backend).toml("client.keepalive_request = 5").render();
    let (code, said) = check(&text);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("keepalive_request") && said.contains("keepalive_requests"), "{said}");
}

#[test]
fn all_problems_are_reported_at_once_with_their_place() {
    let (code, said) = check(
        "[server]\nthreds = 2\nadmin = 'nowhere'\n\
         [client]\nclient_header_timeout = 'soon'\nkeepalive_requests = 0\n\
         [[listeners]]\nname = 'http'\naddress = '127.0.0.1:1'\n\
         [[routes]]\nname = 'r'\npaths = ['no-slash']\nupstream = 'ap'\n\
         [upstreams.app]\nbalance = 'least_con'\n[[upstreams.app.backends]]\nid = 'a'\naddress = 'x'\n",
    );
    assert_eq!(code, 3, "{said}");
    for expected in [
        "threds",
        "server.admin",
        "client.client_header_timeout",
        "client.keepalive_requests",
        "routes[0].paths[0]",
        "routes[0].upstream",
        "upstreams.app.balance",
        "upstreams.app.backends[0].address",
    ] {
        assert!(said.contains(expected), "nothing about {expected} in:\n{said}");
    }
    assert!(said.contains("  2:1  "), "line and column of `threds` in:\n{said}");
}

#[test]
fn what_is_not_toml_is_said_with_its_line() {
    let (code, said) = check("[server]\nthreads = = 2\n");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("  2:11  "), "{said}");
}

#[test]
fn an_invalid_file_starts_nothing() {
    let backend = Backend::start();
    let mut edge = Edge::builder().backend(&backend).toml("server.threads = 'many'").launch();
    assert_eq!(edge.process.expect_exit(SOON), 3);
    let said = edge.process.text(Stream::Stderr);
    assert!(said.contains("server.threads"), "{said}");
}

#[test]
fn a_missing_file_is_named() {
    let mut process = Process::cirque("run", &["proxy", "run", "-c", "/nowhere/proxy.toml"]);
    let code = process.expect_exit(SOON);
    assert!(code == 1 || code == 3, "{code}");
    assert!(process.text(Stream::Stderr).contains("/nowhere/proxy.toml"));
}

#[test]
fn an_address_in_use_is_named_and_ends_the_start() {
    let backend = Backend::start();
    let taken = Backend::start();
    let toml = format!("listeners = [{{ name = 'http', address = '{}' }}]", taken.address());
    let mut edge = Edge::builder().backend(&backend).toml(&toml).launch();
    assert_eq!(edge.process.expect_exit(SOON), 1);
    let said = edge.process.text(Stream::Stderr);
    assert!(said.contains(&taken.address().to_string()), "{said}");
}

// key: proxy.toml server.threads
#[test]
fn threads_are_as_many_as_configured() {
    let backend = Backend::start();
    let threads_with = |threads: u32| {
        let edge = Edge::builder().backend(&backend).toml(&format!("server.threads = {threads}")).start();
        edge.get("/x").expect_status(200);
        let tasks = fs::read_dir(format!("/proc/{}/task", edge.process.pid())).unwrap().count();
        i32::try_from(tasks).unwrap()
    };
    let (few, many) = (threads_with(1), threads_with(9));
    assert!((8..=10).contains(&(many - few)), "{few} threads with 1 worker, {many} with 9");
}

// key: proxy.toml server.admin
#[test]
fn the_admin_address_answers_and_the_listener_does_not_serve_it() {
    let backend = Backend::start();
    let admin = ports::address();
    let edge = Edge::builder().backend(&backend).toml(&format!("server.admin = '{admin}'")).launch();
    let ask = || {
        let mut client = Client::to(admin);
        client.try_send(&cirque_tests::Request::get("/readyz")).map(|answer| answer.status).unwrap_or(0)
    };
    eventually("the admin address answers", SOON, ask, |status| *status == 200);
    Client::to(admin).get("/livez").expect_status(200);
    Client::to(admin).get("/metrics").expect_status(200);
    Client::to(admin).get("/v1/upstreams").expect_status(200);
    Client::to(admin).get("/other").expect_status(404);
    assert_eq!(edge.get("/metrics").expect_status(200).header("x-served-by"), Some("backend"));
}

/// The process's own lines on standard error, as they are at the end.
fn own_log(toml: &str) -> String {
    let backend = Backend::start();
    backend.answer_on("/", cirque_tests::Reply::status(500));
    let toml = format!("{toml}\nupstreams.app.probe = {{ interval = '100ms', timeout = '100ms', fall = 1 }}");
    let mut edge = Edge::builder().backend(&backend).toml(&toml).start();
    edge.wait_for_metric("proxy_backend_up", &[], 0.0);
    edge.process.terminate();
    edge.process.expect_exit(SOON);
    edge.process.text(Stream::Stderr)
}

// key: proxy.toml log.level
#[test]
fn the_level_decides_which_lines_are_written() {
    let info = own_log("log.level = 'info'");
    assert!(info.contains("backend is down") && info.to_lowercase().contains("info"), "{info}");
    let warn = own_log("log.level = 'warn'");
    assert!(warn.contains("backend is down") && !warn.to_lowercase().contains("\"info\""), "{warn}");
    let error = own_log("log.level = 'error'");
    assert!(!error.contains("backend is down"), "{error}");
}

// key: proxy.toml log.format
#[test]
fn the_format_is_json_or_text() {
    let json = own_log("log.format = 'json'");
    for line in json.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "not an object: {line}");
    }
    let text = own_log("log.format = 'text'");
    assert!(text.contains("backend is down"), "{text}");
    assert!(text.lines().all(|line| !line.starts_with('{')), "{text}");
}

// key: proxy.toml access_log.output
#[test]
fn the_access_log_goes_where_it_is_told() {
    let backend = Backend::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    for output in ["stdout", "stderr", "off", file.to_str().unwrap()] {
        let mut edge =
            Edge::builder().backend(&backend).toml(&format!("access_log.output = '{output}'")).start();
        edge.get("/where").expect_status(200);
        edge.process.terminate();
        assert_eq!(edge.process.expect_exit(SOON), 0);
        let (stdout, stderr) = (edge.process.text(Stream::Stdout), edge.process.text(Stream::Stderr));
        assert_eq!(stdout.contains("/where"), output == "stdout", "{output}: {stdout}");
        assert_eq!(stderr.contains("/where"), output == "stderr", "{output}: {stderr}");
    }
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 1, "{written}");
    let line: Value = serde_json::from_str(written.trim()).unwrap();
    assert_eq!(line["url.path"], "/where");
}
