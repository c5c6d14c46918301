//! Decides what backends are told about the client, and what clients may not make them believe.
//!
//! Forwarding headers of a client that is not a trusted proxy are dropped, not appended to. A trusted proxy's
//! X-Forwarded-For is walked from the right to the first address that is not trusted: that is the client.

pub(crate) mod rules;

use std::net::IpAddr;

use http::header::{self, HeaderName};
use ipnet::IpNet;

/// Headers that speak for a client; from anyone untrusted they are removed.
pub(crate) static FORWARDING: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
    header::FORWARDED,
];

/// The longest X-Forwarded-For that is taken over from a trusted proxy, in addresses.
const MOST_HOPS: usize = 32;

/// What a backend is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client, as far as it can be known: `X-Real-IP`.
    pub(crate) client: IpAddr,
    /// `X-Forwarded-For`.
    pub(crate) chain: String,
    /// `X-Forwarded-Proto`.
    pub(crate) proto: &'static str,
    /// Whether the peer's other forwarding headers stay.
    pub(crate) is_trusted: bool,
}

/// What to tell a backend about a request that came from `peer` with these headers (empty: none).
pub(crate) fn forwarded(
    peer: IpAddr,
    trusted: &[IpNet],
    chain: &str,
    proto: &str,
    is_tls: bool,
) -> Forwarded {
    let peer = peer.to_canonical();
    let is_trusted = trusts(trusted, peer);
    let ours = if is_tls { "https" } else { "http" };
    if !is_trusted {
        return Forwarded { client: peer, chain: peer.to_string(), proto: ours, is_trusted };
    }
    let hops = || chain.rsplit(',').take(MOST_HOPS).map(str::trim);
    let mut client = peer;
    for hop in hops() {
        // Something that is no address was not written by a proxy: nothing further left can be believed.
        let Some(address) = address(hop) else { break };
        client = address;
        if !trusts(trusted, address) {
            break;
        }
    }
    let mut kept: Vec<&str> = hops().take_while(|hop| address(hop).is_some()).collect();
    kept.reverse();
    let mut chain = kept.join(", ");
    if !chain.is_empty() {
        chain.push_str(", ");
    }
    chain.push_str(&peer.to_string());
    let proto = match proto.trim() {
        "https" => "https",
        "http" => "http",
        _ => ours,
    };
    Forwarded { client, chain, proto, is_trusted }
}

fn trusts(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// An address as proxies write it: plain, in brackets, or with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let plain = hop.parse::<IpAddr>().ok();
    let bare = || hop.strip_prefix('[')?.split_once(']')?.0.parse().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    plain.or_else(bare).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peer: &str, chain: &str, proto: &str) -> (String, String, &'static str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let told = forwarded(peer.parse().unwrap(), &trusted, chain, proto, false);
        (told.client.to_string(), told.chain, told.proto)
    }

    #[track_caller]
    fn check(peer: &str, chain: &str, client: &str, expected: &str) {
        let (seen, told, _) = told(peer, chain, "");
        assert_eq!((seen.as_str(), told.as_str()), (client, expected));
    }

    #[test]
    fn an_untrusted_client_cannot_name_another() {
        check("192.0.2.1", "198.51.100.7", "192.0.2.1", "192.0.2.1");
        check("192.0.2.1", "", "192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_names_its_client() {
        check("10.0.0.1", "198.51.100.7", "198.51.100.7", "198.51.100.7, 10.0.0.1");
    }

    #[test]
    fn the_walk_ends_at_the_first_untrusted_address_from_the_right() {
        check(
            "10.0.0.1",
            "203.0.113.9, 198.51.100.7, 10.0.0.2",
            "198.51.100.7",
            "203.0.113.9, 198.51.100.7, 10.0.0.2, 10.0.0.1",
        );
    }

    #[test]
    fn garbage_ends_the_walk_and_is_not_passed_on() {
        check("10.0.0.1", "198.51.100.7, <script>, 10.0.0.2", "10.0.0.2", "10.0.0.2, 10.0.0.1");
        check("10.0.0.1", "unknown", "10.0.0.1", "10.0.0.1");
    }

    #[test]
    fn addresses_with_ports_and_brackets_are_understood() {
        check("fd00::1", "[2001:db8::7]:4711", "2001:db8::7", "[2001:db8::7]:4711, fd00::1");
        check("10.0.0.1", "198.51.100.7:80", "198.51.100.7", "198.51.100.7:80, 10.0.0.1");
        check("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7", "198.51.100.7, 10.0.0.1");
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_the_scheme() {
        assert_eq!(told("10.0.0.1", "", "https").2, "https");
        assert_eq!(told("192.0.2.1", "", "https").2, "http");
        assert_eq!(told("10.0.0.1", "", "gopher").2, "http");
    }

    #[test]
    fn a_chain_from_a_trusted_proxy_is_bounded() {
        let long = vec!["198.51.100.7"; 1000].join(",");
        assert_eq!(told("10.0.0.1", &long, "").1.matches(',').count(), MOST_HOPS);
    }
}
