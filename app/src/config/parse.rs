//! Turns what a file says into a [`Config`], noting everything that is out of range.

mod later;
mod processes;
mod redis;

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use cirque_shared::alert;
use cirque_shared::alert::rule::Tier;
use cirque_shared::config::units::{ByteSize, parse_duration};
use cirque_shared::config::{Invalid, Problems, environment, read_text};
use ipnet::IpNet;

use super::{
    Auth, Cache, Config, Database, Health, Limits, Location, Log, Metrics, PostgresUrl, Posts, Rate, Server,
    Written, raw,
};

/// The complete reference, and the default of every key.
pub const DEFAULTS: &str = include_str!("../../../conf/app.toml");

/// Reads a file over [`DEFAULTS`].
pub(super) fn load(file: &Written) -> Result<Config, Invalid> {
    let base = read_text("conf/app.toml", DEFAULTS, |raw: raw::File, _| raw)?;
    read_text(&file.name, &file.text, |raw: raw::File, problems| parse(raw.or(base), problems))
}

/// Checks every value; a stand-in takes the place of a wrong one.
pub fn parse(raw: raw::File, problems: &mut Problems) -> Config {
    Config {
        server: server(raw.server.unwrap_or_default(), problems),
        processes: processes::processes(&raw.processes.unwrap_or_default(), problems),
        database: database(raw.database.unwrap_or_default(), problems),
        redis: redis::redis(raw.redis.unwrap_or_default(), problems),
        auth: auth(&raw.auth.unwrap_or_default(), problems),
        limits: limits(raw.limits.unwrap_or_default(), problems),
        cache: cache(raw.cache.unwrap_or_default(), problems),
        posts: posts(&raw.posts.unwrap_or_default(), problems),
        queue: later::queue(raw.queue.unwrap_or_default(), problems),
        mail: later::mail(raw.mail.unwrap_or_default(), problems),
        webhooks: later::webhooks(raw.webhooks.unwrap_or_default(), problems),
        analytics: later::analytics(raw.analytics.unwrap_or_default(), problems),
        health: health(&raw.health.unwrap_or_default(), problems),
        alerts: alert::config::parse(raw.alerts.unwrap_or_default(), Tier::App, &environment, problems),
        trace: cirque_shared::trace::config::parse(raw.trace.unwrap_or_default(), &environment, problems),
        metrics: Metrics { guide_names: raw.metrics.and_then(|raw| raw.guide_names).unwrap_or_default() },
        log: log(&raw.log.unwrap_or_default()),
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

fn server(raw: raw::Server, problems: &mut Problems) -> Server {
    let host = problems.require("server.host", raw.host);
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        problems.push("server.host", "must be an IP address or a host name");
    }
    let mut duration =
        |key: &str, value, least, most| Range { least, most, show: spoken }.check(key, value, problems);
    let header_timeout = duration("server.header_timeout", raw.header_timeout, MS(100), S(600));
    let keep_alive_timeout = duration("server.keep_alive_timeout", raw.keep_alive_timeout, S(1), S(3600));
    let write_timeout = duration("server.write_timeout", raw.write_timeout, MS(100), S(600));
    let max_execution_time = duration("server.max_execution_time", raw.max_execution_time, MS(10), S(3600));
    let drain_delay = duration("server.drain_delay", raw.drain_delay, S(0), S(300));
    let grace_period = duration("server.grace_period", raw.grace_period, S(0), S(3600));
    let connections = Range { least: 1, most: 100_000, show: usize::to_string };
    let mut size = |key: &str, value, least, most| {
        let range =
            Range { least: ByteSize(least), most: ByteSize(most), show: |size| format!("{} bytes", size.0) };
        range.check(key, value, problems)
    };
    let max_head_size = size("server.max_head_size", raw.max_head_size, 8 << 10, 1 << 20).as_usize();
    let max_body_size = size("server.max_body_size", raw.max_body_size, 0, 1 << 30).0;
    Server {
        host,
        port: problems.require("server.port", raw.port),
        node: node(raw.node, problems),
        public_url: address("server.public_url", raw.public_url, problems).trim_end_matches('/').to_owned(),
        trusted_proxies: networks("server.trusted_proxies", raw.trusted_proxies, problems),
        max_connections: connections.check("server.max_connections", raw.max_connections, problems),
        header_timeout,
        keep_alive_timeout,
        write_timeout,
        max_head_size,
        max_body_size,
        max_execution_time,
        drain_delay,
        grace_period,
        slot: None,
    }
}

fn networks(key: &str, written: Option<Vec<String>>, problems: &mut Problems) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in written.into_iter().flatten().enumerate() {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        match address.or_else(|_| text.parse::<IpNet>()) {
            Ok(network) => networks.push(network),
            Err(_) => problems.push(
                &format!("{key}[{index}]"),
                format!("must be an address or a network like \"10.0.0.0/8\", got {text:?}"),
            ),
        }
    }
    networks
}

