//! Decides how a child process is started, watched, signalled and ended; none outlives its owner.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::time::Instant;

use crate::eventually::eventually;
use crate::sync::{lock, pause};

/// How long a process may take to end after SIGTERM before it counts as having ignored it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Older lines are dropped above this many.
const MAX_LINES: usize = 200_000;
/// Longer lines are cut here.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// How many lines are printed when a test fails.
const LAST_WORDS: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub stream: Stream,
    pub at: Instant,
    pub text: String,
}

/// A child process, by its pid. Dropping it ends it, and fails the test when it ignored SIGTERM.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<VecDeque<Line>>>,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

/// Where the binary under test is: `CIRQUE_BIN`, or beside the test executable's own folder.
pub fn cirque_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CIRQUE_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a running test knows its own path");
    let profile = own.parent().and_then(|deps| deps.parent()).expect("tests live in target/<profile>/deps");
    let binary = profile.join("cirque");
    assert!(
        binary.exists(),
        "no binary at {}: run `cargo build --bin cirque` first, or set CIRQUE_BIN",
        binary.display()
    );
    binary
}

impl Process {
    /// Starts `cirque` with these arguments.
    pub fn cirque<S: AsRef<std::ffi::OsStr>>(name: &str, arguments: &[S]) -> Process {
        let mut command = Command::new(cirque_binary());
        command.args(arguments).env_remove("CIRQUE_ADMIN").env_remove("DATABASE_URL").env_remove("RUST_LOG");
        Process::spawn(name, &mut command)
    }

    pub fn spawn(name: &str, command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {name} as {command:?}: {error}"));
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![follow(stdout, Stream::Stdout, &output), follow(stderr, Stream::Stderr, &output)];
        Process { name: name.to_owned(), child, output, readers, status: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn stop_signal(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn cont(&mut self) {
        self.signal(Signal::CONT);
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.exit_status().is_none() {
            signal_pid(self.pid(), signal);
        }
    }

    /// How many files it has open now.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// From now on it may have this many files open; what is open stays so.
    pub fn limit_open_files(&self, most: usize) {
        let (pid, limit) = (self.pid().to_string(), format!("--nofile={most}:"));
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(status.expect("prlimit is installed").success(), "{limit}");
    }

    /// Memory in use now, in bytes; 0 when the process has ended.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let kib = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// The exit status when the process has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the child has not been waited for elsewhere");
        }
        self.status
    }

    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// Waits for the end; `None` when it did not come within `bound`.
    pub fn wait_exit(&mut self, bound: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while self.is_running() && started.elapsed() < bound {
            pause(Duration::from_millis(2));
        }
        if self.status.is_some() {
            self.join_readers();
        }
        self.status
    }

    /// The exit code; fails the test when the process does not end within `bound` or was ended by a signal.
    #[track_caller]
    pub fn expect_exit(&mut self, bound: Duration) -> i32 {
        let status = self.wait_exit(bound);
        let code = status.and_then(|status| status.code());
        code.unwrap_or_else(|| panic!("{} should have exited within {bound:?}, but: {status:?}", self.name))
    }

    pub fn lines(&self) -> Vec<Line> {
        lock(&self.output).iter().cloned().collect()
    }

    /// Everything written to one stream.
    pub fn text(&self, stream: Stream) -> String {
        let output = lock(&self.output);
        let lines: Vec<&str> =
            output.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }

    /// Every line that is a JSON object, parsed.
    pub fn json_lines(&self) -> Vec<Value> {
        let texts: Vec<String> = lock(&self.output).iter().map(|line| line.text.clone()).collect();
        texts
            .iter()
            .filter(|text| text.starts_with('{'))
            .filter_map(|text| serde_json::from_str(text).ok())
            .collect()
    }

    /// Waits for a line that contains `needle` and returns it.
    #[track_caller]
    pub fn wait_for_line(&self, needle: &str, bound: Duration) -> String {
        let find = || {
            let output = lock(&self.output);
            let found = output.iter().find(|line| line.text.contains(needle)).map(|line| line.text.clone());
            found.ok_or_else(|| output.iter().rev().take(5).map(|line| line.text.clone()).collect::<Vec<_>>())
        };
        let what = format!("a line of {} with {needle:?}", self.name);
        eventually(&what, bound, find, Result::is_ok).expect("accepted only when found")
    }

    /// The pids of the children of this process, and of theirs.
    pub fn descendants(&self) -> Vec<u32> {
        descendants(self.pid())
    }

    fn join_readers(&mut self) {
        // A grandchild may hold the pipe open, so the readers are only waited for as long as it is surely quick.
        let started = Instant::now();
        while self.readers.iter().any(|reader| !reader.is_finished())
            && started.elapsed() < Duration::from_secs(1)
        {
            pause(Duration::from_millis(1));
        }
        self.readers.retain(|reader| !reader.is_finished());
    }

    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
    fn print_last_words(&self) {
        let output = lock(&self.output);
        let skip = output.len().saturating_sub(LAST_WORDS);
        eprintln!("--- last lines of {} (pid {}) ---", self.name, self.pid());
        for line in output.iter().skip(skip) {
            eprintln!("{}", line.text);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let mut ignored = false;
        if self.is_running() {
            self.cont();
            self.terminate();
            if self.wait_exit(PATIENCE).is_none() {
                ignored = true;
                let below = self.descendants();
                self.kill();
                below.iter().for_each(|pid| signal_pid(*pid, Signal::KILL));
                let _ = self.wait_exit(PATIENCE);
            }
        }
        self.join_readers();
        if failed || ignored {
            self.print_last_words();
        }
        assert!(failed || !ignored, "{} (pid {}) ignored SIGTERM for {PATIENCE:?}", self.name, self.pid());
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid())
    }
}

/// Sends a signal to a process of ours; one that has just ended is no error.
pub fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// True while the process exists and has not ended (a zombie has).
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return found };
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

