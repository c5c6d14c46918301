//! Decides how Redis runs for tests: one server, a group with sentinels, or a cluster; each process ends with its owner.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;

const START: Duration = Duration::from_secs(30);

/// What the sentinels call the group.
pub const GROUP: &str = "site";

/// Nothing here must survive a crash, and a replica follows at once.
const SETTINGS: &[&str] =
    &["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--loglevel", "warning"];

/// One server, to be stopped, frozen and configured by a test. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    address: SocketAddr,
    folder: TempDir,
    arguments: Vec<String>,
    /// What `redis-cli` needs to get in.
    access: Vec<String>,
}

impl Server {
    /// Starts it with more settings, as on its command line: `--maxmemory`, `100mb`.
    #[track_caller]
    pub fn start(settings: &[&str]) -> Server {
        Server::prepared(settings, &[], |_| {})
    }

    /// As [`Server::start`], after `prepare` put files into its folder, which settings may call `{folder}`; `access` is
    /// what `redis-cli` needs to get in.
    #[track_caller]
    pub fn prepared(settings: &[&str], access: &[&str], prepare: impl FnOnce(&Path)) -> Server {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        prepare(folder.path());
        let address = ports::address();
        let place = folder.path().display().to_string();
        let filled = |text: &&str| text.replace("{folder}", &place);
        let port = address.port().to_string();
        let mut arguments: Vec<String> = ["--bind", "127.0.0.1", "--dir", &place].map(str::to_owned).into();
        arguments.extend(SETTINGS.iter().map(|text| (*text).to_owned()));
        let kind = if settings.contains(&"--tls-cert-file") { "--tls-port" } else { "--port" };
        if kind == "--tls-port" {
            arguments.extend(["--port", "0"].map(str::to_owned));
        }
        arguments.extend([kind.to_owned(), port]);
        arguments.extend(settings.iter().map(filled));
        let access: Vec<String> = access.iter().map(filled).collect();
        own(folder.path());
        let process = Process::spawn("redis-server", unprivileged("redis-server").args(&arguments));
        let server = Server { process, address, folder, arguments, access };
        server.wait_until_it_answers();
        server
    }

    /// A sentinel for the group whose first server is at `primary`.
    #[track_caller]
    fn sentinel(primary: SocketAddr, more: &str) -> Server {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let address = ports::address();
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nloglevel warning\nsentinel monitor {GROUP} {} {} 2\n\
             sentinel down-after-milliseconds {GROUP} 1000\nsentinel failover-timeout {GROUP} 4000\n{more}\n",
            address.port(),
            folder.path().display(),
            primary.ip(),
            primary.port()
        );
        fs::write(&file, text).expect("the temporary directory is writable");
        own(folder.path());
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        let process = Process::spawn("redis-sentinel", unprivileged("redis-server").args(&arguments));
        let server = Server { process, address, folder, arguments, access: Vec::new() };
        server.wait_until_it_answers();
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `redis-cli` says.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        self.try_ask(arguments).unwrap_or_else(|error| panic!("redis-cli {arguments:?}: {error}"))
    }

    /// What `redis-cli` says, or what was wrong.
    pub fn try_ask(&self, arguments: &[&str]) -> Result<String, String> {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string(), "--no-auth-warning", "-e"]);
        cli.args(&self.access).args(arguments).stdin(Stdio::null());
        let output = cli.output().map_err(|error| format!("{error}; `scripts/test` installs Redis"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{} {}", text(&output.stdout), text(&output.stderr)))
    }

    /// Whether it takes writes.
    pub fn leads(&self) -> bool {
        self.try_ask(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
    }

    /// Kills it and waits until it is gone.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.kill();
        assert!(self.process.wait_exit(START).is_some(), "Redis does not die");
    }

    /// Starts it again, empty, on the same address.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.process.is_running() {
            self.kill();
        }
        self.process = Process::spawn("redis-server", unprivileged("redis-server").args(&self.arguments));
        self.wait_until_it_answers();
    }

    #[track_caller]
    fn wait_until_it_answers(&self) {
        let ping = || self.try_ask(&["PING"]).unwrap_or_else(|error| error);
        // One that asks for a password is there too.
        eventually("Redis answers", START, ping, |answer| answer == "PONG" || answer.contains("NOAUTH"));
    }
}

/// A primary, replicas, and three sentinels.
#[derive(Debug)]
pub struct Group {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Group {
    /// One primary and one replica, known to each other and to the sentinels.
    #[track_caller]
    pub fn start() -> Group {
        Group::with("")
    }

