//! Checks single values: names, addresses, ranges and words, each with a message that says what is right.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use cirque_shared::config::Problems;

use super::super::Address;

/// A name that is unique among `seen` and safe in a label and a command line.
pub(super) fn name(
    at: &str,
    name: Option<String>,
    seen: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> String {
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

pub(super) fn checked_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(format!("must be 1 to 64 of a–z, A–Z, 0–9, '-', '_' and '.', got {name:?}"));
    }
    Ok(())
}

pub(super) fn patterns<T>(
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

pub(super) fn networks(at: &str, written: Option<Vec<String>>, problems: &mut Problems) -> Vec<ipnet::IpNet> {
    let mut networks = Vec::new();
    for (index, text) in written.into_iter().flatten().enumerate() {
        let address = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
        match address.or_else(|_| text.parse::<ipnet::IpNet>()) {
            Ok(network) => networks.push(network),
            Err(_) => problems.push(
                &format!("{at}[{index}]"),
                format!("must be an address or a network like \"10.0.0.0/8\", got {text:?}"),
            ),
        }
    }
    networks
}

/// An address; a name is looked up here and now, because a request must never wait for that.
pub(super) fn address(at: &str, written: Option<String>, problems: &mut Problems) -> SocketAddr {
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

/// Where a backend listens: an address, or `unix:` and the path of a socket.
pub(super) fn backend_address(at: &str, written: Option<String>, problems: &mut Problems) -> Address {
    let Some(path) = written.as_deref().and_then(|text| text.strip_prefix("unix:")) else {
        return Address::Inet(address(at, written, problems));
    };
    // The kernel's limit is 108 with the zero at its end.
    if !path.starts_with('/') || path.len() > 107 {
        problems.push(at, format!("must be unix: and a path from / on of at most 107 bytes, got {path:?}"));
    }
    Address::Unix(path.into())
}

pub(super) fn positive(at: &str, duration: Option<Duration>, problems: &mut Problems) -> Duration {
    let duration = duration.unwrap_or_default();
    if duration.is_zero() {
        problems.push(at, "must be longer than zero");
    }
    duration
}

pub(super) fn in_range<T: PartialOrd + Copy + std::fmt::Display>(
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

pub(super) fn one_of<T: Copy>(
    at: &str,
    word: &str,
    known: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let found = known.iter().find(|(spelling, _)| *spelling == word).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<&str> = known.iter().map(|(spelling, _)| *spelling).collect();
        problems.push(at, format!("must be one of {}, got {word:?}", known.join(", ")));
    }
    found
}
