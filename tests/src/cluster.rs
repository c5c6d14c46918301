//! Decides how a whole site is started with `cirque up`, and which process is which node.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{Client, wait_until_ready};
use crate::eventually::eventually;
use crate::ports;
use crate::process::{Process, is_alive, signal_pid};
use crate::scrape::Scrape;

const START: Duration = Duration::from_secs(60);

/// What `cirque up` is told.
#[derive(Debug, Clone)]
pub struct Builder {
    nodes: u16,
    seed: u32,
    data_dir: Option<PathBuf>,
    listen: SocketAddr,
    admin: SocketAddr,
    base_port: u16,
}

impl Builder {
    #[must_use]
    pub fn nodes(mut self, nodes: u16) -> Builder {
        self.nodes = nodes;
        self.base_port = ports::consecutive(nodes);
        self
    }

    /// How many posts are seeded.
    #[must_use]
    pub fn seed(mut self, posts: u32) -> Builder {
        self.seed = posts;
        self
    }

    /// A directory of the test's own, instead of a fresh one.
    #[must_use]
    pub fn data_dir(mut self, data_dir: &Path) -> Builder {
        self.data_dir = Some(data_dir.to_owned());
        self
    }

    #[must_use]
    pub fn listen(mut self, listen: SocketAddr) -> Builder {
        self.listen = listen;
        self
    }

    #[must_use]
    pub fn base_port(mut self, base_port: u16) -> Builder {
        self.base_port = base_port;
        self
    }

    /// Runs `cirque up` until the site answers and every node is there.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let cluster = self.launch();
        cluster.wait_until_ready();
        cluster
    }

    /// Runs `cirque up`, which may fail.
    pub fn launch(self) -> Cluster {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let data_dir = self.data_dir.clone().unwrap_or_else(|| folder.path().join("data"));
        let arguments = [
            "up".to_owned(),
            format!("--nodes={}", self.nodes),
            format!("--listen={}", self.listen),
            format!("--admin={}", self.admin),
            format!("--base-port={}", self.base_port),
            format!("--data-dir={}", data_dir.display()),
            format!("--seed={}", self.seed),
        ];
        let process = Process::cirque("cirque up", &arguments);
        Cluster { process, builder: self, data_dir, _folder: folder }
    }
}

/// A running site.
#[derive(Debug)]
pub struct Cluster {
    pub process: Process,
    builder: Builder,
    data_dir: PathBuf,
    _folder: TempDir,
}

impl Cluster {
    /// Three nodes and a few posts, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            nodes: 3,
            seed: 40,
            data_dir: None,
            listen: ports::address(),
            admin: ports::address(),
            base_port: ports::consecutive(3),
        }
    }

    #[track_caller]
    pub fn start() -> Cluster {
        Cluster::builder().start()
    }

    pub fn address(&self) -> SocketAddr {
        self.builder.listen
    }

    pub fn admin(&self) -> SocketAddr {
        self.builder.admin
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The address of a node, counted from 1.
    pub fn node_address(&self, node: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.builder.base_port + node - 1))
    }

    pub fn client(&self) -> Client {
        Client::to(self.address())
    }

    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        Scrape::fetch(self.admin(), "/metrics")
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_until_ready("the edge", self.admin(), START);
        for node in 1..=self.builder.nodes {
            self.wait_for_node(node);
        }
    }

    /// Waits until this node answers on its own port.
    #[track_caller]
    pub fn wait_for_node(&self, node: u16) {
        wait_until_ready(&format!("node {node}"), self.node_address(node), START);
    }

    /// The process that listens on this node's port, among the children of `cirque up`.
    #[track_caller]
    pub fn node_pid(&self, node: u16) -> u32 {
        let port = self.node_address(node).port();
        let find = || listener_of(port, &self.process.descendants());
        let what = format!("a process listens on port {port}");
        eventually(&what, START, find, Option::is_some).expect("accepted only when found")
    }

    #[track_caller]
    pub fn kill_node(&self, node: u16) {
        let pid = self.node_pid(node);
        signal_pid(pid, Signal::KILL);
        eventually("the node is gone", Duration::from_secs(10), || is_alive(pid), |alive| !alive);
    }

    #[track_caller]
    pub fn freeze_node(&self, node: u16) -> u32 {
        let pid = self.node_pid(node);
        signal_pid(pid, Signal::STOP);
        pid
    }
}

/// Which of these processes holds the socket that listens on this loopback port.
fn listener_of(port: u16, pids: &[u32]) -> Option<u32> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!(":{port:04X}");
    let inode = table.lines().map(str::split_whitespace).find_map(|mut columns| {
        let is_local = columns.nth(1)?.ends_with(&local);
        let is_listening = columns.nth(1)? == "0A";
        (is_local && is_listening).then(|| columns.nth(5).map(str::to_owned)).flatten()
    })?;
    let socket = format!("socket:[{inode}]");
    let holds = |pid: &&u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket.as_str()))
    };
    pids.iter().find(holds).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_behind_a_port_is_found() {
        let port = ports::free();
        let own = std::process::id();
        assert_eq!(listener_of(port, &[own]), None);
        let _listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(listener_of(port, &[1_u32 << 30, own]), Some(own));
    }
}
