//! What the app tier is told of Redis: where it is, how it is laid out, and how long an answer may take.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cirque_shared::config::secret::Secret;
use cirque_shared::config::{Problems, Read, Value, wrong_type};

/// Where Redis is, and how it is asked.
#[derive(Clone, Debug)]
pub struct Redis {
    /// How its servers stand to each other.
    pub layout: Layout,
    /// What every key begins with.
    pub prefix: String,
    /// Who signs in to the servers that hold data.
    pub login: Login,
    /// TLS; `None` for none.
    pub tls: Option<Tls>,
    /// Time for a connection to be made and to sign in.
    pub connect_timeout: Duration,
    /// Time for one command.
    pub timeout: Duration,
    /// From so long on an answer counts as slow.
    pub slow_after: Duration,
}

/// How the servers stand to each other.
#[derive(Clone, Debug)]
pub enum Layout {
    /// One server, and the number of its database.
    Single(Server, u32),
    /// Sentinels say which server leads.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Server>,
        /// What they call the group.
        master: String,
        /// Who signs in to the sentinels.
        login: Login,
        /// The number of the database.
        database: u32,
    },
    /// Some servers of a cluster, which know the others.
    Cluster(Vec<Server>),
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (servers, words) = match self {
            Self::Single(server, _) => return server.fmt(f),
            Self::Sentinel { sentinels, master, .. } => {
                (sentinels, format!("the group {master:?} of the sentinels "))
            }
            Self::Cluster(servers) => (servers, "the cluster of ".to_owned()),
        };
        let names: Vec<String> = servers.iter().map(Server::to_string).collect();
        write!(f, "{words}{}", names.join(", "))
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// An IP address or a name.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// Who signs in.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The user of an access list; empty for the default user.
    pub username: String,
    /// Empty where none is asked for.
    pub password: Secret,
}

/// How TLS is done. The files are read again for each connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authority that the servers must be known to; `None` for those of the machine.
    pub ca: Option<PathBuf>,
    /// Certificate and key that are shown to the servers.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// How `mode` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `"single"`.
    #[default]
    Single,
    /// `"sentinel"`.
    Sentinel,
    /// `"cluster"`.
    Cluster,
}

impl Read for Mode {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("single") => return Some(Self::Single),
            Some("sentinel") => return Some(Self::Sentinel),
            Some("cluster") => return Some(Self::Cluster),
            _ => wrong_type(value, "\"single\", \"sentinel\" or \"cluster\"", at, problems),
        }
        None
    }
}

impl Server {
    /// Reads `HOST:PORT`, or `[IPV6]:PORT`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let is_host = !host.is_empty()
            && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']'))
            && (bare.is_some() || !host.contains(':'));
        let port = port.parse().ok().filter(|port| *port > 0)?;
        is_host.then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (text, expected) in [
            ("redis.example.com:6379", Some("redis.example.com:6379")),
            ("192.0.2.1:7000", Some("192.0.2.1:7000")),
            ("[2001:db8::1]:6379", Some("[2001:db8::1]:6379")),
            ("2001:db8::1:6379", None),
            ("redis.example.com", None),
            ("redis.example.com:0", None),
            ("redis.example.com:70000", None),
            (":6379", None),
            ("redis://x:6379", None),
            ("user@x:6379", None),
        ] {
            assert_eq!(Server::parse(text).map(|server| server.to_string()).as_deref(), expected, "{text}");
        }
    }
}
