//! The guide for those who come from nginx tells the truth: its keys exist, and its examples do what they say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cirque_tests::{Backend, Edge, Process, Reply, Request, document, eventually};
use toml::{Table, Value};

const GUIDE: &str = "docs/guides/from-nginx.md";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let marked = text.split("```").skip(1).step_by(2);
    marked.filter_map(|block| block.strip_prefix(&format!("{language}\n"))).map(str::to_owned).collect()
}

/// Every key of a configuration; rows are `[]`, tables that the operator names are `*`.
fn keys(prefix: &str, table: &Table, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let is_named = matches!(prefix, "upstreams." | "rate_limits.");
        let path = format!("{prefix}{}", if is_named { "*" } else { key });
        match value {
            Value::Table(inner) => keys(&format!("{path}."), inner, found),
            Value::Array(rows) if rows.iter().any(Value::is_table) => {
                for row in rows.iter().filter_map(Value::as_table) {
                    keys(&format!("{path}[]."), row, found);
                }
            }
            _ => drop(found.insert(path)),
        }
    }
}

#[test]
fn every_key_of_the_tables_exists() {
    let mut known = BTreeSet::new();
    keys("", &read("conf/proxy.toml").parse().expect("the reference is TOML"), &mut known);
    let guide = read(GUIDE);
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    let mut unknown = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let named: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() && cells.len() == 5, "{row}");
        unknown.extend(named.into_iter().filter(|key| !known.contains(*key)));
    }
    assert!(unknown.is_empty(), "not in conf/proxy.toml: {unknown:?}");
}

#[test]
fn every_configuration_of_the_guide_is_accepted() {
    let examples = blocks(&read(GUIDE), "toml");
    assert!(examples.len() >= 2);
    for example in examples {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let file = folder.path().join("proxy.toml");
        fs::write(&file, &example).expect("the temporary directory is writable");
        let mut check =
            Process::cirque("check", &["proxy".as_ref(), "check".as_ref(), "-c".as_ref(), file.as_os_str()]);
        assert_eq!(check.expect_exit(Duration::from_secs(15)), 0, "{example}");
    }
}

/// `least_conn`: three requests, each sent while those before it are held, go to three servers.
fn held_requests_go_to_three(edge: &Edge, backends: &[Backend]) {
    let arrived = Arc::new(AtomicUsize::new(0));
    let wait = |arrived: &AtomicUsize, all: usize| {
        let now = || arrived.load(Ordering::Relaxed);
        eventually("they arrive", Duration::from_secs(20), now, |now| *now == all);
    };
    for backend in backends {
        let arrived = Arc::clone(&arrived);
        backend.script(move |request| {
            if request.path() == "/held" {
                arrived.fetch_add(1, Ordering::Relaxed);
                wait(&arrived, 3);
            }
            Reply::ok("x")
        });
    }
    std::thread::scope(|scope| {
        for n in 1..=3 {
            scope.spawn(|| edge.get("/held").expect_status(200).status);
            wait(&arrived, n);
        }
    });
    for backend in backends {
        assert_eq!(backend.requests_to("/held").len(), 1, "{}", backend.name());
    }
}

#[test]
fn the_first_example_does_what_nginxs_does() {
    let backends: Vec<Backend> = (1..=3).map(|n| Backend::named(&format!("app-{n}"))).collect();
    let example: Table = blocks(&read(GUIDE), "toml")[0].parse().expect("it is accepted");
    let mut edge = Edge::builder().toml("upstreams.app.probe = { path = '/probed' }");
    for part in ["routes", "defaults", "upstreams"] {
        let mut part = Table::from_iter([(part.to_owned(), example[part].clone())]);
        if let Some(rows) = part.get_mut("upstreams").map(|upstreams| &mut upstreams["app"]["backends"]) {
            for (row, backend) in rows.as_array_mut().expect("three servers").iter_mut().zip(&backends) {
                row["address"] = backend.address().to_string().into();
            }
        }
        edge = edge.toml(&document::render(&part));
    }
    let edge = edge.start();
    held_requests_go_to_three(&edge, &backends);
    // The four proxy_set_header, against a client that forges them.
    let forged = Request::get("/told").header("Host", "www.example.com:8080").header("X-Real-IP", "6.6.6.6");
    edge.send(&forged.header("X-Forwarded-For", "6.6.6.6").header("X-Forwarded-Proto", "https"))
        .expect_status(200);
    let told: Vec<_> = backends.iter().flat_map(|backend| backend.requests_to("/told")).collect();
    for (name, expected) in [
        ("host", "www.example.com"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        let fields = told[0].headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = fields.map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [expected], "{name}");
    }
    // proxy_next_upstream, for each of its words, and max_fails after three of them; its probes find it well.
    backends[0].answer_on("/probed", Reply::ok("well"));
    for (n, reply) in [Reply::status(500), Reply::status(502), Reply::status(503)].into_iter().enumerate() {
        backends[0].answer(reply);
        for _ in 0..6 {
            edge.get(&format!("/failing-{n}")).expect_status(200);
        }
    }
    // A server that fails is asked less often, so it may take more requests than these until it has failed three times.
    let state = || {
        edge.get("/until-ejected").expect_status(200);
        edge.upstreams()["upstreams"][0]["backends"][0]["outlier"].clone()
    };
    eventually("three failures within 30 s eject", Duration::from_secs(20), state, |state| {
        state == "ejected"
    });
    for _ in 0..6 {
        edge.get("/spared").expect_status(200);
    }
    assert!(backends[0].requests_to("/spared").is_empty(), "it is left alone");
    backends[1].refuse();
    edge.get("/refused").expect_status(200);
}

/// Imports a configuration of nginx; the exit code.
fn import(file: &Path) -> (i32, Process) {
    let mut import =
        Process::cirque("import", &["proxy".as_ref(), "import-nginx".as_ref(), file.as_os_str()]);
    (import.expect_exit(Duration::from_secs(15)), import)
}

#[test]
fn nginxs_first_example_is_imported_whole_and_debians_default_says_what_it_serves_from_files() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let file = folder.path().join("nginx.conf");
    let example = &blocks(&read(GUIDE), "nginx")[0];
    fs::write(&file, format!("events {{}}\nhttp {{\n{example}\n}}\n")).expect("it is writable");
    assert_eq!(import(&file).0, 0, "{example}");
    let (code, import) = import(Path::new("/etc/nginx/nginx.conf"));
    assert_eq!(code, 3);
    import.wait_for_line("`try_files` is not carried over", Duration::from_secs(5));
}
