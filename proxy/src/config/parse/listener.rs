//! Checks listeners, their certificates, and the limits of the client's side.

use std::collections::BTreeSet;
use std::time::Duration;

use cirque_shared::config::Problems;

use super::super::policy::{Client, Protocols, TLS_VERSIONS, TlsVersion};
use super::super::{Listener, Tls, raw};
use super::limits;
use super::value::{address, in_range, name, one_of, positive};
use crate::certificate::{self, Files};

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
        let policy = raw.policy;
        let tls = raw.tls.and_then(|raw| tls(&format!("{at}.tls"), raw, problems));
        let https_redirect = policy.https_redirect.unwrap_or_default();
        if https_redirect != 0 && tls.is_some() {
            problems.push(&format!("{at}.https_redirect"), "is for a listener without certificates");
        }
        listeners.push(Listener {
            name,
            address,
            access,
            tls,
            protocols: protocols(&format!("{at}.protocols"), policy.protocols, problems),
            proxy_protocol: policy.proxy_protocol.unwrap_or_default(),
            https_redirect,
        });
    }
    listeners
}

/// A listener that believes nobody would serve nobody.
pub(super) fn balancers(listeners: &[Listener], trusted: &[ipnet::IpNet], problems: &mut Problems) {
    for (index, _) in listeners.iter().enumerate().filter(|(_, listener)| listener.proxy_protocol) {
        if trusted.is_empty() {
            problems.push(
                &format!("listeners[{index}].proxy_protocol"),
                "needs the addresses of the balancers in front, in trust.proxies",
            );
        }
    }
}

fn protocols(at: &str, written: Option<Vec<String>>, problems: &mut Problems) -> Protocols {
    let written = written.unwrap_or_default();
    let mut protocols = Protocols { http1: false, http2: false };
    for (index, word) in written.iter().enumerate() {
        match word.as_str() {
            "http/1.1" => protocols.http1 = true,
            "h2" => protocols.http2 = true,
            _ => {
                let why = format!("must be one of \"h2\", \"http/1.1\", got {word:?}");
                problems.push(&format!("{at}[{index}]"), why);
            }
        }
    }
    if written.is_empty() {
        problems.push(at, "must not be empty: [\"h2\", \"http/1.1\"] or one of the two");
    }
    protocols
}

/// What a listener's `tls` says; a certificate without file names stands for none.
fn tls(at: &str, raw: raw::Tls, problems: &mut Problems) -> Option<Tls> {
    let mut certificates = Vec::new();
    for (index, raw) in raw.certificates.into_iter().flatten().enumerate() {
        let at = format!("{at}.certificates[{index}]");
        let (cert, key) = (raw.cert.unwrap_or_default(), raw.key.unwrap_or_default());
        match (cert.is_empty(), key.is_empty()) {
            (true, true) => continue,
            (false, false) => {}
            (true, false) => problems.push(&format!("{at}.cert"), "is required beside key"),
            (false, true) => problems.push(&format!("{at}.key"), "is required beside cert"),
        }
        let files = Files { cert: cert.into(), key: key.into() };
        if let Err(unusable) = certificate::load(&files) {
            problems.push(&at, unusable.to_string());
        }
        certificates.push(files);
    }
    let policy = raw.policy;
    let hsts = policy.hsts.unwrap_or_default();
    let is_field = hsts.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !(hsts.is_empty() || hsts.starts_with("max-age=") && is_field) {
        problems.push(
            &format!("{at}.hsts"),
            format!("must begin with max-age=SECONDS or be empty, got {hsts:?}"),
        );
    }
    let tls = Tls {
        certificates,
        min_version: one_of(
            &format!("{at}.min_version"),
            &policy.min_version.unwrap_or_default(),
            &TLS_VERSIONS,
            problems,
        )
        .unwrap_or(TlsVersion::V12),
        handshake_timeout: positive(&format!("{at}.handshake_timeout"), policy.handshake_timeout, problems),
        hsts,
    };
    (!tls.certificates.is_empty()).then_some(tls)
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
        max_concurrent_streams: in_range(
            "client.http2_max_concurrent_streams",
            raw.http2_max_concurrent_streams.unwrap_or(1),
            1,
            10_000,
            problems,
        ),
    }
}
