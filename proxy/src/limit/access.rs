//! Decides whether an address may come in: the most specific network that names it has the word.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::policy::Access;

/// Whether an address is let in. Named by both lists alike it is not; named by neither, it is where nobody is
/// expressly allowed.
pub(crate) fn is_allowed(access: &Access, address: IpAddr) -> bool {
    if access.allow.is_empty() && access.deny.is_empty() {
        return true;
    }
    let address = address.to_canonical();
    let nearest = |networks: &[IpNet]| {
        networks.iter().filter(|network| network.contains(&address)).map(IpNet::prefix_len).max()
    };
    match (nearest(&access.allow), nearest(&access.deny)) {
        (Some(allowed), Some(denied)) => allowed > denied,
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (None, None) => access.allow.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_network_has_the_word() {
        let access = |allow: &[&str], deny: &[&str]| Access {
            allow: allow.iter().map(|network| network.parse().unwrap()).collect(),
            deny: deny.iter().map(|network| network.parse().unwrap()).collect(),
        };
        for (allow, deny, address, expected) in [
            (&[][..], &[][..], "192.0.2.1", true),
            (&[], &["192.0.2.0/24"], "192.0.2.1", false),
            (&[], &["192.0.2.0/24"], "198.51.100.1", true),
            (&["192.0.2.0/24"], &[], "192.0.2.1", true),
            (&["192.0.2.0/24"], &[], "198.51.100.1", false),
            (&["192.0.2.7/32"], &["192.0.2.0/24"], "192.0.2.7", true),
            (&["192.0.2.7/32"], &["192.0.2.0/24"], "192.0.2.8", false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3", false),
            (&["10.0.0.0/8"], &["10.0.0.0/8"], "10.1.2.3", false),
            (&["0.0.0.0/0"], &[], "2001:db8::1", false),
            (&["10.0.0.0/8"], &[], "::ffff:10.0.0.1", true),
        ] {
            let seen = is_allowed(&access(allow, deny), address.parse().unwrap());
            assert_eq!(seen, expected, "{allow:?} {deny:?} {address}");
        }
    }
}
