//! Checks who may ask, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cirque_shared::config::Problems;

use super::super::policy::{Access, Rate, RateKey, RateLimit};
use super::super::raw;
use super::headers::checked_name as checked_header;
use super::value::{checked_name, in_range, networks};

pub(super) fn access(
    at: &str,
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    problems: &mut Problems,
) -> Access {
    Access {
        allow: networks(&format!("{at}.allow"), allow, problems),
        deny: networks(&format!("{at}.deny"), deny, problems),
    }
}

pub(super) fn rate_limits(raw: BTreeMap<String, raw::RateLimit>, problems: &mut Problems) -> Vec<RateLimit> {
    let mut limits = Vec::new();
    for (name, raw) in raw {
        let at = format!("rate_limits.{name}");
        if let Err(why) = checked_name(&name) {
            problems.push(&at, why);
        }
        let written = problems.require(&format!("{at}.rate"), raw.rate);
        let interval = interval(&written).unwrap_or_else(|| {
            if !written.is_empty() {
                let why = format!("must be like \"10/s\", \"100/m\" or \"1000/h\", got {written:?}");
                problems.push(&format!("{at}.rate"), why);
            }
            Duration::from_secs(1)
        });
        let key = match raw.key.as_deref().unwrap_or("client") {
            "client" => RateKey::Client,
            "route" => RateKey::Route,
            text => match text.strip_prefix("header:").map(checked_header) {
                Some(Ok(header)) => RateKey::Header(header.to_ascii_lowercase().into()),
                _ => {
                    let why = format!("must be \"client\", \"route\" or \"header:NAME\", got {text:?}");
                    problems.push(&format!("{at}.key"), why);
                    RateKey::Client
                }
            },
        };
        limits.push(RateLimit {
            name,
            key,
            rate: Rate {
                interval,
                burst: in_range(&format!("{at}.burst"), raw.burst.unwrap_or(0), 0, 1_000_000, problems),
            },
            is_dry_run: raw.dry_run.unwrap_or_default(),
            keys: in_range(&format!("{at}.keys"), raw.keys.unwrap_or(65_536), 1, 10_000_000, problems),
        });
    }
    limits
}

/// The names of limits that a route is held to; each must be there.
pub(super) fn named(
    at: &str,
    names: Option<Vec<String>>,
    known: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Vec<String> {
    let names = names.unwrap_or_default();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(name.as_str())) {
        let known = match known.iter().copied().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => format!("none; add [rate_limits.{name}]"),
            known => known,
        };
        problems.push(&format!("{at}[{index}]"), format!("no rate limit {name:?}; there are: {known}"));
    }
    names
}

/// The time between two requests of a rate, from a million a second to one an hour.
fn interval(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok()?;
    let unit = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return None,
    };
    (1..=1_000_000).contains(&count).then(|| unit / count)
}
