//! Turns what a file says into a configuration that cannot be invalid, noting every problem on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use cirque_shared::config::units::{ByteSize, Percent};
use cirque_shared::config::{Problems, read_text};

use super::pattern::{HostPattern, PathPattern};
use super::policy::{BALANCE, Balance, Client, HTTP1, Outlier, Probe, RETRY_ON, Retry, RetryOn, Timeouts};
use super::{AccessLog, Backend, Config, Listener, REFERENCE, Route, Upstream, raw};

/// The reference file as read; its settings are every file's defaults.
fn reference() -> raw::File {
    let mut file = read_text("conf/proxy.toml", REFERENCE, |file: raw::File, _| file)
        .expect("the reference is checked by a test");
    // The example's objects are no defaults.
    (file.listeners, file.routes, file.upstreams) = (None, None, None);
    file
}

/// Turns a file into a configuration.
pub(super) fn parse(file: raw::File, problems: &mut Problems) -> Config {
    let file = file.or(reference());
    let server = file.server.unwrap_or_default();
    let log = file.log.unwrap_or_default();
    let defaults = file.defaults.unwrap_or_default();
    let upstreams = upstreams(file.upstreams.unwrap_or_default(), &defaults, problems);
    let names: BTreeSet<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    Config {
        threads: match server.threads {
            Some(0) | None => std::thread::available_parallelism().map_or(1, usize::from),
            Some(threads) => in_range("server.threads", threads, 1, 1024, problems),
        },
        admin: address("server.admin", server.admin, problems),
        grace_period: server.grace_period.unwrap_or_default(),
        http1: one_of("server.http1", &server.http1.unwrap_or_default(), &HTTP1, problems)
            .unwrap_or_default(),
        log_level: log.level.unwrap_or_default(),
        log_format: log.format.unwrap_or_default(),
        access_log: access_log(file.access_log.and_then(|log| log.output).unwrap_or_default(), problems),
        trusted_proxies: networks(file.trust.and_then(|trust| trust.proxies), problems),
        client: client(&file.client.unwrap_or_default(), problems),
        listeners: listeners(file.listeners.unwrap_or_default(), problems),
        routes: routes(file.routes.unwrap_or_default(), &defaults, &names, problems),
        upstreams,
    }
}

fn client(raw: &raw::Client, problems: &mut Problems) -> Client {
    let keepalive = raw.keepalive_timeout.unwrap_or_default();
    // pingora counts the keep-alive time in whole seconds, where 0 would mean "for ever".
    if !keepalive.is_zero() && keepalive < Duration::from_secs(1) {
        problems
            .push("client.keepalive_timeout", "must be \"0s\" (closes after each answer) or at least \"1s\"");
    }
    Client {
        header_timeout: positive("client.client_header_timeout", raw.client_header_timeout, problems),
        body_timeout: positive("client.client_body_timeout", raw.client_body_timeout, problems),
        send_timeout: positive("client.send_timeout", raw.send_timeout, problems),
        keepalive_timeout: keepalive,
        keepalive_requests: in_range(
            "client.keepalive_requests",
            raw.keepalive_requests.unwrap_or(1),
            1,
            u32::MAX,
            problems,
        ),
        max_head_size: in_range(
            "client.client_max_header_size",
            raw.client_max_header_size.unwrap_or_default().as_usize(),
            1024,
            1024 * 1024,
            problems,
        ),
        tunnel_timeout: positive("client.tunnel_timeout", raw.tunnel_timeout, problems),
        half_close: raw.half_close.unwrap_or_default(),
    }
}

fn access_log(output: String, problems: &mut Problems) -> AccessLog {
    match output.as_str() {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout,
        "stderr" => AccessLog::Stderr,
        "" => {
            problems.push("access_log.output", "must be \"stdout\", \"stderr\", \"off\" or a path");
            AccessLog::Off
        }
        _ => AccessLog::File(output.into()),
    }
}

fn networks(written: Option<Vec<String>>, problems: &mut Problems) -> Vec<ipnet::IpNet> {
    let mut networks = Vec::new();
    for (index, text) in written.into_iter().flatten().enumerate() {
        let address = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
        match address.or_else(|_| text.parse::<ipnet::IpNet>()) {
            Ok(network) => networks.push(network),
            Err(_) => problems.push(
                &format!("trust.proxies[{index}]"),
                format!("must be an address or a network like \"10.0.0.0/8\", got {text:?}"),
            ),
        }
    }
    networks
}

