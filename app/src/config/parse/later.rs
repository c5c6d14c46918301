//! Turns what a file says of things that are done later into values: queues, mail, webhooks.

use cirque_shared::config::Problems;

use super::super::{Analytics, Mail, Queue, QueueLimits, SmtpUrl, Webhooks, raw};
use super::{MS, Range, S, networks, rate, spoken};

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
    let listen = raw.listen.unwrap_or_default();
    let address = listen.parse().ok();
    if !listen.is_empty() && address.is_none() {
        problems.push("queue.listen", format!("must be an address like \"127.0.0.1:9911\", got {listen:?}"));
    }
    Queue {
        listen: address,
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

pub(super) fn mail(raw: raw::Mail, problems: &mut Problems) -> Mail {
    let url = raw.smtp.unwrap_or_default();
    let smtp = (!url.is_empty()).then(|| SmtpUrl::parse(&url)).transpose();
    let smtp = smtp.unwrap_or_else(|reason| {
        problems.push("mail.smtp", reason.to_string());
        None
    });
    let from = problems.require("mail.from", raw.from);
    let from = from.parse().unwrap_or_else(|_| {
        problems.push("mail.from", "must be an address like \"cirque <noreply@example.com>\"");
        let address = lettre::Address::new("noreply", "example.com").expect("it is one");
        lettre::message::Mailbox::new(None, address)
    });
    Mail { smtp, from, per_domain: rate("mail.per_domain", raw.per_domain, problems) }
}

pub(super) fn webhooks(raw: raw::Webhooks, problems: &mut Problems) -> Webhooks {
    let failures = Range { least: 1, most: 1000, show: u32::to_string };
    Webhooks {
        allow: networks("webhooks.allow", raw.allow, problems),
        failures: failures.check("webhooks.failures", raw.failures, problems),
    }
}

pub(super) fn analytics(raw: raw::Analytics, problems: &mut Problems) -> Analytics {
    let flush = Range { least: MS(100), most: S(60), show: spoken };
    let flush = flush.check("analytics.flush", raw.flush, problems);
    let bots = raw.bots.unwrap_or_default();
    if bots.iter().any(|bot| bot.trim().is_empty()) {
        problems.push("analytics.bots", "must not have an empty word, which every reader's User-Agent has");
    }
    Analytics { flush, bots }
}
