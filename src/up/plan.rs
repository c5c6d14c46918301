//! Decides what `cirque up` starts, where, and what it says about it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Args;
use super::child::{Child, Part};

/// Where everything goes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) nodes: Vec<Node>,
    pub(super) data_dir: PathBuf,
}

/// One app node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: SocketAddr,
}

impl Plan {
    /// What these arguments ask for.
    pub(super) fn new(args: &Args) -> anyhow::Result<Self> {
        let nodes = (1..=args.nodes).map(|number| {
            let port = args.base_port.checked_add(number - 1);
            let port = port.with_context(|| {
                format!("--base-port {} leaves no room for {}", args.base_port, args.nodes)
            })?;
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            Ok(Node { name: format!("app-{number}"), address })
        });
        Ok(Self {
            listen: args.listen,
            admin: args.admin,
            nodes: nodes.collect::<anyhow::Result<_>>()?,
            data_dir: args.data_dir.clone(),
        })
    }

    pub(super) fn database(&self) -> String {
        format!("sqlite:{}", self.data_dir.join("app.db").display())
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.data_dir.join("log")
    }

    pub(super) fn edge_config(&self) -> PathBuf {
        self.data_dir.join("conf").join("proxy.toml")
    }

    /// The processes: the nodes first, then the edge, which probes them.
    pub(super) fn parts(&self) -> Vec<Part> {
        let log = |name: &str| self.logs().join(format!("{name}.log"));
        let mut parts: Vec<Part> = self
            .nodes
            .iter()
            .map(|node| {
                let (host, port) = (node.address.ip().to_string(), node.address.port().to_string());
                let words = ["app", "serve", "--host", &host, "--port", &port, "--node", &node.name];
                let mut args: Vec<String> = words.map(str::to_owned).into();
                args.extend(["--database".to_owned(), self.database()]);
                Part { name: node.name.clone(), args, log: log(&node.name), is_edge: false }
            })
            .collect();
        let config = self.edge_config().display().to_string();
        let args = ["proxy", "run", "--config", &config].map(str::to_owned).into();
        parts.push(Part { name: "edge".to_owned(), args, log: log("edge"), is_edge: true });
        parts
    }

    /// The edge's configuration: a file to read, change and learn from.
    pub(super) fn edge_toml(&self) -> String {
        let mut toml = format!(
            "# Written by `cirque up` at each start. The reference of every key is conf/proxy.toml.\n\n\
             [server]\nadmin = {admin}\nstate_dir = {state}\n\n\
             [access_log]\noutput = {log}\n\n\
             [[listeners]]\nname = \"http\"\naddress = {listen}\n\n\
             [[routes]]\nname = \"site\"\nupstream = \"app\"\n\
             retry = {{ on = [\"error\", \"timeout\", \"http_500\", \"http_502\", \"http_503\"], attempts = 3 }}\n\n\
             [upstreams.app]\nread_timeout = \"10s\"\n\
             probe = {{ path = \"/readyz\", interval = \"1s\", timeout = \"1s\", fall = 2, rise = 1 }}\n",
            admin = quoted(&self.admin.to_string()),
            state = quoted(&self.data_dir.join("proxy").display().to_string()),
            log = quoted(&self.logs().join("access.log").display().to_string()),
            listen = quoted(&self.listen.to_string()),
        );
        for node in &self.nodes {
            let _ = write!(
                toml,
                "\n[[upstreams.app.backends]]\nid = {}\naddress = {}\nfail_timeout = \"2s\"\n",
                quoted(&node.name),
                quoted(&node.address.to_string()),
            );
        }
        toml
    }

    /// What a newcomer needs: where everything is, and what to try.
    pub(super) fn banner(&self, seeded: &str, children: &[Child]) -> Vec<String> {
        let site = url(self.listen);
        let admin = url(self.admin);
        let shown = |path: &Path| path.display().to_string();
        let mut lines = vec![
            String::new(),
            format!("cirque is up: an edge and {} app nodes; {seeded}", self.nodes.len()),
            String::new(),
            format!("  {:<8} {:<30} balances over the nodes", "edge", site),
            format!("  {:<8} {:<30} /readyz  /metrics  /v1/upstreams", "admin", admin),
        ];
        for (node, child) in self.nodes.iter().zip(children) {
            let pid = child.pid().map_or(String::new(), |pid| format!("pid {pid}"));
            lines.push(format!("  {:<8} {:<30} {pid}", node.name, url(node.address)));
        }
        lines.extend([
            format!("  {:<8} {}", "data", shown(&self.data_dir.join("app.db"))),
            format!("  {:<8} {}  (requests: access.log)", "logs", shown(&self.logs())),
            String::new(),
            "Try:".to_owned(),
            format!("  curl -i '{site}/api/v1/posts?per_page=2'"),
            format!("  curl '{site}/api/v2/posts?limit=3&fields=id,title&include=author'"),
            format!("  curl '{admin}/v1/upstreams'"),
            String::new(),
            "Kill a node (kill -9 and its pid) while you ask: no request fails, and the node comes back."
                .to_owned(),
            "Ctrl-C stops everything.".to_owned(),
        ]);
        lines
    }
}

/// A basic TOML string; paths may hold anything.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The address as a client on this machine writes it.
fn url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(data_dir: &str) -> Plan {
        let args = Args {
            nodes: 3,
            listen: "0.0.0.0:8080".parse().unwrap(),
            admin: "127.0.0.1:9901".parse().unwrap(),
            base_port: 8001,
            data_dir: data_dir.into(),
            seed: 500,
        };
        Plan::new(&args).unwrap()
    }

    #[test]
    fn the_written_configuration_is_valid_whatever_the_directory_is_called() {
        for directory in ["var", "/tmp/a \"quoted\" place", "with\\back\nslash"] {
            let toml = plan(directory).edge_toml();
            let config = cirque_proxy::config::Config::from_text("test", &toml).unwrap();
            assert_eq!(config.upstreams[0].backends.len(), 3);
            let expected = cirque_proxy::config::AccessLog::File(Path::new(directory).join("log/access.log"));
            assert_eq!(config.access_log, expected);
        }
    }

    #[test]
    fn an_address_for_everyone_is_shown_as_one_to_paste() {
        assert_eq!(url("0.0.0.0:8080".parse().unwrap()), "http://127.0.0.1:8080");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80");
    }

    #[test]
    fn ports_that_run_out_are_an_error() {
        let args = Args {
            nodes: 3,
            listen: "127.0.0.1:80".parse().unwrap(),
            admin: "127.0.0.1:81".parse().unwrap(),
            base_port: 65534,
            data_dir: "var".into(),
            seed: 0,
        };
        assert!(Plan::new(&args).is_err());
    }
}
