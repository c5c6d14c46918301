//! Checks how an upstream finds out who is available, and what it answers when nobody is.

use std::ops::RangeInclusive;
use std::time::Duration;

use cirque_shared::config::Problems;
use cirque_shared::config::units::Percent;

use super::super::policy::{Outlier, PROBE_KIND, Probe, Unavailable};
use super::super::raw;
use super::value::{in_range, one_of, positive};

pub(super) fn probe(at: &str, raw: raw::Probe, problems: &mut Problems) -> Probe {
    let path = raw.path.unwrap_or_default();
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.push(&format!("{at}.path"), format!("must start with / and have no spaces, got {path:?}"));
    }
    let host = raw.host.unwrap_or_default();
    if !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.push(&format!("{at}.host"), format!("must be a name like \"example.com\", got {host:?}"));
    }
    let kind = raw.kind.unwrap_or_default();
    Probe {
        kind: one_of(&format!("{at}.kind"), &kind, &PROBE_KIND, problems).unwrap_or_default(),
        path,
        host,
        port: raw.port.filter(|port| *port > 0),
        status: statuses(&format!("{at}.status"), &raw.status.unwrap_or_default(), problems),
        body: raw.body.unwrap_or_default(),
        interval: positive(&format!("{at}.interval"), raw.interval, problems),
        fast_interval: positive(&format!("{at}.fast_interval"), raw.fast_interval, problems),
        jitter: in_range(
            &format!("{at}.jitter"),
            raw.jitter.unwrap_or_default(),
            Percent::default(),
            Percent::of(50.0),
            problems,
        )
        .fraction(),
        timeout: positive(&format!("{at}.timeout"), raw.timeout, problems),
        fall: in_range(&format!("{at}.fall"), raw.fall.unwrap_or(1), 1, 1000, problems),
        rise: in_range(&format!("{at}.rise"), raw.rise.unwrap_or(1), 1, 1000, problems),
    }
}

/// `200` or `200-399`, several of them.
fn statuses(at: &str, written: &[String], problems: &mut Problems) -> Vec<RangeInclusive<u16>> {
    if written.is_empty() {
        problems.push(at, "must not be empty: name a status like \"200\" or a range like \"200-399\"");
    }
    let mut ranges = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first @ 200..=599), Ok(last @ 200..=599)) if first <= last => ranges.push(first..=last),
            _ => problems.push(
                &format!("{at}[{index}]"),
                format!("must be a status from 200 to 599 or a range like \"200-399\", got {text:?}"),
            ),
        }
    }
    ranges
}

pub(super) fn outlier(at: &str, raw: &raw::Outlier, problems: &mut Problems) -> Outlier {
    let eject_time = positive(&format!("{at}.eject_time"), raw.eject_time, problems);
    let max_eject_time = raw.max_eject_time.unwrap_or_default();
    if max_eject_time < eject_time {
        problems.push(&format!("{at}.max_eject_time"), "must not be shorter than eject_time");
    }
    let window = positive(&format!("{at}.window"), raw.window, problems);
    if window < Duration::from_millis(100) {
        problems.push(&format!("{at}.window"), "must be at least \"100ms\"");
    }
    Outlier {
        consecutive_faults: raw.consecutive_faults.unwrap_or_default(),
        consecutive_errors: raw.consecutive_errors.unwrap_or_default(),
        failure_ratio: raw.failure_ratio.map_or(0.0, Percent::fraction),
        min_requests: in_range(
            &format!("{at}.min_requests"),
            raw.min_requests.unwrap_or(1),
            1,
            u32::MAX,
            problems,
        ),
        window,
        eject_time,
        max_eject_time,
        max_ejected: in_range(
            &format!("{at}.max_ejected"),
            raw.max_ejected.unwrap_or_default(),
            Percent::of(1.0),
            Percent::of(100.0),
            problems,
        )
        .fraction(),
        shadow: raw.shadow.unwrap_or_default(),
    }
}

pub(super) fn unavailable(at: &str, raw: raw::Unavailable, problems: &mut Problems) -> Unavailable {
    let content_type = raw.content_type.unwrap_or_default();
    let is_header_safe = content_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if content_type.is_empty() || !is_header_safe {
        problems.push(
            &format!("{at}.content_type"),
            format!("must be a media type like \"text/html; charset=utf-8\", got {content_type:?}"),
        );
    }
    Unavailable {
        status: in_range(&format!("{at}.status"), raw.status.unwrap_or(503), 400, 599, problems),
        retry_after: seconds(raw.retry_after.unwrap_or_default()),
        body: raw.body.unwrap_or_default(),
        content_type,
    }
}

/// Whole seconds, rounded up: nobody is to come back too early.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}