fn listeners(raw: Vec<raw::Listener>, problems: &mut Problems) -> Vec<Listener> {
    if raw.is_empty() {
        problems.push("listeners", "must not be empty: add [[listeners]] with a name and an address");
    }
    let mut seen = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let mut listeners = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("listeners[{index}]");
        let name = name(&format!("{at}.name"), raw.name, &mut seen, problems);
        let address = address(&format!("{at}.address"), raw.address.clone(), problems);
        if raw.address.as_deref().is_some_and(|text| text.ends_with(":0")) {
            problems.push(&format!("{at}.address"), "must name a port other than 0");
        } else if !taken.insert(address) && address.port() != 0 {
            problems.push(&format!("{at}.address"), format!("{address} is used by another listener"));
        }
        listeners.push(Listener { name, address });
    }
    listeners
}

fn routes(
    raw: Vec<raw::Route>,
    defaults: &raw::Defaults,
    upstreams: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Vec<Route> {
    if raw.is_empty() {
        problems.push("routes", "must not be empty: add [[routes]] with a name, paths and an upstream");
    }
    let inherited = defaults.route.clone().unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut rules = BTreeMap::new();
    let mut routes = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("routes[{index}]");
        let name = name(&format!("{at}.name"), raw.name, &mut names, problems);
        let hosts = patterns(&format!("{at}.hosts"), raw.hosts, "*", HostPattern::parse, problems);
        let paths = patterns(&format!("{at}.paths"), raw.paths, "/*", PathPattern::parse, problems);
        for rule in hosts.iter().flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone()))) {
            if let Some(other) = rules.insert(rule.clone(), name.clone()) {
                let (host, path) = rule;
                problems.push(&at, format!("{host}{path} already belongs to route `{other}`"));
            }
        }
        let upstream = problems.require(&format!("{at}.upstream"), raw.upstream);
        if !upstream.is_empty() && !upstreams.contains(upstream.as_str()) {
            let known = match upstreams.iter().copied().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => format!("none; add [[upstreams.{upstream}.backends]]"),
                known => known,
            };
            problems.push(&format!("{at}.upstream"), format!("no upstream {upstream:?}; there are: {known}"));
        }
        let written = raw::RoutePolicy {
            timeout: raw.timeout,
            client_max_body_size: raw.client_max_body_size,
            retry: raw.retry,
        };
        let policy = written.or(inherited.clone());
        routes.push(Route {
            name,
            hosts,
            paths,
            upstream,
            timeout: positive(&format!("{at}.timeout"), policy.timeout, problems),
            max_body: policy.client_max_body_size.filter(|size| *size != ByteSize(0)).map(|size| size.0),
            retry: retry(&format!("{at}.retry"), policy.retry.unwrap_or_default(), problems),
        });
    }
    routes
}

fn retry(at: &str, raw: raw::Retry, problems: &mut Problems) -> Retry {
    let mut on: Vec<RetryOn> = Vec::new();
    for (index, word) in raw.on.into_iter().flatten().enumerate() {
        if let Some(what) = one_of(&format!("{at}.on[{index}]"), &word, &RETRY_ON, problems) {
            on.push(what);
        }
    }
    Retry {
        on,
        attempts: in_range(&format!("{at}.attempts"), raw.attempts.unwrap_or(1), 1, 10, problems),
        budget: raw.budget.map_or(0.0, Percent::fraction),
        non_idempotent: raw.non_idempotent.unwrap_or_default(),
        buffer: raw.buffer.unwrap_or_default().as_usize(),
    }
}

fn upstreams(
    raw: BTreeMap<String, raw::Upstream>,
    defaults: &raw::Defaults,
    problems: &mut Problems,
) -> Vec<Upstream> {
    let inherited = defaults.upstream.clone().unwrap_or_default();
    let mut upstreams = Vec::new();
    for (name, raw) in raw {
        let at = format!("upstreams.{name}");
        if let Err(why) = checked_name(&name) {
            problems.push(&at, why);
        }
        let written = raw::UpstreamPolicy {
            balance: raw.balance,
            connect_timeout: raw.connect_timeout,
            send_timeout: raw.send_timeout,
            read_timeout: raw.read_timeout,
            keepalive_timeout: raw.keepalive_timeout,
            fail_open: raw.fail_open,
            probe: raw.probe,
        };
        let policy = written.or(inherited.clone());
        let balance = policy.balance.unwrap_or_default();
        upstreams.push(Upstream {
            name,
            balance: one_of(&format!("{at}.balance"), &balance, &BALANCE, problems)
                .unwrap_or(Balance::LeastConn),
            timeouts: Timeouts {
                connect: positive(&format!("{at}.connect_timeout"), policy.connect_timeout, problems),
                send: positive(&format!("{at}.send_timeout"), policy.send_timeout, problems),
                read: positive(&format!("{at}.read_timeout"), policy.read_timeout, problems),
                keepalive: policy.keepalive_timeout.unwrap_or_default(),
            },
            fail_open: policy.fail_open.unwrap_or_default(),
            probe: probe(&format!("{at}.probe"), policy.probe.unwrap_or_default(), problems),
            backends: backends(&at, raw.backends.unwrap_or_default(), defaults, problems),
        });
    }
    upstreams
}

