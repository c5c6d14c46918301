//! Runs Debian's Prometheus on what `monitoring/` says, with short times and a test's own targets.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;

const START: Duration = Duration::from_secs(30);

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

/// A path below `monitoring/`.
pub fn monitoring(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring").join(path)
}

impl Prometheus {
    /// Asks these edges and nodes every second; further ones stand in `targets`, as file discovery reads them.
    #[track_caller]
    pub fn start(edges: &[SocketAddr], nodes: &[SocketAddr]) -> Prometheus {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration(edges, nodes, folder.path()))
            .expect("the temporary directory is writable");
        let address = ports::address();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let process = Process::spawn("prometheus", &mut command);
        let ready = || {
            Client::to(address)
                .try_send(&crate::client::Request::get("/-/ready"))
                .map(|r| r.status)
                .unwrap_or(0)
        };
        eventually("Prometheus is ready", START, ready, |status| *status == 200);
        Prometheus { address, _process: process, _folder: folder }
    }

    /// What its API answers.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        Client::to(self.address).get(path).expect_status(200).json()["data"].clone()
    }

    /// The series that answer a question now; an error is told in its words.
    pub fn ask(&self, expr: &str) -> Result<Vec<Value>, String> {
        let answer = Client::to(self.address).get(&format!("/api/v1/query?query={}", encoded(expr)));
        if answer.status != 200 {
            return Err(answer.text());
        }
        Ok(answer.json()["data"]["result"].as_array().cloned().unwrap_or_default())
    }
}

/// The file of the repository with other targets and shorter times: what it says of jobs, paths and rules stays.
fn configuration(edges: &[SocketAddr], nodes: &[SocketAddr], folder: &Path) -> String {
    let text = fs::read_to_string(monitoring("prometheus.yml")).expect("it is in the repository");
    let list = |all: &[SocketAddr]| {
        let quoted: Vec<String> = all.iter().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    // The first is asked for by name, the others are discovered in files.
    let targets = folder.join("targets");
    fs::create_dir_all(&targets).expect("the temporary directory is writable");
    for (job, rest) in [("edge", edges), ("app", nodes)] {
        let rest = format!("- targets: {}\n", list(rest.get(1..).unwrap_or_default()));
        fs::write(targets.join(format!("{job}.yml")), rest).expect("the temporary directory is writable");
    }
    let root = monitoring("");
    let mut out = String::new();
    for line in text.lines() {
        let line = match line {
            line if line.contains("127.0.0.1:9901") => {
                format!("      - targets: {}", list(edges.get(..1).unwrap_or_default()))
            }
            line if line.contains("127.0.0.1:8001") => {
                format!("      - targets: {}", list(nodes.get(..1).unwrap_or_default()))
            }
            line if line.contains("_interval: 15s") => line.replace("15s", "1s"),
            line if line.trim_start().starts_with("- alerts/") || line.trim_start() == "- recording.yml" => {
                line.replace("- ", &format!("- {}", root.display()))
            }
            line => line.to_owned(),
        };
        out += &line;
        out.push('\n');
    }
    out
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
