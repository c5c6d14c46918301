//! Checks upstreams and their backends.

use std::collections::{BTreeMap, BTreeSet};

use cirque_shared::config::Problems;

use super::super::policy::{BALANCE, Fails, HashBy, Timeouts};
use super::super::{Backend, Upstream, raw};
use super::availability::{outlier, probe, unavailable};
use super::reach::reach;
use super::value::{backend_address, checked_name, in_range, name, one_of, positive};

pub(super) fn upstreams(raw: BTreeMap<String, raw::Upstream>, problems: &mut Problems) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for (name, raw) in raw {
        let at = format!("upstreams.{name}");
        if let Err(why) = checked_name(&name) {
            problems.push(&at, why);
        }
        let policy = raw.policy;
        let balance = policy.balance.clone().unwrap_or_default();
        upstreams.push(Upstream {
            name,
            reach: reach(&at, &policy, problems),
            balance: one_of(&format!("{at}.balance"), &balance, &BALANCE, problems).unwrap_or_default(),
            hash_by: hash_by(&format!("{at}.hash_by"), &policy.hash_by.clone().unwrap_or_default(), problems),
            queue: in_range(&format!("{at}.queue"), policy.queue.unwrap_or_default(), 0, 100_000, problems),
            queue_timeout: positive(&format!("{at}.queue_timeout"), policy.queue_timeout, problems),
            timeouts: Timeouts {
                connect: positive(&format!("{at}.connect_timeout"), policy.connect_timeout, problems),
                send: positive(&format!("{at}.send_timeout"), policy.send_timeout, problems),
                read: positive(&format!("{at}.read_timeout"), policy.read_timeout, problems),
                keepalive: policy.keepalive_timeout.unwrap_or_default(),
            },
            fail_open: policy.fail_open.unwrap_or_default(),
            unavailable: unavailable(
                &format!("{at}.unavailable"),
                policy.unavailable.clone().unwrap_or_default(),
                problems,
            ),
            probe: probe(&format!("{at}.probe"), policy.probe.unwrap_or_default(), problems),
            outlier: outlier(&format!("{at}.outlier"), &policy.outlier.unwrap_or_default(), problems),
            backends: backends(&at, raw.backends.unwrap_or_default(), problems),
        });
    }
    upstreams
}

fn hash_by(at: &str, text: &str, problems: &mut Problems) -> HashBy {
    HashBy::parse(text).unwrap_or_else(|why| {
        problems.push(at, why);
        HashBy::default()
    })
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
            address: backend_address(&format!("{at}.address"), raw.address, problems),
            weight: in_range(&format!("{at}.weight"), policy.weight.unwrap_or(1), 0, 1000, problems),
            backup: policy.backup.unwrap_or_default(),
            max_conns: policy.max_conns.filter(|max| *max > 0),
            slow_start: policy.slow_start.unwrap_or_default(),
            fails: Fails {
                max_fails: policy.max_fails.unwrap_or_default(),
                fail_timeout: positive(&format!("{at}.fail_timeout"), policy.fail_timeout, problems),
            },
        });
    }
    let shares = |backend: &Backend| backend.weight > 0 && !backend.backup;
    if !backends.is_empty() && !backends.iter().any(shares) {
        let what = "must not all be backups or weigh 0: nothing would be sent anywhere";
        problems.push(&format!("{at}.backends"), what);
    }
    backends
}