/// The name goes into a header: visible ASCII only.
fn node(raw: Option<String>, problems: &mut Problems) -> Option<String> {
    let node = raw.filter(|node| !node.is_empty())?;
    if node.len() > 64 || !node.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.push("server.node", "must be 1 to 64 visible ASCII characters without spaces");
    }
    Some(node)
}

/// An address on the web, or nothing.
fn address(key: &str, raw: Option<String>, problems: &mut Problems) -> String {
    let url = raw.unwrap_or_default();
    let is_origin = ["http://", "https://"].iter().any(|scheme| {
        let rest = url.strip_prefix(scheme).unwrap_or_default();
        !rest.is_empty() && !rest.contains(['?', '#', ' ', '"'])
    });
    if !url.is_empty() && !is_origin {
        problems.push(key, "must be empty or start with http:// or https:// and a host");
    }
    url
}

fn database(raw: raw::Database, problems: &mut Problems) -> Database {
    let url = problems.require("database.url", raw.url);
    let location = Location::parse(&url).unwrap_or_else(|reason| {
        problems.push("database.url", reason.to_string());
        Location::Sqlite(PathBuf::new())
    });
    let mut servers = |key: &str, written| servers(key, written, &location, problems);
    let replicas = servers("database.replicas", raw.replicas);
    let successors = servers("database.successors", raw.successors);
    let room = Range { least: 1, most: 64, show: usize::to_string };
    let max_fallback = room.check("database.max_fallback", raw.max_fallback, problems);
    let mut connections =
        |key: &str, value| Range { least: 1, most: 64, show: u32::to_string }.check(key, value, problems);
    let max_readers = connections("database.max_readers", raw.max_readers);
    let max_writers = connections("database.max_writers", raw.max_writers);
    let mut waiting =
        |key: &str, value, least, most| Range { least, most, show: spoken }.check(key, value, problems);
    Database {
        location,
        replicas,
        successors,
        max_lag: waiting("database.max_lag", raw.max_lag, MS(100), S(3600)),
        replica_wait: waiting("database.replica_wait", raw.replica_wait, S(0), S(10)),
        own_writes: waiting("database.own_writes", raw.own_writes, S(1), S(3600)),
        max_fallback,
        max_readers,
        max_writers,
        acquire_timeout: waiting("database.acquire_timeout", raw.acquire_timeout, MS(10), S(600)),
        busy_timeout: waiting("database.busy_timeout", raw.busy_timeout, S(0), S(600)),
        slow_statement: waiting("database.slow_statement", raw.slow_statement, S(0), S(3600)),
        statement_timeout: waiting("database.statement_timeout", raw.statement_timeout, MS(10), S(3600)),
    }
}

/// Addresses of servers beside the one at `location`.
fn servers(
    key: &str,
    written: Option<Vec<String>>,
    location: &Location,
    problems: &mut Problems,
) -> Vec<PostgresUrl> {
    const MOST: usize = 16;
    let written = problems.require(key, written);
    if !written.is_empty() && matches!(location, Location::Sqlite(_)) {
        problems.push(key, "must be empty unless database.url is the address of a PostgreSQL server");
        return Vec::new();
    }
    if written.len() > MOST {
        problems.push(key, format!("must have at most {MOST} addresses, got {}", written.len()));
    }
    let mut servers = Vec::new();
    for (index, url) in written.iter().enumerate() {
        match PostgresUrl::parse(url) {
            Ok(server) if servers.contains(&server) => {
                problems.push(&format!("{key}[{index}]"), "must be given only once");
            }
            Ok(server) => servers.push(server),
            Err(reason) => problems.push(&format!("{key}[{index}]"), reason.to_string()),
        }
    }
    servers
}

