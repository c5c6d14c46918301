//! Decides what a configuration that was read again is put to work with: its file, its socket, its binary.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::Source;
use super::crew::Rules;
use crate::config::{Config, Written};
use crate::serve::{CannotStart, longest_end};

/// Connections that the kernel keeps until a process accepts them, as of a node of one process.
const BACKLOG: i32 = 1024;

/// A configuration, and what its processes are started with. It stays as it is, whatever happens to the files.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) file: Written,
    pub(super) config: Config,
    pub(super) listener: Arc<TcpListener>,
    pub(super) program: File,
}

impl Generation {
    /// What the file says at the start, with the binary that runs.
    pub(super) fn first(source: &Source) -> anyhow::Result<Self> {
        let (file, config) = read(source)?;
        let listener = Arc::new(listen(&config)?);
        let program = File::open("/proc/self/exe").context("could not open the running binary")?;
        Ok(Self { number: 1, file, config, listener, program })
    }

    /// What the file says now, with the binary that lies there now; the socket stays, unless the address is another.
    pub(super) fn next(current: &Self, source: &Source) -> anyhow::Result<Self> {
        let (file, config) = read(source)?;
        let is_same = config.server.address() == current.config.server.address();
        let listener = if is_same { Arc::clone(&current.listener) } else { Arc::new(listen(&config)?) };
        let path = binary()?;
        let program =
            File::open(&path).with_context(|| format!("could not open the binary {}", path.display()))?;
        Ok(Self { number: current.number + 1, file, config, listener, program })
    }

    pub(super) fn rules(&self) -> Rules {
        let processes = self.config.processes;
        Rules {
            workers: processes.workers,
            max_requests: processes.max_requests,
            max_memory: processes.max_memory,
            silence: processes.silence,
            longest_end: longest_end(&self.config.server),
        }
    }
}

/// What a configuration is made of, for whoever watches that.
pub(super) fn files(source: &Source) -> Vec<PathBuf> {
    source.path.iter().cloned().chain(binary().ok()).collect()
}

fn read(source: &Source) -> anyhow::Result<(Written, Config)> {
    let file = Written::read(source.path.as_deref())?;
    let config = Config::read(&file)?.with(&source.said)?;
    Ok((file, config))
}

fn listen(config: &Config) -> Result<TcpListener, CannotStart> {
    let server = &config.server;
    let bound = TcpListener::bind((server.host.as_str(), server.port)).and_then(|listener| {
        // The library's own is 128.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|source| CannotStart::Listen { address: server.address(), source })
}

/// Where our own binary is, or the one that took its place.
fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("could not find the running binary")?;
    // That is what the kernel says of a file that was replaced; the new one has the old name.
    let name = path.to_string_lossy();
    Ok(name.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(path))
}
