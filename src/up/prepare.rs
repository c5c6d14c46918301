//! Everything `cirque up` makes sure of before it starts a process; each refusal is one clear line.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use super::plan::Plan;

/// Creates the data directory and takes it: the lock lasts as long as the file is open.
pub(super) fn directory(plan: &Plan) -> anyhow::Result<File> {
    let directory = &plan.data_dir;
    fs::create_dir_all(directory)
        .with_context(|| format!("could not create the data directory {}", directory.display()))?;
    let path = directory.join("up.lock");
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("could not write in the data directory {}", directory.display()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = lock.read_to_string(&mut pid);
        bail!(
            "another `cirque up` (pid {}) is using {}; stop it, or choose another --data-dir",
            pid.trim(),
            directory.display()
        );
    }
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .with_context(|| format!("could not write {}", path.display()))?;
    for below in [plan.logs(), plan.data_dir.join("conf")] {
        fs::create_dir_all(&below).with_context(|| format!("could not create {}", below.display()))?;
    }
    Ok(lock)
}

/// Makes sure that every port is free, so that a taken one is said at once and by its option.
pub(super) fn ports(plan: &Plan) -> anyhow::Result<()> {
    let mut held = Vec::new();
    let mut hold = |address: SocketAddr, option: &str| {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("could not listen on {address}; choose another {option}"))?;
        held.push(listener);
        anyhow::Ok(())
    };
    hold(plan.listen, "--listen")?;
    hold(plan.admin, "--admin")?;
    plan.nodes.iter().try_for_each(|node| hold(node.address, "--base-port"))
}

/// Migrates and seeds the database; says what is in it.
pub(super) async fn database(plan: &Plan, posts: u64) -> anyhow::Result<String> {
    let config = cirque_app::config::Config::load(None)?.with_database(&plan.database())?;
    cirque_app::migrate::run(&config).await?;
    if posts == 0 {
        return Ok("no demo posts".to_owned());
    }
    let seeded = cirque_app::seed::run(&config, posts).await?;
    Ok(match seeded.login() {
        Some(login) => format!("{seeded}\n{login}"),
        None => seeded.to_string(),
    })
}

/// Writes the edge's configuration.
pub(super) fn configuration(plan: &Plan) -> anyhow::Result<()> {
    let path: &Path = &plan.edge_config();
    fs::write(path, plan.edge_toml()).with_context(|| format!("could not write {}", path.display()))
}
