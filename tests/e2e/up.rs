//! `cirque up`: one command, a whole site; one clear error when it cannot be; nothing left behind.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cirque_tests::process::{Stream, cirque_binary, is_alive};
use cirque_tests::{Backend, Client, Cluster, Connection, Request, eventually, ports};
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(30);

/// Fails unless `cirque up` ended with code 1, one error that names this, and no process that knows the directory.
#[track_caller]
fn expect_refusal(mut cluster: Cluster, named: &str) {
    let code = cluster.process.expect_exit(SOON);
    let said = cluster.process.text(Stream::Stderr);
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.lines().count(), 1, "one clear error:\n{said}");
    assert!(said.contains(named), "{named} is not named:\n{said}");
    let data_dir = cluster.data_dir().to_owned();
    eventually("nothing is left running", Duration::from_secs(5), || mentioning(&data_dir), Vec::is_empty);
}

/// The command lines of all processes that mention this path.
fn mentioning(path: &Path) -> Vec<String> {
    let path = path.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&path)).map(|line| line.replace('\0', " ")).collect()
}

#[test]
fn it_prints_addresses_and_three_curl_lines_that_answer() {
    let cluster = Cluster::start();
    cluster.process.wait_for_line("curl", SOON);
    let printed = eventually(
        "three curl lines are printed",
        SOON,
        || cluster.process.text(Stream::Stdout),
        |text| text.matches("curl").count() >= 3,
    );
    for address in [cluster.address(), cluster.admin(), cluster.node_address(1), cluster.node_address(3)] {
        assert!(printed.contains(&address.to_string()), "{address} is not in:\n{printed}");
    }
    assert!(printed.contains(&cluster.data_dir().display().to_string()), "{printed}");
    for line in printed.lines().filter(|line| line.contains("curl ")) {
        let url = line.split(['\'', '"', ' ']).find(|word| word.starts_with("http://")).expect(line);
        let (host, path) = url.trim_start_matches("http://").split_once('/').expect(url);
        Client::to(host.parse().expect(host)).get(&format!("/{path}")).expect_status(200);
    }
}

/// As docs/guides/monitoring.md has it.
#[test]
fn commands_in_its_directory_find_its_database_and_the_token_that_they_make_opens_its_alerts() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let cluster = Cluster::builder().nodes(1).data_dir(&folder.path().join("var")).start();
    let cirque = |arguments: &[&str]| {
        let mut command = Command::new(cirque_binary());
        let output = command.args(arguments).current_dir(folder.path()).output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    let token = cirque(&["app", "token", "create", "ada", "--ability", "posts:read", "--expires", "1d"]);
    let node = cluster.node_address(1).to_string();
    let listed = cirque(&["alerts", "list", "--app", &node, "--token", token.trim()]);
    assert!(listed.contains("nothing fires"), "{listed}");
    assert!(cirque(&["app", "check", "--live", &format!("http://{node}")]).contains("healthy"));
}

#[test]
fn a_node_that_dies_is_started_again_and_a_line_says_so() {
    let cluster = Cluster::start();
    let before = cluster.node_pid(2);
    let lines = cluster.process.lines().len();
    cluster.kill_node(2);
    cluster.wait_for_node(2);
    assert_ne!(cluster.node_pid(2), before);
    let said: Vec<String> = cluster.process.lines().into_iter().skip(lines).map(|line| line.text).collect();
    assert!(said.iter().any(|line| line.contains("app-2") || line.contains("node 2")), "{said:#?}");
}