fn auth(raw: &raw::Auth, problems: &mut Problems) -> Auth {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let mut duration =
        |key: &str, value, least, most| Range { least, most, show: spoken }.check(key, value, problems);
    let token_lifetime = duration("auth.token_lifetime", raw.token_lifetime, S(60), YEAR);
    let login_window = duration("auth.login_window", raw.login_window, S(1), S(24 * 3600));
    let attempts = Range { least: 1, most: 1000, show: u32::to_string };
    let login_attempts = attempts.check("auth.login_attempts", raw.login_attempts, problems);
    Auth { token_lifetime, login_attempts, login_window }
}

fn limits(raw: raw::Limits, problems: &mut Problems) -> Limits {
    Limits {
        public: rate("limits.public", raw.public, problems),
        search: rate("limits.search", raw.search, problems),
        write: rate("limits.write", raw.write, problems),
        login: rate("limits.login", raw.login, problems),
        exempt: networks("limits.exempt", raw.exempt, problems),
    }
}

/// A count from 1 to 1000000, and a time from 1s to 24h.
fn rate(key: &str, written: Option<String>, problems: &mut Problems) -> Option<Rate> {
    let text = problems.require(key, written);
    if text.is_empty() {
        return None;
    }
    let parts = text.split_once('/');
    let count = parts
        .and_then(|(count, _)| count.trim().parse().ok())
        .filter(|count| (1..=1_000_000).contains(count));
    let period = parts.and_then(|(_, time)| parse_duration(time.trim()));
    let period = period.filter(|period| (S(1)..=S(86_400)).contains(period));
    if let (Some(count), Some(period)) = (count, period) {
        return Some(Rate { count, period });
    }
    problems.push(
        key,
        format!("must be empty or a count from 1 to 1000000 and a time from 1s to 24h like \"60/1m\", got {text:?}"),
    );
    None
}

fn cache(raw: raw::Cache, problems: &mut Problems) -> Cache {
    let size =
        Range { least: ByteSize(0), most: ByteSize(64 << 30), show: |size| format!("{} bytes", size.0) };
    let max_size = size.check("cache.max_size", raw.max_size, problems).0;
    let mut time = |key: &str, value, days: u64| {
        Range { least: S(0), most: S(days * 86_400), show: spoken }.check(key, value, problems)
    };
    Cache {
        max_size,
        v1_list: time("cache.v1_list", raw.v1_list, 1),
        v1_detail: time("cache.v1_detail", raw.v1_detail, 1),
        v2_list: time("cache.v2_list", raw.v2_list, 1),
        v2_detail: time("cache.v2_detail", raw.v2_detail, 1),
        client_max_age: time("cache.client_max_age", raw.client_max_age, 1),
        stale_while_revalidate: time("cache.stale_while_revalidate", raw.stale_while_revalidate, 1),
        stale_if_error: time("cache.stale_if_error", raw.stale_if_error, 7),
        purge_url: Some(address("cache.purge_url", raw.purge_url, problems)).filter(|url| !url.is_empty()),
    }
}

fn log(raw: &raw::Log) -> Log {
    Log { level: raw.level.unwrap_or_default(), format: raw.format.unwrap_or_default() }
}

fn posts(raw: &raw::Posts, problems: &mut Problems) -> Posts {
    let often = Range { least: S(60), most: S(24 * 3600), show: spoken };
    Posts { reorder_every: often.check("posts.reorder_every", raw.reorder_every, problems) }
}

fn timeout(key: &str, value: Option<Duration>, problems: &mut Problems) -> Duration {
    Range { least: MS(10), most: S(60), show: spoken }.check(key, value, problems)
}

fn health(raw: &raw::Health, problems: &mut Problems) -> Health {
    Health {
        timeout: timeout("health.timeout", raw.timeout, problems),
        fresh: Range { least: S(0), most: S(60), show: spoken }.check("health.fresh", raw.fresh, problems),
    }
}

