//! Checks upstreams, their probes and their backends.

use std::collections::{BTreeMap, BTreeSet};

use cirque_shared::config::Problems;

use super::super::policy::{BALANCE, Balance, Outlier, Probe, Timeouts};
use super::super::{Backend, Upstream, raw};
use super::value::{address, checked_name, in_range, name, one_of, positive};

pub(super) fn upstreams(raw: BTreeMap<String, raw::Upstream>, problems: &mut Problems) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for (name, raw) in raw {
        let at = format!("upstreams.{name}");
        if let Err(why) = checked_name(&name) {
            problems.push(&at, why);
        }
        let policy = raw.policy;
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
            backends: backends(&at, raw.backends.unwrap_or_default(), problems),
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

fn backends(at: &str, raw: Vec<raw::Backend>, problems: &mut Problems) -> Vec<Backend> {
    if raw.is_empty() {
        problems.push(
            &format!("{at}.backends"),
            format!("must not be empty: add [[{at}.backends]] with an id and an address"),
        );
    }
    let mut ids = BTreeSet::new();
    let mut backends = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("{at}.backends[{index}]");
        let policy = raw.policy;
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
