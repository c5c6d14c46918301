//! Ten thousand subscribers, and a worker that is killed again and again while they are written to.

use std::collections::BTreeSet;
use std::time::Duration;

use cirque_tests::mailbox::Mailbox;
use cirque_tests::{eventually, sql};

use super::{BOUND, Site};

const READERS: usize = 10_000;
/// Mails at once in one process: no more can be on their way when it is killed.
const AT_ONCE: usize = 12;
const KILLS: usize = 5;

#[test]
fn ten_thousand_hear_of_a_post_though_their_worker_is_killed_five_times() {
    let mailbox = Mailbox::of_ids();
    let toml = format!(
        "queue = {{ workers = 0, lease = '1s', poll = '100ms', mail.at_once = {AT_ONCE} }}\nmail.smtp = '{}'\n",
        mailbox.url()
    );
    let site = Site::start(None, 1, &toml);
    let readers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {READERS}) \
         INSERT INTO subscribers (email, status, requested_at, created_at) \
         SELECT 'reader' || i || '@example.com', 'confirmed', 0, 0 FROM n"
    );
    sql::column(&site.url, &readers);
    site.publish(0, "News").expect("it is published");
    let worker = || cirque_tests::node::run(&["work".to_owned(), "--jobs=16".to_owned()], &site.file(0));
    let mut working = worker();
    for kill in 1..=KILLS {
        // The first one among the writing of the mails, the others among the sending.
        let enough = || match kill {
            1 => site.number("SELECT count(*) FROM jobs WHERE kind = 'mail_subscriber'") >= 1000,
            _ => mailbox.ids().len() >= (kill - 1) * 1500,
        };
        eventually("there is something to lose", BOUND, enough, |enough| *enough);
        working.kill();
        working.wait_exit(BOUND);
        working = worker();
    }
    site.wait_until_all_is_done(Duration::from_secs(150));
    let ids = mailbox.ids();
    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), READERS, "everybody was written to");
    let twice = ids.len() - different.len();
    assert!(twice <= KILLS * AT_ONCE, "{twice} mails came twice, at most {KILLS} times {AT_ONCE} may");
    assert_eq!(site.number("SELECT count(*) FROM jobs WHERE kind = 'mail_subscriber'"), 10_000);
    assert_eq!(
        site.number("SELECT count(*) FROM jobs WHERE state <> 'done' AND kind <> 'publish_scheduled'"),
        0
    );
    report(twice);
}

#[expect(clippy::print_stderr, reason = "the figure is worth a line in the log")]
fn report(twice: usize) {
    eprintln!("{READERS} readers, {KILLS} kills: {twice} mails came twice, with the Message-ID of the first");
}
