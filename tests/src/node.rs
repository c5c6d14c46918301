//! Decides how one app node is configured for a test, given a database, and started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use toml::Table;

use crate::client::{Client, Response, wait_until_ready};
use crate::document;
use crate::ports;
use crate::process::Process;
use crate::scrape::Scrape;

const START: Duration = Duration::from_secs(30);

/// Writes an `app.toml` for one node on a database of its own.
#[derive(Debug)]
pub struct Builder {
    address: SocketAddr,
    posts: u32,
    document: Table,
    folder: TempDir,
}

impl Builder {
    /// How many posts are seeded; none at all unless told.
    #[must_use]
    pub fn posts(mut self, posts: u32) -> Builder {
        self.posts = posts;
        self
    }

    /// Lays a fragment over the configuration: tables are merged, everything else is replaced.
    #[must_use]
    pub fn toml(mut self, fragment: &str) -> Builder {
        document::merge(&mut self.document, document::parse(fragment));
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Creates the database, seeds it, and runs `cirque app serve` until it is ready.
    #[track_caller]
    pub fn start(self) -> Node {
        let file = self.write();
        for arguments in
            [vec!["migrate".to_owned()], vec!["seed".to_owned(), format!("--posts={}", self.posts)]]
        {
            if arguments[0] == "migrate" || self.posts > 0 {
                let mut command = run(&arguments, &file);
                assert_eq!(command.expect_exit(Duration::from_secs(120)), 0, "{:#?}", command.lines());
            }
        }
        let node =
            Node { process: run(&["serve".to_owned()], &file), address: self.address, folder: self.folder };
        wait_until_ready("the node", node.address, START);
        node
    }

    /// Writes the file; where it is.
    pub fn write(&self) -> PathBuf {
        let file = self.folder.path().join("app.toml");
        fs::write(&file, document::render(&self.document)).expect("the temporary directory is writable");
        file
    }
}

/// Runs `cirque app …` with this configuration.
pub fn run(arguments: &[String], file: &Path) -> Process {
    let (command, rest) = arguments.split_first().expect("there is a command");
    let mut all = vec!["app".to_owned(), command.clone(), "-c".to_owned(), file.display().to_string()];
    all.extend_from_slice(rest);
    Process::cirque(&format!("app {command}"), &all)
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    pub process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Node {
    pub fn builder() -> Builder {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let address = ports::address();
        let text = format!(
            "server = {{ host = '127.0.0.1', port = {} }}\ndatabase.url = 'sqlite:{}'\n",
            address.port(),
            folder.path().join("app.db").display()
        );
        Builder { address, posts: 0, document: document::parse(&text), folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn client(&self) -> Client {
        Client::to(self.address)
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.client().get(target)
    }

    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        Scrape::fetch(self.address, "/api/metrics")
    }
}
