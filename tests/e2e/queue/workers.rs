//! Processes that only work: they answer scrapes and probes, and publish what was scheduled once for all.

use std::process::Command;

use cirque_tests::backend::{Backend, Reply};
use cirque_tests::node;
use cirque_tests::{Client, Request, Scrape, eventually, ports};
use serde_json::json;

use super::{BOUND, Site};

// key: app.toml queue.listen
#[test]
fn a_worker_answers_probes_and_scrapes_where_it_is_told_to() {
    let address = ports::address();
    let site = Site::start(None, 1, &format!("queue.workers = 0\nqueue.listen = '{address}'\n"));
    assert!(Client::to(address).try_send(&Request::get("/livez")).is_err(), "a node has its own address");
    let mut worker = site.worker();
    worker.wait_for_line("worker has started", BOUND);
    for path in ["/livez", "/readyz"] {
        Client::to(address).get(path).expect_status(200);
    }
    Client::to(address).get("/api/v1/posts").expect_status(404);
    site.publish(0, "Counted").expect("it is published");
    let done = || {
        let labels = [("kind", "call_webhooks"), ("outcome", "done")];
        Scrape::fetch(address, "/api/metrics").value("queue_jobs_total", &labels)
    };
    eventually("its jobs are counted", BOUND, done, |done| *done >= 1.0);
    assert!(Scrape::fetch(address, "/api/metrics").has("queue_jobs_pending", &[("queue", "mail")]));
    worker.terminate();
    assert_eq!(worker.expect_exit(BOUND), 0);
    let elsewhere = ports::address();
    let mut told = node::run(&["work".to_owned(), format!("--listen={elsewhere}")], &site.file(0));
    told.wait_for_line("worker has started", BOUND);
    Client::to(elsewhere).get("/livez").expect_status(200);
    told.terminate();
    assert_eq!(told.expect_exit(BOUND), 0);
}

#[test]
fn a_webhook_that_was_switched_off_is_told_and_counted_until_it_is_switched_on() {
    let receiver = Backend::answering(Reply::status(500));
    let site = Site::start(None, 1, "webhooks = { allow = ['127.0.0.0/8'], failures = 1 }\n");
    site.app(&["webhook", "add", &format!("http://{}/hook", receiver.address())]);
    site.publish(0, "News").expect("it is published");
    let off = || site.nodes[0].metrics().value("webhooks_disabled", &[]);
    eventually("it is off", BOUND, off, |off| (off - 1.0).abs() < 0.5);
    let said = "webhook was switched off after failing again and again: see `cirque app webhook list`";
    let lines = site.nodes[0].process.json_lines();
    assert_eq!(lines.iter().filter(|line| line["message"] == said).count(), 1);
    receiver.answer(Reply::status(204));
    site.app(&["webhook", "enable", "1"]);
    eventually("it is on", BOUND, off, |off| *off < 0.5);
}

#[test]
fn a_scheduled_post_is_published_once_by_one_of_many_workers() {
    let site = Site::start(None, 2, "queue.workers = 2\nqueue.poll = '200ms'\n");
    let workers: Vec<_> = (0..2).map(|_| site.worker()).collect();
    let soon = soon();
    let json = json!({ "title": "Later", "content": "<p>Words</p>", "category_id": 1,
        "status": "scheduled", "scheduled_at": soon });
    let request = Request::post("/api/v1/posts", json.to_string())
        .header("content-type", "application/json")
        .header("authorization", &format!("Bearer {}", site.token));
    site.nodes[0].client().send(&request).expect_status(201);
    site.nodes[1].get("/api/v1/posts/later").expect_status(404);
    let status = || site.nodes[1].get("/api/v1/posts/later").status;
    eventually("it is public", BOUND, status, |status| *status == 200);
    let published = "SELECT count(*) FROM events WHERE name = 'post.published'";
    assert_eq!(site.number(published), 1);
    site.wait_until_all_is_done(BOUND);
    assert_eq!(site.number(published), 1, "and by nobody else");
    drop(workers);
}

/// Three seconds from now, as clients write it.
fn soon() -> String {
    let output = Command::new("date").args(["-u", "-d", "+3 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    String::from_utf8_lossy(&output.expect("date is everywhere").stdout).trim().to_owned()
}
