//! Turns what a file says of things that are done later into values: queues, mail, webhooks.

use cirque_shared::config::Problems;

use super::super::{Queue, QueueLimits, raw};
use super::{MS, Range, S, rate, spoken};

const HOUR: u64 = 3600;
const YEAR: u64 = 365 * 24 * HOUR;

pub(super) fn queue(raw: raw::Queue, problems: &mut Problems) -> Queue {
    let workers = Range { least: 0, most: 1000, show: usize::to_string };
    let workers = workers.check("queue.workers", raw.workers, problems);
    let mut duration =
        |key: &str, value, least, most| Range { least, most, show: spoken }.check(key, value, problems);
    let poll = duration("queue.poll", raw.poll, MS(50), S(60));
    let lease = duration("queue.lease", raw.lease, S(1), S(HOUR));
    let keep_done = duration("queue.keep_done", raw.keep_done, S(60), S(YEAR));
    let keep_buried = duration("queue.keep_buried", raw.keep_buried, S(HOUR), S(YEAR));
    Queue {
        workers,
        poll,
        lease,
        keep_done,
        keep_buried,
        default: limits("queue.default", raw.default, problems),
        mail: limits("queue.mail", raw.mail, problems),
        webhooks: limits("queue.webhooks", raw.webhooks, problems),
    }
}

fn limits(at: &str, raw: Option<raw::QueueLimits>, problems: &mut Problems) -> QueueLimits {
    let raw = raw.unwrap_or_default();
    let mut count = |key: &str, value, most| {
        Range { least: 0, most, show: u32::to_string }.check(&format!("{at}.{key}"), value, problems)
    };
    let at_once = count("at_once", raw.at_once, 1000);
    let in_fleet = count("in_fleet", raw.in_fleet, 10_000);
    QueueLimits { at_once, in_fleet, rate: rate(&format!("{at}.rate"), raw.rate, problems) }
}