#[test]
fn sigterm_stops_everything_within_two_seconds_when_idle() {
    for signal in ["TERM", "INT"] {
        let mut cluster = Cluster::start();
        cluster.client().get("/api/v1/posts").expect_status(200);
        let children = cluster.process.descendants();
        assert!(children.len() >= 4, "an edge and three nodes: {children:?}");
        let began = Instant::now();
        if signal == "TERM" {
            cluster.process.terminate()
        } else {
            cluster.process.interrupt()
        }
        assert_eq!(cluster.process.expect_exit(Duration::from_secs(10)), 0, "{signal}");
        assert!(began.elapsed() < Duration::from_secs(2), "{signal}: {:?}", began.elapsed());
        let alive: Vec<u32> = children.into_iter().filter(|pid| is_alive(*pid)).collect();
        assert!(alive.is_empty(), "{signal}: still alive: {alive:?}");
    }
}

#[test]
fn nothing_outlives_it_even_when_it_is_killed() {
    let mut cluster = Cluster::start();
    let children = cluster.process.descendants();
    assert!(children.len() >= 4, "an edge and three nodes: {children:?}");
    cluster.process.kill();
    assert!(cluster.process.wait_exit(SOON).is_some());
    let alive = || children.iter().filter(|pid| is_alive(**pid)).copied().collect::<Vec<u32>>();
    eventually("its children end too", Duration::from_secs(10), alive, Vec::is_empty);
}

#[test]
fn requests_in_flight_are_finished_before_it_stops() {
    let mut cluster = Cluster::start();
    let mut busy: Vec<Connection> = (0..8).map(|_| Connection::open(cluster.address())).collect();
    for connection in &mut busy {
        connection.write(Request::get("/api/v1/posts?per_page=50").to_bytes()).unwrap();
    }
    for connection in &mut busy {
        // The head is there: all eight are being answered when the signal comes.
        assert!(connection.read_some(1).unwrap() == b"H");
    }
    cluster.process.terminate();
    for connection in &mut busy {
        let rest = connection.read_until_close(Duration::from_secs(10)).expect("closed after the answer");
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(text.starts_with("TTP/1.1 200"), "{text}");
        assert!(text.trim_end().ends_with('}') || text.ends_with("0\r\n\r\n"), "the answer was cut: {text}");
    }
    assert_eq!(cluster.process.expect_exit(Duration::from_secs(10)), 0);
}

#[test]
fn a_port_in_use_is_one_clear_error() {
    let taken = Backend::start();
    let port = taken.address().port().to_string();
    expect_refusal(Cluster::builder().listen(taken.address()).launch(), &port);
    expect_refusal(Cluster::builder().base_port(taken.address().port()).launch(), &port);
    // The last of three node ports.
    let first = ports::consecutive(3);
    let _last = std::net::TcpListener::bind(("127.0.0.1", first + 2)).unwrap();
    expect_refusal(Cluster::builder().base_port(first).launch(), &(first + 2).to_string());
}

#[test]
fn a_directory_that_cannot_be_written_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let data_dir = file.join("data");
    expect_refusal(Cluster::builder().data_dir(&data_dir).launch(), &file.display().to_string());
}

#[test]
fn a_second_site_in_the_same_directory_is_one_clear_error() {
    let first = Cluster::start();
    let second = Cluster::builder().data_dir(first.data_dir());
    let mut second = second.launch();
    let code = second.process.expect_exit(SOON);
    let said = second.process.text(Stream::Stderr);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains(&first.data_dir().display().to_string()), "{said}");
    assert!(TcpStream::connect(second.address()).is_err(), "the second site is not listening");
    first.client().get("/api/v1/posts").expect_status(200);
}

#[test]
fn a_site_that_is_started_again_has_its_posts_and_seeds_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let total = |cluster: &Cluster| {
        let body = cluster.client().get("/api/v1/posts").expect_status(200).json();
        body["meta"]["total"].as_u64().unwrap_or_else(|| panic!("no total in {body}"))
    };
    let mut first = Cluster::builder().nodes(1).data_dir(folder.path()).start();
    let seen = total(&first);
    assert!(seen > 0);
    first.process.terminate();
    assert_eq!(first.process.expect_exit(Duration::from_secs(10)), 0);
    let second = Cluster::builder().nodes(1).data_dir(folder.path()).start();
    assert_eq!(total(&second), seen);
}
