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

    /// nginx as a server behind the edge: it listens as `listen` says (`{}` stands for its address), answers `/` with
    /// what it knows of the connection as headers, and passes `/to/` on to `backend`.
    pub fn serving(listen: &str, keys: &str, backend: SocketAddr) -> Reference {
        let (listen, keys) = (listen.to_owned(), keys.to_owned());
        Reference::launch("nginx", &["-c"], &["-e", "stderr"], |address, folder| {
            let listen = listen.replace("{}", &address.to_string());
            format!(
                "{}  server {{\n    {listen}\n    {keys}\n    client_max_body_size 64m;\n\
                 \x20   add_header X-Protocol $server_protocol;\n    add_header X-Sni $ssl_server_name;\n\
                 \x20   location = / {{ return 200 'nginx'; }}\n\
                 \x20   location /to/ {{ proxy_pass http://{backend}; proxy_http_version 1.1; \
                 proxy_request_buffering off; proxy_buffering off; }}\n  }}\n}}\n",
                nginx_head(folder),
            )
        })
    }

    /// HAProxy as a balancer of connections before an edge: it says whom they are from as `keys` tell it to.
    pub fn balancer(edge: SocketAddr, keys: &str) -> Reference {
        let keys = keys.to_owned();
        Reference::launch("haproxy", &["-db", "-f"], &[], |address, _| {
            format!(
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
                 listen front\n  bind {address}\n  server edge {edge} {keys}\n"
            )
        })
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
        Reference::launch(program, before, after, |address, folder| conf(address, backend, folder))
    }

    fn launch(
        program: &str,
        before: &[&str],
        after: &[&str],
        conf: impl Fn(SocketAddr, &Path) -> String,
    ) -> Reference {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let address = ports::address();
        let file = folder.path().join("conf");
        fs::write(&file, conf(address, folder.path())).expect("the temporary directory is writable");
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

/// Everything before nginx's own upstreams and servers; its `http` is left open.
fn nginx_head(folder: &Path) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log /dev/null;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n{temporary}"
    )
}

fn nginx_conf(address: SocketAddr, backend: SocketAddr, folder: &Path) -> String {
    format!(
        "{}  large_client_header_buffers 4 32k;\n\
         \x20 upstream recorder {{ server {backend}; keepalive 8; }}\n\
         \x20 server {{\n    listen {address};\n    server_name site.test;\n    location / {{\n\
         \x20     proxy_pass http://recorder;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Connection '';\n      proxy_set_header Host $host;\n\
         \x20   }}\n  }}\n}}\n",
        nginx_head(folder),
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
