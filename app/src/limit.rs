//! Decides who has asked too often: by policies that never share a counter, for each address or token of its own.
//!
//! Each policy is a rate, counted by GCRA: a client may ask `count` times at once, and gets one more each `period /
//! count`. Where there is Redis all nodes count together; without it, or while it is of no use, each counts by itself,
//! from what it knew last. Counters that stand at zero take no room, and those of a node are bounded in number.

mod gcra;
mod shared;
mod table;

use std::net::IpAddr;
use std::time::Duration;

pub use gcra::Standing;

use self::shared::Shared;
use self::table::Table;
use crate::config::{self, Rate};
use crate::moment::Moment;
use crate::redis::Redis;

/// What a request is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Reading.
    Public,
    /// Trying a password.
    Login,
    /// Changing something.
    Write,
    /// Searching.
    Search,
}

impl Policy {
    /// Its name, in headers and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Login => "login",
            Self::Write => "write",
            Self::Search => "search",
        }
    }
}

/// Whom a counter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Whoever asks from this address. Of IPv6 the network of 64 bits counts, because a client has all of one.
    Address(u128),
    /// Whoever shows this token, by a hash of it.
    Token(u64),
}

impl Client {
    /// The client at `address`.
    pub fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(u128::from(address.to_ipv6_mapped())),
            IpAddr::V6(address) => Self::Address(u128::from(address) & !u128::from(u64::MAX)),
        }
    }
}

/// What a client is told: the policy, its rate, and where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The policy that applies.
    pub policy: Policy,
    /// Its rate.
    pub rate: Rate,
    /// Where the client stands after this request.
    pub standing: Standing,
}

impl Verdict {
    /// How long a refused client has to wait; `None` for one that may go on.
    pub fn wait(&self) -> Option<Duration> {
        self.standing.wait
    }
}

/// Counts requests.
#[derive(Debug)]
pub struct Limiter {
    rates: config::Limits,
    table: Table,
    shared: Option<Shared>,
}

impl Limiter {
    /// Counts by the rates of the configuration, together with the other nodes where there is Redis.
    pub fn new(rates: config::Limits, redis: Option<Redis>) -> Self {
        Self { rates, table: Table::default(), shared: redis.map(Shared::new) }
    }

    /// Whether requests from this address are never counted.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.rates.exempt.iter().any(|network| network.contains(&address))
    }

    /// Counts one request of `client`; `None` where the policy has no limit. A refused request is not counted.
    pub async fn ask(&self, policy: Policy, client: Client, now: Moment) -> Option<Verdict> {
        self.decide(policy, client, now, true).await
    }

    /// As [`Limiter::ask`], without counting.
    pub async fn look(&self, policy: Policy, client: Client, now: Moment) -> Option<Verdict> {
        self.decide(policy, client, now, false).await
    }

    async fn decide(&self, policy: Policy, client: Client, now: Moment, counts: bool) -> Option<Verdict> {
        let rate = self.rate(policy)?;
        let verdict = |standing| Some(Verdict { policy, rate, standing });
        if let Some(shared) = &self.shared {
            // Whoever is refused by what this node knows is refused by all: nobody else makes a counter smaller.
            let known = self.table.update(policy, client, now, |counter| gcra::look(rate, *counter, now));
            if known.wait.is_some() {
                return verdict(known);
            }
            if let Some(standing) = shared.decide(policy, client, rate, counts).await {
                self.table.update(policy, client, now, |counter| {
                    *counter = (*counter).max(gcra::counter(standing, now));
                });
                return verdict(standing);
            }
        }
        verdict(self.table.update(policy, client, now, |counter| {
            if counts { gcra::take(rate, counter, now) } else { gcra::look(rate, *counter, now) }
        }))
    }

    fn rate(&self, policy: Policy) -> Option<Rate> {
        match policy {
            Policy::Public => self.rates.public,
            Policy::Login => self.rates.login,
            Policy::Write => self.rates.write,
            Policy::Search => self.rates.search,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_a_whole_network_of_ipv6_and_one_address_of_ipv4() {
        let at = |address: &str| Client::at(address.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
