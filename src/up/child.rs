//! Decides what happens to a process that `cirque up` started: it is restarted until it is told to end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use cirque_shared::backoff::Backoff;
use cirque_shared::request_id::random;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::say;

/// A process that lived this long has started well: the next failure is a first one.
const SETTLED: Duration = Duration::from_secs(10);

/// So many short lives in a row, and the part is said to be failing.
const SHORT_LIVES: u32 = 3;

/// How long a process may take to end before it is killed: more than its own grace period.
const LONGEST_END: Duration = Duration::from_secs(35);

/// Set to our pid for every child: it ends with us, however we end.
pub(crate) const CHILD_MARK: &str = cirque_proxy::handover::SUPERVISED;

/// What to start.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) log: PathBuf,
    pub(super) is_edge: bool,
}

/// How a part is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Supervised {
    /// Running, or about to.
    #[default]
    Running,
    /// It ended several times in a row soon after its start; how it ended last.
    Failing(String),
}

/// A part under supervision.
#[derive(Debug)]
pub(super) struct Child {
    part: Part,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    pid: Mutex<Option<u32>>,
    state: Mutex<Supervised>,
}

impl Child {
    /// Starts a part and keeps it running.
    pub(super) fn start(part: Part) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let first = spawn(&part)?;
        *lock(&shared.pid) = first.id();
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(supervise(part.clone(), first, Arc::clone(&shared), stopping));
        Ok(Self { part, shared, stop, task })
    }

    pub(super) fn name(&self) -> &str {
        &self.part.name
    }

    pub(super) fn log(&self) -> &Path {
        &self.part.log
    }

    pub(super) fn is_edge(&self) -> bool {
        self.part.is_edge
    }

    pub(super) fn pid(&self) -> Option<u32> {
        *lock(&self.shared.pid)
    }

    pub(super) fn state(&self) -> Supervised {
        lock(&self.shared.state).clone()
    }

    /// Ends the process and waits for it.
    pub(super) async fn end(self) {
        // The supervisor may have ended already; then there is nothing to wait for.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// Waits for the end of a process and starts it again, until told to stop.
async fn supervise(
    part: Part,
    first: tokio::process::Child,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) {
    let backoff =
        Backoff::try_new(Duration::from_millis(200), Duration::from_secs(10)).expect("200 ms is below 10 s");
    let mut process = first;
    let mut short_lives = 0;
    loop {
        let started = Instant::now();
        let status = tokio::select! {
            status = process.wait() => status,
            () = told(&mut stopping) => return finish(process).await,
        };
        *lock(&shared.pid) = None;
        short_lives = if started.elapsed() >= SETTLED { 1 } else { short_lives + 1 };
        let how = status.as_ref().map_or_else(ToString::to_string, described);
        let pause = backoff.after(short_lives, random());
        say(&format!("{} {how}; starting it again in {} ms", part.name, pause.as_millis()));
        if short_lives >= SHORT_LIVES {
            *lock(&shared.state) = Supervised::Failing(how);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told(&mut stopping) => return,
        }
        process = loop {
            match spawn(&part) {
                Ok(process) => break process,
                Err(error) => {
                    short_lives += 1;
                    say(&cirque_shared::report::chain(error.as_ref()));
                    *lock(&shared.state) = Supervised::Failing("could not be started".to_owned());
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.after(short_lives, random())) => {}
                () = told(&mut stopping) => return,
            }
        };
        let pid = process.id();
        *lock(&shared.pid) = pid;
        say(&format!("{} is running again, pid {}", part.name, pid.unwrap_or_default()));
    }
}

/// Waits for the word to stop, or for the end of whoever could say it.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Asks a process to end, and kills it when it does not.
async fn finish(mut process: tokio::process::Child) {
    let pid = process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
        // A stopped process cannot end.
        let _ = kill_process(pid, Signal::CONT);
    }
    if tokio::time::timeout(LONGEST_END, process.wait()).await.is_err() {
        let _ = process.kill().await;
    }
}

fn spawn(part: &Part) -> anyhow::Result<tokio::process::Child> {
    let log = File::options().create(true).append(true).open(&part.log);
    let log = log.with_context(|| format!("could not open {}", part.log.display()))?;
    let errors = log.try_clone().with_context(|| format!("could not open {}", part.log.display()))?;
    // The running program itself, also when its file was replaced by a newer build.
    Command::new("/proc/self/exe")
        .arg0("cirque")
        .args(&part.args)
        .env(CHILD_MARK, std::process::id().to_string())
        .env_remove("DATABASE_URL")
        // Whoever manages `cirque up` is told by `cirque up`, not by its parts.
        .env_remove(cirque_shared::notify::SOCKET)
        .env_remove(cirque_shared::notify::WATCHDOG)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Of its own group: Ctrl-C is for us, and we end the parts in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("could not start {}", part.name))
}

/// To be called first thing in a process that `cirque up` may have started: it ends with its parent.
pub(crate) fn follow_parent() {
    let Some(parent) =
        std::env::var(CHILD_MARK).ok().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw)
    else {
        return;
    };
    // Where the kernel refuses, a parent that was killed leaves us running: worth no failure.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    if rustix::process::getppid() != Some(parent) {
        // It was gone before we asked.
        std::process::exit(1);
    }
}

fn described(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn an_end_is_told_by_signal_or_code() {
        assert_eq!(described(&ExitStatus::from_raw(9)), "was ended by signal 9");
        assert_eq!(described(&ExitStatus::from_raw(3 << 8)), "ended with exit code 3");
    }
}
