//! What the service manager is told, and the units that it is given.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cirque_tests::node::Builder;
use cirque_tests::process::{Process, Signal, Stream, cirque_binary, signal_pid};
use cirque_tests::{Backend, Edge, Node, eventually, node};

const SOON: Duration = Duration::from_secs(30);
const UNITS: [&str; 3] = ["cirque-proxy.service", "cirque-app.service", "cirque-worker.service"];

/// Plays the service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn start() -> Manager {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("the path is free");
        socket.set_nonblocking(true).expect("a socket may wait or not");
        Manager { socket, path, heard: Vec::new(), _folder: folder }
    }

    fn run(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(cirque_binary());
        command.args(arguments).env_remove("DATABASE_URL").env_remove("CIRQUE_ADMIN");
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "1000000");
        Process::spawn("cirque", &mut command)
    }

    /// Waits for so many words that begin so.
    #[track_caller]
    fn wait_for(&mut self, word: &str, count: usize) {
        let listen = || {
            let mut bytes = [0; 500];
            while let Ok(length) = self.socket.recv(&mut bytes) {
                self.heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            self.heard.clone()
        };
        let is_there =
            |heard: &Vec<String>| heard.iter().filter(|said| said.starts_with(word)).count() >= count;
        eventually(&format!("{count} times {word}"), SOON, listen, is_there);
    }
}

#[track_caller]
fn migrated(builder: Builder) -> (Builder, String) {
    let file = builder.write();
    let mut migrate = node::run(&["migrate".to_owned()], &file);
    assert_eq!(migrate.expect_exit(SOON), 0, "{:#?}", migrate.lines());
    (builder, file.display().to_string())
}

#[test]
fn a_node_and_a_worker_say_when_they_are_ready_alive_and_stopping() {
    let (_builder, file) = migrated(Node::builder());
    for command in ["serve", "work"] {
        let mut manager = Manager::start();
        let mut process = manager.run(&["app", command, "-c", &file]);
        manager.wait_for("READY=1", 1);
        manager.wait_for("WATCHDOG=1", 3);
        process.terminate();
        manager.wait_for("STOPPING=1", 1);
        assert_eq!(process.expect_exit(SOON), 0, "{command}");
        assert_eq!(manager.heard.iter().filter(|said| said.starts_with("READY=1")).count(), 1, "{command}");
    }
}

#[test]
fn a_supervisor_speaks_for_its_processes_and_says_when_it_reloads() {
    let (builder, file) = migrated(Node::builder().toml("processes.workers = 2"));
    let mut manager = Manager::start();
    let mut process = manager.run(&["app", "serve", "-c", &file]);
    manager.wait_for("READY=1", 1);
    process.signal(Signal::HUP);
    manager.wait_for("RELOADING=1", 1);
    manager.wait_for("READY=1", 2);
    fs::write(builder.folder().join("app.toml"), "nonsense").unwrap();
    process.signal(Signal::HUP);
    manager.wait_for("READY=1", 3);
    process.terminate();
    manager.wait_for("STOPPING=1", 1);
    assert_eq!(process.expect_exit(SOON), 0);
    let ready = manager.heard.iter().filter(|said| said.starts_with("READY=1")).count();
    assert_eq!(ready, 3, "its processes say nothing: {:?}", manager.heard);
}

#[test]
fn an_edge_says_who_takes_its_place() {
    let app = Backend::start();
    let builder = Edge::builder().backend(&app);
    let (admin, folder) = (builder.admin().to_string(), tempfile::tempdir().unwrap());
    let file = folder.path().join("proxy.toml");
    let state = format!("server.state_dir = '{}'", folder.path().join("state").display());
    fs::write(&file, builder.toml(&state).render()).unwrap();
    let mut manager = Manager::start();
    let mut process = manager.run(&["proxy", "run", "-c", &file.display().to_string()]);
    manager.wait_for("READY=1", 1);
    manager.wait_for("WATCHDOG=1", 3);
    process.signal(Signal::HUP);
    manager.wait_for("RELOADING=1", 1);
    manager.wait_for("READY=1", 2);
    let mut upgrade = Process::cirque("upgrade", &["proxy", "upgrade", "--json", "--admin", &admin]);
    assert_eq!(upgrade.expect_exit(SOON), 0, "{:#?}", upgrade.lines());
    let said: serde_json::Value = serde_json::from_str(&upgrade.text(Stream::Stdout)).unwrap();
    let successor = u32::try_from(said["pid"].as_u64().unwrap()).unwrap();
    manager.wait_for(&format!("MAINPID={successor}\nREADY=1"), 1);
    assert_eq!(process.expect_exit(SOON), 0);
    assert!(!manager.heard.iter().any(|said| said.starts_with("STOPPING")), "{:?}", manager.heard);
    let alive = manager.heard.iter().filter(|said| said.starts_with("WATCHDOG=1")).count();
    manager.wait_for("WATCHDOG=1", alive + 3);
    signal_pid(successor, Signal::TERM);
    manager.wait_for("STOPPING=1", 1);
    eventually("it ends", SOON, || cirque_tests::process::is_alive(successor), |alive| !alive);
}