/// What a value may be, ends included, and how its ends are written in a message.
struct Range<T> {
    least: T,
    most: T,
    show: fn(&T) -> String,
}

impl<T: Copy + Debug + Default + PartialOrd> Range<T> {
    fn check(&self, key: &str, value: Option<T>, problems: &mut Problems) -> T {
        let value = problems.require(key, value);
        if value < self.least || value > self.most {
            let (least, most) = ((self.show)(&self.least), (self.show)(&self.most));
            problems.push(key, message(&least, &most, &(self.show)(&value)));
        }
        value
    }
}

fn message(least: &impl Display, most: &impl Display, got: &impl Display) -> String {
    format!("must be between {least} and {most}, got {got}")
}

/// A duration as a file would write it.
fn spoken(duration: &Duration) -> String {
    match duration.as_millis() {
        ms if ms % 60_000 == 0 && ms > 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cirque_shared::config::key_paths;
    use std::collections::BTreeSet;

    fn load_text(text: &str) -> Result<Config, Invalid> {
        let base = read_text("conf/app.toml", DEFAULTS, |raw: raw::File, _| raw).unwrap();
        read_text("app.toml", text, |raw: raw::File, problems| parse(raw.or(base), problems))
    }

    #[test]
    fn the_reference_file_names_exactly_the_keys_that_exist() {
        let mut section = String::new();
        let mut written = BTreeSet::new();
        for line in DEFAULTS.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                written.insert(format!("{section}.{key}"));
            }
        }
        assert_eq!(written, key_paths::<raw::File>());
    }

    #[test]
    fn the_compiled_in_defaults_are_valid() {
        let config = Config::load(None).unwrap();
        assert_eq!(config.server.port, 8000);
        assert_eq!(config.server.max_execution_time, S(30));
    }

    #[test]
    fn a_file_overrides_only_what_it_says() {
        let config =
            load_text("[server]\nport = 9000\nnode = 'app-1'\n[database]\nurl = 'sqlite:x.db'\n").unwrap();
        assert_eq!((config.server.port, config.server.host.as_str()), (9000, "127.0.0.1"));
        assert_eq!(config.server.node_name(), "app-1");
        assert_eq!(config.database.location, Location::Sqlite("x.db".into()));
        assert_eq!(config.database.max_readers, 4);
    }

    #[test]
    fn all_values_out_of_range_are_reported_at_once() {
        let text = "[server]\nprot = 1\nmax_connections = 0\nheader_timeout = '1ms'\nmax_head_size = 1\n\
                    node = 'a b'\npublic_url = 'ftp://x'\nhost = ''\n\
                    [database]\nurl = 'mysql:x'\nmax_readers = 65\n[health]\ntimeout = '2m'\n";
        let invalid = load_text(text).unwrap_err();
        let keys: Vec<&str> = invalid.problems().iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "server.prot",
                "server.max_connections",
                "server.header_timeout",
                "server.max_head_size",
                "server.node",
                "server.public_url",
                "server.host",
                "database.url",
                "database.max_readers",
                "health.timeout",
            ]
        );
        let text = invalid.to_string();
        assert!(text.contains("did you mean `port`?"), "{text}");
        assert!(text.contains("must be between 100ms and 10m, got 1ms"), "{text}");
        assert!(text.contains("must be between 8192 bytes and 1048576 bytes, got 1 bytes"), "{text}");
    }

    #[test]
    fn a_rate_is_a_count_and_a_time_or_nothing() {
        let config = load_text("[limits]\npublic = '600/1m'\nsearch = ''\n").unwrap();
        assert_eq!(config.limits.public, Some(Rate { count: 600, period: S(60) }));
        assert_eq!(config.limits.search, None);
        for wrong in ["60", "0/1m", "60/0s", "60/25h", "1m/60", "-1/1m", "60 per minute"] {
            let invalid = load_text(&format!("[limits]\npublic = '{wrong}'\n")).unwrap_err();
            assert!(invalid.to_string().contains("like \"60/1m\""), "{invalid}");
        }
    }

    #[test]
    fn a_wrong_type_is_one_problem_and_not_two() {
        let invalid = load_text("[server]\nmax_connections = 'many'\n").unwrap_err();
        assert_eq!(invalid.problems().len(), 1, "{invalid}");
    }
}
