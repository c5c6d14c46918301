//! Decides how PostgreSQL runs for tests: one server for all that need one at the same time, a database for each test.
//!
//! The server belongs to no test: whoever needs it holds a shared lock on a file, in this process or another; a guard
//! beside the server ends it when nobody has held that lock for a while. A test that breaks a server starts its own.

mod replication;

use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;

const START: Duration = Duration::from_secs(60);

/// The superuser of every server here.
const USER: &str = "cirque";

/// Nothing here must survive a crash of the machine.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=400",
    "shared_buffers=64MB",
    "log_min_messages=fatal",
];

/// Runs the server that its arguments say, and ends it as soon as nobody holds the lock; looks every five seconds.
const GUARD: &str = r#"
"$@" >>"$FOLDER/log" 2>&1 &
server=$!
while sleep 5 && kill -0 $server 2>/dev/null; do
    flock --exclusive --nonblock "$FOLDER/users" sh -c "kill -INT $server; while kill -0 $server; do sleep 0.05; done" && break
done 2>/dev/null
"#;

/// A database of its own on the shared server. Dropping it removes it.
#[derive(Debug)]
pub struct Database {
    name: String,
    address: SocketAddr,
}

impl Database {
    /// A new, empty one.
    #[track_caller]
    pub fn create() -> Database {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let database = Database { name: format!("test_{}_{number}", std::process::id()), address: shared() };
        // Of an earlier process with the same number that was killed.
        database.maintain(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name));
        database.maintain(&format!("CREATE DATABASE {} TEMPLATE template0", database.name));
        database
    }

    /// What `database.url` is set to.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/{}", self.address, self.name)
    }

    #[track_caller]
    fn maintain(&self, sql: &str) {
        psql(self.address, "postgres", sql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.maintain(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A server of its own, to be stopped or configured by one test. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    address: SocketAddr,
    folder: TempDir,
    settings: Vec<String>,
}

impl Server {
    /// Starts it with more settings, like `ssl=on`.
    #[track_caller]
    pub fn start(settings: &[&str]) -> Server {
        Server::prepared(settings, |_| {})
    }

    /// As [`Server::start`], after `prepare` put files into the server's folder.
    #[track_caller]
    pub fn prepared(settings: &[&str], prepare: impl FnOnce(&Path)) -> Server {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        initialise(folder.path());
        prepare(folder.path());
        own(folder.path());
        let address = ports::address();
        let settings = owned(settings);
        let process = Process::spawn("postgres", &mut server(folder.path(), address, &settings));
        wait_until_it_answers(address);
        Server { process, address, folder, settings }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of a database that is always there.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/postgres", self.address)
    }

    /// Starts it again after it was stopped; what was written is still there.
    #[track_caller]
    pub fn restart(&mut self, settings: &[&str]) {
        self.process.interrupt();
        assert!(self.process.wait_exit(START).is_some(), "PostgreSQL does not stop");
        self.settings = owned(settings);
        self.revive();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that waits for its clients, or cannot move, would not end.
        self.thaw();
        self.process.interrupt();
    }
}

fn owned(settings: &[&str]) -> Vec<String> {
    settings.iter().map(|&setting| setting.to_owned()).collect()
}

/// The address of the server that all tests share; it runs for as long as this process does.
fn shared() -> SocketAddr {
    static SHARED: OnceLock<(SocketAddr, File)> = OnceLock::new();
    SHARED.get_or_init(join).0
}

fn join() -> (SocketAddr, File) {
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("cirque-test-postgres-{user}"));
    fs::create_dir_all(&folder).expect("the temporary directory is writable");
    let users = locked(&folder.join("users"), FlockOperation::LockShared);
    let _starting = locked(&folder.join("starting"), FlockOperation::LockExclusive);
    let noted = folder.join("address");
    let known = fs::read_to_string(&noted).ok().and_then(|text| text.trim().parse::<SocketAddr>().ok());
    if let Some(address) = known.filter(|address| answers(*address)) {
        return (address, users);
    }
    let address = ports::address();
    let _ = fs::remove_file(&noted);
    initialise(&folder);
    own(&folder);
    let inner = server(&folder, address, &[]);
    let mut guard = Command::new("setsid");
    guard.args(["--fork", "sh", "-c", GUARD, "guard"]).arg(inner.get_program()).args(inner.get_args());
    guard.env("FOLDER", &folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(guard.status().expect("setsid is part of the system").success(), "{guard:?}");
    wait_until_it_answers(address);
    fs::write(noted, address.to_string()).expect("the temporary directory is writable");
    (address, users)
}

fn locked(path: &Path, how: FlockOperation) -> File {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.expect("the temporary directory is writable");
    flock(&file, how).expect("the temporary directory can be locked");
    file
}

/// Makes the files of a new server below `folder`, whatever was there.
#[track_caller]
fn initialise(folder: &Path) {
    let data = folder.join("data");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir(&data).expect("the temporary directory is writable");
    own(folder);
    let mut initdb = unprivileged("initdb");
    initdb.args([
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--auth=trust",
        "--username",
        USER,
        "-D",
    ]);
    expect_success(initdb.arg(data));
}

fn server(folder: &Path, address: SocketAddr, settings: &[String]) -> Command {
    let mut command = unprivileged("postgres");
    command.arg("-D").arg(folder.join("data"));
    command.args(["-c", &format!("port={}", address.port())]);
    command.args(["-c", &format!("listen_addresses={}", address.ip())]);
    command.args(["-c", &format!("unix_socket_directories={}", folder.display())]);
    for setting in SETTINGS.iter().copied().chain(settings.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    command
}

/// PostgreSQL refuses to run as root, so it is then run as the user that its package made.
fn unprivileged(program: &str) -> Command {
    let program = found(program);
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// Gives the server's files to the user it runs as.
#[track_caller]
fn own(folder: &Path) {
    if rustix::process::getuid().is_root() {
        expect_success(Command::new("chown").args(["-R", "postgres:postgres"]).arg(folder));
    }
}

/// Debian keeps each version's programs in a folder of their own; the newest is taken.
fn found(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    programs.sort_by_key(|path| path.components().nth(4).map(|part| part.as_os_str().to_owned()));
    programs.pop().unwrap_or_else(|| program.into())
}

/// Carries out one statement in the database `name`.
#[track_caller]
pub fn psql(address: SocketAddr, name: &str, sql: &str) {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--host", &address.ip().to_string()]);
    psql.args([
        "--port",
        &address.port().to_string(),
        "--username",
        USER,
        "--dbname",
        name,
        "--command",
        sql,
    ]);
    expect_success(psql.env("PGOPTIONS", "-c client_min_messages=warning"));
}

#[track_caller]
fn expect_success(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("could not start {command:?}: {error}; `scripts/test` installs PostgreSQL")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A server that starts accepts connections before it lets anybody in.
#[track_caller]
fn wait_until_it_answers(address: SocketAddr) {
    let ready = || {
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "--host", &address.ip().to_string(), "--username", USER]);
        command.args([
            "--port",
            &address.port().to_string(),
            "--dbname",
            "postgres",
            "--command",
            "SELECT 1",
        ]);
        command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
    };
    eventually("PostgreSQL answers", START, ready, |ready| *ready);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_has_a_database_of_its_own() {
        let (one, two) = (Database::create(), Database::create());
        assert_ne!(one.url(), two.url());
        psql(one.address, &one.name, "CREATE TABLE posts (id BIGINT)");
        psql(two.address, &two.name, "CREATE TABLE posts (id BIGINT)");
        let name = one.name.clone();
        drop(one);
        psql(two.address, "postgres", &format!("CREATE DATABASE {name}"));
        psql(two.address, "postgres", &format!("DROP DATABASE {name}"));
    }

    #[test]
    fn a_server_that_is_started_again_has_kept_what_was_written() {
        let mut server = Server::start(&[]);
        psql(server.address(), "postgres", "CREATE TABLE kept (id BIGINT)");
        server.restart(&[]);
        psql(server.address(), "postgres", "SELECT id FROM kept");
    }
}
