//! Who may ask, how often, and what is remembered of them.

use std::time::Duration;

use ipnet::IpNet;

/// Whose connections or requests are taken. The most specific network that names an address decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// These, and nobody else unless it is empty.
    pub allow: Vec<IpNet>,
    /// Not these.
    pub deny: Vec<IpNet>,
}

/// How often somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time from one request to the next, above zero.
    pub interval: Duration,
    /// Requests that may come at once beyond that.
    pub burst: u32,
}

/// Who counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// Each client; an IPv6 client is its /64.
    Client,
    /// All requests of a route together.
    Route,
    /// Each value of this header (its name in lower case); requests without it are not counted.
    Header(Box<str>),
}

/// A named limit, which routes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In logs, metrics and answers; unique.
    pub name: String,
    /// Who counts as one.
    pub key: RateKey,
    /// How often one may ask.
    pub rate: Rate,
    /// Whether it only counts.
    pub is_dry_run: bool,
    /// How many keys are remembered, at least.
    pub keys: usize,
}
