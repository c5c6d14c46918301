//! Decides how others' servers are called: within a time, without following where they lead, and never inside our walls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::Config;

/// Time for one call.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Calls others' servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    trusted: reqwest::Client,
    guarded: reqwest::Client,
    allow: Arc<[IpNet]>,
}

impl Outbound {
    /// With what `config` allows.
    pub fn new(config: &Config) -> Self {
        // Somebody else in the process may have chosen already: it is the same one everywhere here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("cirque/", env!("CARGO_PKG_VERSION")))
        };
        let allow: Arc<[IpNet]> = config.webhooks.allow.clone().into();
        let walls = Walls(Arc::clone(&allow));
        let guarded = builder().no_proxy().dns_resolver(Arc::new(walls)).build().unwrap_or_default();
        Self { trusted: builder().build().unwrap_or_default(), guarded, allow }
    }

    /// A client for addresses that the operator wrote into the configuration.
    pub fn trusted(&self) -> &reqwest::Client {
        &self.trusted
    }

    /// A client for addresses that others gave us, after [`Outbound::checked`]: it connects to public addresses and to
    /// those that are allowed, whatever a name leads to at that moment.
    pub fn guarded(&self) -> &reqwest::Client {
        &self.guarded
    }

    /// The address, if it may be called; where it leads by its name is checked when it is called.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn checked(&self, url: &str) -> Result<reqwest::Url, String> {
        let url = reqwest::Url::parse(url).map_err(|_| "is no address of the web".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("must begin with http:// or https:// and have a host".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !may_be_called(address, &self.allow) => {
                Err("is an address inside our walls, which webhooks.allow does not name".to_owned())
            }
            _ => Ok(url),
        }
    }
}

/// Resolves names, and hides addresses that may not be called.
#[derive(Debug)]
struct Walls(Arc<[IpNet]>);

impl Resolve for Walls {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let open: Vec<SocketAddr> = found.filter(|address| may_be_called(address.ip(), &allow)).collect();
            if open.is_empty() {
                return Err("the name leads only to addresses inside our walls, or to none".into());
            }
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is on the public internet, or allowed by name.
pub fn may_be_called(address: IpAddr, allow: &[IpNet]) -> bool {
    let address = address.to_canonical();
    allow.iter().any(|network| network.contains(&address)) || is_public(address)
}

/// By the registries of special addresses (RFC 6890 and its followers): what is not for everybody is inside.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
    let is_benchmark = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 240
        || is_shared
        || is_protocol
        || is_benchmark
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, fifth, sixth, high, low] = address.segments();
    // NAT64 carries an address of version 4 in it.
    if [first, second, third, fourth, fifth, sixth] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    let is_global = (first & 0xe000) == 0x2000;
    let is_documentation = (first, second) == (0x2001, 0xdb8) || first == 0x3fff;
    // 6to4 and Teredo lead to addresses of version 4; the rest of 2001::/23 is for protocols.
    let is_tunnel = first == 0x2002 || (first == 0x2001 && second < 0x200);
    is_global && !is_documentation && !is_tunnel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_called_unless_a_network_is_allowed() {
        for (text, expected) in [
            ("93.184.215.14", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.18.0.1", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", true),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("fc00::1", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::808:808", true),
        ] {
            assert_eq!(may_be_called(text.parse().unwrap(), &[]), expected, "{text}");
        }
        let allow: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap()];
        assert!(may_be_called("10.1.2.3".parse().unwrap(), &allow));
        assert!(!may_be_called("10.2.0.1".parse().unwrap(), &allow));
    }

    #[test]
    fn an_address_is_checked_before_it_is_kept() {
        let outbound = Outbound::new(&Config::load(None).unwrap());
        for (url, is_fine) in [
            ("https://example.com/hook", true),
            ("http://127.0.0.1:1/", false),
            ("http://[::1]/", false),
            ("http://2130706433/", false),
            ("http://0x7f.1/", false),
            ("ftp://example.com/", false),
            ("nonsense", false),
        ] {
            assert_eq!(outbound.checked(url).is_ok(), is_fine, "{url}");
        }
    }
}