fn units() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd"))
}

#[track_caller]
fn systemd_analyze(arguments: &[&str]) -> String {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.expect("systemd-analyze is installed by scripts/test");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn the_units_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = fs::read_to_string(units().join(unit)).unwrap();
        let binary = cirque_binary().display().to_string();
        let (copy, text) = (folder.path().join(unit), text.replace("/usr/bin/cirque", &binary));
        fs::write(&copy, text).unwrap();
        let said = systemd_analyze(&["verify", "--man=no", &copy.display().to_string()]);
        assert_eq!(said, "", "{unit}");
    }
}

/// 0 is sealed, 10 is open.
#[test]
fn the_units_are_exposed_by_less_than_three() {
    for unit in UNITS {
        let path = units().join(unit).display().to_string();
        let said = systemd_analyze(&["security", "--offline=true", "--threshold=29", &path]);
        let score = said.lines().find_map(|line| line.split("exposure level for ").nth(1));
        println!("{}", score.unwrap_or("no score"));
    }
}

/// What the units call must be commands that there are.
#[test]
fn the_units_call_commands_that_exist() {
    for unit in UNITS {
        let text = fs::read_to_string(units().join(unit)).unwrap();
        let calls =
            text.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once("=/usr/bin/cirque "));
        let mut count = 0;
        for (_, call) in calls {
            let words: Vec<&str> = call.split_whitespace().collect();
            let mut help = Process::cirque("help", &[&words[..2], &["--help"]].concat());
            assert_eq!(help.expect_exit(SOON), 0, "{unit}: {call}");
            let said = help.text(Stream::Stdout);
            let flags = words.iter().filter(|word| word.starts_with("--"));
            flags.for_each(|flag| assert!(said.contains(*flag), "{unit}: {flag} is not in\n{said}"));
            count += 1;
        }
        assert!(count >= 2, "{unit}");
    }
}

/// The guide's files are accepted, and its commands are commands.
#[test]
fn the_deployment_guide_tells_the_truth() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/deploy.md");
    let guide = fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = guide.split("```").skip(1).step_by(2).collect();
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("app.db").display());
    let mut files = 0;
    for toml in blocks.iter().filter_map(|block| block.strip_prefix("toml\n")) {
        let file = folder.path().join("file.toml");
        fs::write(&file, toml).unwrap();
        let file = file.display().to_string();
        let checks: &[&[&str]] = if toml.contains("[upstreams") {
            &[&["proxy", "check", "--config", &file]]
        } else {
            &[
                &["app", "migrate", "--config", &file, "--database", &database],
                &["app", "check", "--config", &file, "--database", &database],
            ]
        };
        for check in checks {
            let mut check = Process::cirque("check", check);
            assert_eq!(check.expect_exit(SOON), 0, "{toml}\n{:#?}", check.lines());
        }
        files += 1;
    }
    assert_eq!(files, 2);
    // What systemd reads as environment has no comments behind values.
    let set: Vec<&str> =
        blocks.iter().flat_map(|block| block.lines()).filter(|line| line.starts_with("CIRQUE_")).collect();
    assert!(!set.is_empty() && set.iter().all(|line| !line.contains([' ', '#'])), "{set:?}");
    let lines =
        blocks.iter().flat_map(|block| block.lines()).map(|line| line.split('#').next().unwrap_or(""));
    let calls = lines.filter_map(|line| line.strip_prefix("cirque ").or(line.split(" -- cirque ").nth(1)));
    let mut commands = 0;
    for call in calls {
        let words: Vec<&str> = call.split_whitespace().collect();
        let mut help = Process::cirque("help", &[&words[..2], &["--help"]].concat());
        assert_eq!(help.expect_exit(SOON), 0, "{call}");
        let said = help.text(Stream::Stdout);
        let flags = words.iter().filter(|word| word.starts_with("--"));
        flags.for_each(|flag| assert!(said.contains(*flag), "{call}: {flag} is not in\n{said}"));
        commands += 1;
    }
    assert!(commands >= 6, "{commands} commands");
}
