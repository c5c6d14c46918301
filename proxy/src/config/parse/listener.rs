//! Checks listeners and the limits of the client's side.

use std::collections::BTreeSet;
use std::time::Duration;

use cirque_shared::config::Problems;

use super::super::policy::Client;
use super::super::{Listener, raw};
use super::limits;
use super::value::{address, in_range, name, positive};

pub(super) fn listeners(raw: Vec<raw::Listener>, problems: &mut Problems) -> Vec<Listener> {
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
        let access = limits::access(&at, raw.allow, raw.deny, problems);
        listeners.push(Listener { name, address, access });
    }
    listeners
}

pub(super) fn client(raw: &raw::Client, problems: &mut Problems) -> Client {
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
        max_headers: in_range(
            "client.client_max_headers",
            raw.client_max_headers.unwrap_or_default(),
            1,
            256,
            problems,
        ),
        max_target: in_range(
            "client.client_max_uri_length",
            raw.client_max_uri_length.unwrap_or_default().as_usize(),
            1,
            1024 * 1024,
            problems,
        ),
        min_body_rate: raw.client_min_body_rate.unwrap_or_default().0,
        min_send_rate: raw.client_min_send_rate.unwrap_or_default().0,
        max_connections: in_range(
            "client.max_connections",
            raw.max_connections.unwrap_or_default(),
            1,
            10_000_000,
            problems,
        ),
        max_connections_per_client: in_range(
            "client.max_connections_per_client",
            raw.max_connections_per_client.unwrap_or_default(),
            1,
            10_000_000,
            problems,
        ),
        tunnel_timeout: positive("client.tunnel_timeout", raw.tunnel_timeout, problems),
        half_close: raw.half_close.unwrap_or_default(),
    }
}
