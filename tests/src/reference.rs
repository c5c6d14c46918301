//! Runs nginx and HAProxy in front of one backend, to compare what they make of a request with what the edge makes of it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;

const START: Duration = Duration::from_secs(20);

/// One of the two, running.
#[derive(Debug)]
pub struct Reference {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Reference {
    /// nginx as a site would run it, with a connection pool to its backend.
    pub fn nginx(backend: SocketAddr) -> Reference {
        Reference::start("nginx", backend, nginx_conf, &["-c"], &["-e", "stderr"])
    }

    /// HAProxy with its defaults for HTTP.
    pub fn haproxy(backend: SocketAddr) -> Reference {
        Reference::start("haproxy", backend, haproxy_conf, &["-db", "-f"], &[])
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn start(
        program: &str,
        backend: SocketAddr,
        conf: fn(SocketAddr, SocketAddr, &Path) -> String,
        before: &[&str],
        after: &[&str],
    ) -> Reference {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let address = ports::address();
        let file = folder.path().join("conf");
        fs::write(&file, conf(address, backend, folder.path())).expect("the temporary directory is writable");
        let mut command = Command::new(found(program));
        command.args(before).arg(&file).args(after);
        let process = Process::spawn(program, &mut command);
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).map(drop);
        eventually(&format!("{program} accepts connections"), START, connect, Result::is_ok)
            .expect("accepted only when it does");
        Reference { address, _process: process, _folder: folder }
    }
}

/// Debian puts servers where an ordinary user's path does not lead.
fn found(program: &str) -> String {
    let sbin = format!("/usr/sbin/{program}");
    if Path::new(&sbin).exists() { sbin } else { program.to_owned() }
}

fn nginx_conf(address: SocketAddr, backend: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log /dev/null;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n{temporary}\
         \x20 large_client_header_buffers 4 32k;\n\
         \x20 upstream recorder {{ server {backend}; keepalive 8; }}\n\
         \x20 server {{\n    listen {address};\n    server_name site.test;\n    location / {{\n\
         \x20     proxy_pass http://recorder;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Connection '';\n      proxy_set_header Host $host;\n\
         \x20   }}\n  }}\n}}\n"
    )
}

fn haproxy_conf(address: SocketAddr, backend: SocketAddr, _folder: &Path) -> String {
    format!(
        "global\n  maxconn 256\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend front\n  bind {address}\n  default_backend back\n\
         backend back\n  server recorder {backend}\n"
    )
}