    /// The same, with more lines in the sentinels' configuration.
    #[track_caller]
    pub fn with(sentinel: &str) -> Group {
        let primary = Server::start(&[]);
        let port = primary.address().port().to_string();
        let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
        let sentinels =
            vec![(); 3].into_iter().map(|()| Server::sentinel(primary.address(), sentinel)).collect();
        let group = Group { servers: vec![primary, replica], sentinels };
        let linked = || group.servers[1].ask(&["INFO", "replication"]);
        eventually("the replica follows", START, linked, |info| info.contains("master_link_status:up"));
        if sentinel.is_empty() {
            for each in &group.sentinels {
                let knows = || each.try_ask(&["SENTINEL", "CKQUORUM", GROUP]).unwrap_or_else(|error| error);
                eventually("the sentinels know each other", START, knows, |said| said.starts_with("OK 3"));
                let replicas = || each.ask(&["SENTINEL", "REPLICAS", GROUP]);
                eventually("they know the replica", START, replicas, |said| {
                    said.contains("slave-repl-offset")
                });
            }
        }
        group
    }

    /// Which of the servers takes writes, as far as the sentinels know.
    #[track_caller]
    pub fn primary(&self) -> usize {
        let named = || {
            let asked =
                |sentinel: &Server| sentinel.try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP]).ok();
            let said = self.sentinels.iter().find_map(asked)?;
            let port: u16 = said.lines().last()?.trim().parse().ok()?;
            self.servers.iter().position(|server| server.address().port() == port)
        };
        eventually("a sentinel names a server", START, named, Option::is_some).unwrap_or(0)
    }

    /// `[redis]` for a node.
    pub fn toml(&self) -> String {
        format!("redis = {{ mode = 'sentinel', master = '{GROUP}', servers = {} }}\n", list(&self.sentinels))
    }
}

/// A cluster of three primaries with a replica each.
#[derive(Debug)]
pub struct Shards {
    pub servers: Vec<Server>,
}

impl Shards {
    /// Starts six servers and gives them the slots.
    #[track_caller]
    pub fn start() -> Shards {
        let one = |()| {
            // The usual distance would be beyond the ports that tests are given.
            let bus = ports::free().to_string();
            Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-port",
                &bus,
            ])
        };
        let servers: Vec<Server> = vec![(); 6].into_iter().map(one).collect();
        let shards = Shards { servers };
        let addresses: Vec<String> =
            shards.servers.iter().map(|server| server.address().to_string()).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        shards.manage(&arguments);
        let well = || {
            let asked = |server: &Server| {
                let info = server.try_ask(&["CLUSTER", "INFO"]).unwrap_or_default();
                let nodes = server.try_ask(&["CLUSTER", "NODES"]).unwrap_or_default();
                info.contains("cluster_state:ok")
                    && nodes.matches(" slave ").count() + nodes.matches("myself,slave").count() == 3
            };
            shards.servers.iter().filter(|server| asked(server)).count()
        };
        eventually("the cluster is whole", START, well, |well| *well == 6);
        shards
    }

    /// What `redis-cli --cluster …` does.
    #[track_caller]
    pub fn manage(&self, arguments: &[&str]) {
        let output = Command::new("redis-cli").args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("`scripts/test` installs Redis");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "redis-cli {arguments:?}: {said} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The servers that have slots.
    pub fn primaries(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|index| self.servers[*index].leads()).collect()
    }

    /// Moves so many slots from one server to another.
    #[track_caller]
    pub fn reshard(&self, from: usize, to: usize, slots: usize) {
        let id = |index: usize| self.servers[index].ask(&["CLUSTER", "MYID"]);
        let (from, to, slots) = (id(from), id(to), slots.to_string());
        let entry = self.servers[0].address().to_string();
        self.manage(&[
            "--cluster",
            "reshard",
            &entry,
            "--cluster-from",
            &from,
            "--cluster-to",
            &to,
            "--cluster-slots",
            &slots,
            "--cluster-yes",
        ]);
    }

    /// `[redis]` for a node.
    pub fn toml(&self) -> String {
        format!("redis = {{ mode = 'cluster', servers = {} }}\n", list(&self.servers))
    }
}

/// `[redis]` for a node with one server at this address.
pub fn toml(address: SocketAddr) -> String {
    format!("redis = {{ servers = ['{address}'] }}\n")
}

fn list(servers: &[Server]) -> String {
    let each: Vec<String> = servers.iter().map(|server| format!("'{}'", server.address())).collect();
    format!("[{}]", each.join(", "))
}

/// As root it runs as the user that its package made.
fn unprivileged(program: &str) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=redis", "--regid=redis", "--clear-groups"]).arg(program);
    command
}

/// Gives the server's files to the user it runs as.
#[track_caller]
fn own(folder: &Path) {
    if rustix::process::getuid().is_root() {
        let output = Command::new("chown").args(["-R", "redis:redis"]).arg(folder).output();
        let output = output.expect("chown is part of the system");
        assert!(
            output.status.success(),
            "{} `scripts/test` installs Redis",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_started_again_is_empty_and_at_the_same_address() {
        let mut server = Server::start(&[]);
        server.ask(&["SET", "key", "value"]);
        assert_eq!(server.ask(&["GET", "key"]), "value");
        server.restart();
        assert_eq!(server.ask(&["GET", "key"]), "");
    }
}
