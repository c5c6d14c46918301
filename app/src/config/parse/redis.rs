//! Turns what a file says of Redis into values.

use std::path::PathBuf;

use cirque_shared::alert::config::environment;
use cirque_shared::config::Problems;
use cirque_shared::config::secret::Secret;

use super::super::raw;
use super::super::redis::{Layout, Login, Mode, Redis, Server, Tls};
use super::{MS, Range, S, spoken};

/// `None` where no server is named: then everything else says nothing.
pub(super) fn redis(raw: raw::Redis, problems: &mut Problems) -> Option<Redis> {
    let written = raw.servers.unwrap_or_default();
    let mut servers = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match Server::parse(text) {
            Some(server) => servers.push(server),
            None => problems.push(
                &format!("redis.servers[{index}]"),
                format!("must be a host and a port like \"redis.example.com:6379\", got {text:?}"),
            ),
        }
    }
    let mut time =
        |key: &str, value, least, most| Range { least, most, show: spoken }.check(key, value, problems);
    let connect_timeout = time("redis.connect_timeout", raw.connect_timeout, MS(10), S(60));
    let timeout = time("redis.timeout", raw.timeout, MS(1), S(10));
    let slow_after = time("redis.slow_after", raw.slow_after, MS(1), S(10));
    if slow_after > timeout {
        problems.push("redis.slow_after", "must not be longer than redis.timeout");
    }
    let prefix = raw.prefix.unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(is_plain) {
        problems.push("redis.prefix", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    }
    let login = login("redis.password", raw.username, raw.password, problems);
    let sentinel_login =
        self::login("redis.sentinel_password", raw.sentinel_username, raw.sentinel_password, problems);
    let tls = tls(raw.tls.unwrap_or_default(), [raw.ca, raw.cert, raw.key], problems);
    let databases = Range { least: 0, most: 65_535, show: u32::to_string };
    let database = databases.check("redis.database", raw.database, problems);
    let mode = raw.mode.unwrap_or_default();
    let master = raw.master.unwrap_or_default();
    if servers.is_empty() {
        return None;
    }
    let layout = match mode {
        Mode::Single => {
            if servers.len() > 1 {
                problems.push("redis.servers", "must be one server while redis.mode is \"single\"");
            }
            Layout::Single(servers.swap_remove(0), database)
        }
        Mode::Sentinel => {
            if master.is_empty() {
                problems.push("redis.master", "must say what the sentinels call the group");
            }
            Layout::Sentinel { sentinels: servers, master, login: sentinel_login, database }
        }
        Mode::Cluster => {
            if database != 0 {
                problems.push("redis.database", "must be 0: a cluster has no other");
            }
            Layout::Cluster(servers)
        }
    };
    Some(Redis { layout, prefix, login, tls, connect_timeout, timeout, slow_after })
}

fn login(key: &str, username: Option<String>, password: Option<Secret>, problems: &mut Problems) -> Login {
    let password = password.unwrap_or_default().resolve(&environment).unwrap_or_else(|reason| {
        problems.push(key, reason);
        Secret::default()
    });
    let username = username.unwrap_or_default();
    if !username.is_empty() && password.is_empty() {
        problems.push(key, "must not be empty where there is a username");
    }
    Login { username, password }
}

fn tls(is_on: bool, files: [Option<String>; 3], problems: &mut Problems) -> Option<Tls> {
    let [ca, cert, key] = files.map(|path| path.filter(|path| !path.is_empty()).map(PathBuf::from));
    if !is_on && (ca.is_some() || cert.is_some() || key.is_some()) {
        problems.push("redis.tls", "must be true where redis.ca, redis.cert or redis.key is set");
    }
    let own = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            problems.push("redis.key", "must be set where redis.cert is");
            None
        }
        (None, Some(_)) => {
            problems.push("redis.cert", "must be set where redis.key is");
            None
        }
    };
    is_on.then_some(Tls { ca, own })
}