fn probe(at: &str, raw: raw::Probe, problems: &mut Problems) -> Probe {
    let path = raw.path.unwrap_or_default();
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.push(&format!("{at}.path"), format!("must start with / and have no spaces, got {path:?}"));
    }
    Probe {
        path,
        interval: positive(&format!("{at}.interval"), raw.interval, problems),
        timeout: positive(&format!("{at}.timeout"), raw.timeout, problems),
        fall: in_range(&format!("{at}.fall"), raw.fall.unwrap_or(1), 1, 1000, problems),
        rise: in_range(&format!("{at}.rise"), raw.rise.unwrap_or(1), 1, 1000, problems),
    }
}

fn backends(
    at: &str,
    raw: Vec<raw::Backend>,
    defaults: &raw::Defaults,
    problems: &mut Problems,
) -> Vec<Backend> {
    if raw.is_empty() {
        problems.push(
            &format!("{at}.backends"),
            format!("must not be empty: add [[{at}.backends]] with an id and an address"),
        );
    }
    let inherited = defaults.backend.clone().unwrap_or_default();
    let mut ids = BTreeSet::new();
    let mut backends = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("{at}.backends[{index}]");
        let written = raw::BackendPolicy {
            weight: raw.weight,
            max_fails: raw.max_fails,
            fail_timeout: raw.fail_timeout,
        };
        let policy = written.or(inherited.clone());
        let name = raw.address.clone().unwrap_or_default();
        backends.push(Backend {
            id: self::name(&format!("{at}.id"), raw.id, &mut ids, problems),
            name,
            address: address(&format!("{at}.address"), raw.address, problems),
            weight: in_range(&format!("{at}.weight"), policy.weight.unwrap_or(1), 1, 1000, problems),
            outlier: Outlier {
                max_fails: policy.max_fails.unwrap_or_default(),
                fail_timeout: positive(&format!("{at}.fail_timeout"), policy.fail_timeout, problems),
            },
        });
    }
    backends
}

// ---- one value -------------------------------------------------------------------------------------

/// A name that is unique among `seen` and safe in a label and a command line.
fn name(at: &str, name: Option<String>, seen: &mut BTreeSet<String>, problems: &mut Problems) -> String {
    let missing = name.is_none();
    let name = problems.require(at, name);
    if missing {
        return name;
    }
    if let Err(why) = checked_name(&name) {
        problems.push(at, why);
    } else if !seen.insert(name.clone()) {
        problems.push(at, format!("{name:?} is used twice"));
    }
    name
}

fn checked_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(format!("must be 1 to 64 of a–z, A–Z, 0–9, '-', '_' and '.', got {name:?}"));
    }
    Ok(())
}

fn patterns<T>(
    at: &str,
    written: Option<Vec<String>>,
    default: &str,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Problems,
) -> Vec<T> {
    let written = written.unwrap_or_else(|| vec![default.to_owned()]);
    if written.is_empty() {
        problems.push(at, format!("must not be empty; leave it out for {default:?}"));
    }
    let mut patterns = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(why) => problems.push(&format!("{at}[{index}]"), why),
        }
    }
    patterns
}

/// An address; a name is looked up here and now, because a request must never wait for that.
fn address(at: &str, written: Option<String>, problems: &mut Problems) -> SocketAddr {
    let unusable = SocketAddr::from(([127, 0, 0, 1], 0));
    let missing = written.is_none();
    let text = problems.require(at, written);
    if missing {
        return unusable;
    }
    if let Ok(address) = text.parse() {
        return address;
    }
    let looked_up =
        text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    match looked_up.map(|_| text.to_socket_addrs().map(|mut found| found.next())) {
        Some(Ok(Some(address))) => return address,
        Some(Ok(None)) => problems.push(at, format!("{text:?} has no address")),
        Some(Err(error)) => problems.push(at, format!("{text:?} could not be looked up: {error}")),
        None => problems
            .push(at, format!("must be an address with a port, like \"127.0.0.1:8080\", got {text:?}")),
    }
    unusable
}

fn positive(at: &str, duration: Option<Duration>, problems: &mut Problems) -> Duration {
    let duration = duration.unwrap_or_default();
    if duration.is_zero() {
        problems.push(at, "must be longer than zero");
    }
    duration
}

fn in_range<T: PartialOrd + Copy + std::fmt::Display>(
    at: &str,
    value: T,
    least: T,
    most: T,
    problems: &mut Problems,
) -> T {
    if value < least || value > most {
        problems.push(at, format!("must be from {least} to {most}, got {value}"));
    }
    value
}

fn one_of<T: Copy>(at: &str, word: &str, known: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let found = known.iter().find(|(spelling, _)| *spelling == word).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<&str> = known.iter().map(|(spelling, _)| *spelling).collect();
        problems.push(at, format!("must be one of {}, got {word:?}", known.join(", ")));
    }
    found
}
