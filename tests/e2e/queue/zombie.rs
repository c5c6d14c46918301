//! A worker that is frozen for longer than its lease, and wakes up.

use std::time::Duration;

use cirque_tests::backend::{Backend, Reply};
use cirque_tests::{eventually, postgres};
use serde_json::{Value, json};

use super::{BOUND, Site};

#[test]
fn a_worker_that_sleeps_beyond_its_lease_changes_nothing_when_it_wakes() {
    let database = postgres::Database::create();
    for url in [None, Some(database.url())] {
        sleeps(url.as_deref());
    }
}

fn sleeps(url: Option<&str>) {
    let receiver = Backend::answering(Reply::stall());
    let site = Site::start(
        url,
        1,
        "queue.workers = 0\nqueue.lease = '1s'\nqueue.poll = '100ms'\nwebhooks.allow = ['127.0.0.0/8']\n",
    );
    site.app(&["webhook", "add", &format!("http://{}/hook", receiver.address())]);
    let mut zombie = site.worker();
    zombie.wait_for_line("worker has started", BOUND);
    site.publish(0, "News").expect("it is published");
    receiver.wait_for_requests("/hook", 1);
    zombie.stop_signal();
    // The first call still hangs; the next one is answered.
    receiver.answer(Reply::status(204));
    let other = site.worker();
    other.wait_for_line("a job's process was gone", BOUND);
    let job = || -> Value {
        let listed = site.app(&["queue", "list", "--kind", "call_webhook", "--json"]);
        serde_json::from_str(&listed).unwrap_or_default()
    };
    let done = eventually("another worker has done it", BOUND, job, |job| job["state"] == "done");
    assert_eq!((&done["attempt"], &done["losses"], &done["failures"]), (&json!(2), &json!(1), &json!(0)));
    zombie.cont();
    // It learns that the job is not its own any more, by itself or when it wants to say how it went.
    zombie.wait_for_line("taken", BOUND);
    receiver.cut_connections();
    zombie.terminate();
    assert!(zombie.wait_exit(Duration::from_secs(40)).is_some());
    assert_eq!(job(), done, "nothing changed");
    let ids: Vec<_> =
        receiver.requests().iter().map(|call| call.header("webhook-id").map(str::to_owned)).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "the same id each time: {ids:?}");
}
