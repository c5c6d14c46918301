//! Runs Debian's Alertmanager on what `monitoring/` says, with short times and a test's own receiver.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, Request};
use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;
use crate::prometheus::monitoring;

const START: Duration = Duration::from_secs(30);

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Alertmanager {
    /// Tells what it is told to this address.
    #[track_caller]
    pub fn start(receiver: SocketAddr) -> Alertmanager {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let mut text = fs::read_to_string(monitoring("alertmanager.yml")).expect("it is in the repository");
        for (long, short) in [
            ("group_wait: 10s", "group_wait: 1s"),
            ("group_interval: 5m", "group_interval: 1s"),
            ("http://localhost:5001/", &format!("http://{receiver}/from-alertmanager")),
        ] {
            assert!(text.contains(long), "{long} is not in alertmanager.yml any more");
            text = text.replace(long, short);
        }
        let file = folder.path().join("alertmanager.yml");
        fs::write(&file, text).expect("the temporary directory is writable");
        let address = ports::address();
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            // It has no others to meet.
            .arg("--cluster.listen-address=")
            .arg("--log.level=warn");
        let process = Process::spawn("alertmanager", &mut command);
        let ready =
            || Client::to(address).try_send(&Request::get("/-/ready")).map_or(0, |answer| answer.status);
        eventually("Alertmanager is ready", START, ready, |status| *status == 200);
        Alertmanager { address, _process: process, _folder: folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of the alerts that it takes for firing.
    pub fn firing(&self) -> Vec<String> {
        let alerts = Client::to(self.address).get("/api/v2/alerts?active=true").expect_status(200).json();
        let names = alerts.as_array().into_iter().flatten();
        names
            .map(|alert: &Value| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