fn follow(
    source: impl Read + Send + 'static,
    stream: Stream,
    output: &Arc<Mutex<VecDeque<Line>>>,
) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        loop {
            let mut bytes = Vec::new();
            match source.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            let mut output = lock(&output);
            if output.len() == MAX_LINES {
                output.pop_front();
            }
            output.push_back(Line { stream, at: Instant::now(), text });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn("shell", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn output_is_captured_by_stream_and_json_is_parsed() {
        let mut child = shell("echo plain; echo '{\"a\":1}'; echo trouble >&2");
        assert_eq!(child.expect_exit(Duration::from_secs(10)), 0);
        assert_eq!(child.text(Stream::Stdout), "plain\n{\"a\":1}");
        assert_eq!(child.text(Stream::Stderr), "trouble");
        assert_eq!(child.json_lines(), vec![serde_json::json!({"a": 1})]);
    }

    #[test]
    fn a_stopped_child_answers_only_after_cont() {
        let mut child = shell("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done");
        child.wait_for_line("up", Duration::from_secs(10));
        child.stop_signal();
        child.terminate();
        assert!(child.wait_exit(Duration::from_millis(100)).is_none());
        child.cont();
        assert_eq!(child.expect_exit(Duration::from_secs(10)), 7);
        child.wait_for_line("bye", Duration::from_secs(10));
    }

    #[test]
    fn dropping_ends_the_child_and_leaves_no_zombie() {
        let child = shell("sleep 60");
        let pid = child.pid();
        drop(child);
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }

    #[test]
    fn descendants_are_found() {
        let mut child = shell("sleep 60 & sleep 60 & echo up; wait");
        child.wait_for_line("up", Duration::from_secs(10));
        let below = child.descendants();
        assert_eq!(below.len(), 2, "{below:?}");
        child.kill();
        assert!(child.wait_exit(Duration::from_secs(10)).is_some_and(|status| status.code().is_none()));
        for pid in below {
            signal_pid(pid, Signal::KILL);
            eventually("the grandchild ends", Duration::from_secs(10), || is_alive(pid), |alive| !alive);
        }
    }
}
