//! What goes wrong in the app tier, driven by its real cause.

use cirque_tests::chaos::Link;
use cirque_tests::client::wait_until_ready;
use cirque_tests::{Client, Process};

use super::*;
use crate::queue::{Site, publish};

#[test]
fn too_many_errors_of_three_nodes_are_told_once_though_the_leader_is_killed() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let hook = Backend::named("hook");
    let mut fleet = Fleet::start(&telling(&hook, &quick(&folder)), "");
    // Each node has too few by itself: it is the sum that counts.
    postgres::psql(fleet.server.address(), "postgres", "ALTER TABLE posts RENAME TO lost");
    for _ in 0..4 {
        for node in &fleet.nodes {
            node.get("/api/v1/posts").expect_status(500);
        }
    }
    wait_for(&hook, &[":rotating_light: *High Error Rate Detected*"]);
    let leader = fleet.leader();
    fleet.nodes.remove(leader).process.kill();
    fleet.leader();
    postgres::psql(fleet.server.address(), "postgres", "ALTER TABLE lost RENAME TO posts");
    wait_for(
        &hook,
        &[
            ":rotating_light: *High Error Rate Detected*",
            ":white_check_mark: *Resolved: High Error Rate Detected*",
        ],
    );
    nothing_else(&hook, 2, Duration::from_secs(6));
}

#[test]
fn a_database_that_stops_is_told_once_by_nodes_that_cannot_ask_it_who_leads() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let hook = Backend::named("hook");
    let mut fleet = Fleet::start(&telling(&hook, &quick(&folder)), "");
    fleet.server.process.interrupt();
    wait_for(&hook, &[":rotating_light: *Database Connection Issue*"]);
    // Long enough for the last in line to have waited, asked and stayed silent.
    nothing_else(&hook, 1, Duration::from_secs(10));
    let text = String::from_utf8_lossy(&hook.requests_to("/slack")[0].body).into_owned();
    assert!(!text.contains("postgres://") && !text.contains("127.0.0.1"), "{text}");
    fleet.server.restart(&[]);
    wait_for(
        &hook,
        &[
            ":rotating_light: *Database Connection Issue*",
            ":white_check_mark: *Resolved: Database Connection Issue*",
        ],
    );
    nothing_else(&hook, 2, Duration::from_secs(8));
}

#[test]
fn a_database_that_stops_is_told_once_by_whoever_leads_in_redis_though_that_one_is_killed() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let hook = Backend::named("hook");
    let redis = cirque_tests::redis::Server::start(&[]);
    let mut fleet =
        Fleet::start(&telling(&hook, &quick(&folder)), &cirque_tests::redis::toml(redis.address()));
    fleet.server.process.interrupt();
    wait_for(&hook, &[":rotating_light: *Database Connection Issue*"]);
    // Nobody waits in line: Redis says who tells, and what was told.
    let leader = fleet.leader();
    nothing_else(&hook, 1, Duration::from_secs(4));
    fleet.nodes.remove(leader).process.kill();
    fleet.leader();
    nothing_else(&hook, 1, Duration::from_secs(6));
    fleet.server.restart(&[]);
    wait_for(
        &hook,
        &[
            ":rotating_light: *Database Connection Issue*",
            ":white_check_mark: *Resolved: Database Connection Issue*",
        ],
    );
    nothing_else(&hook, 2, Duration::from_secs(4));
}

// key: app.toml database.slow_statement
#[test]
fn a_slow_database_is_told_as_slow_answers() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let hook = Backend::named("hook");
    let server = postgres::Server::start(&[]);
    let link = Link::to(server.address());
    let url = server.url().replace(&server.address().to_string(), &link.address().to_string());
    let node = Node::builder()
        .toml(&telling(&hook, &quick(&folder)))
        .toml(&format!("database.url = '{url}'\ncache.max_size = 0\nhealth.timeout = '20s'\ndatabase.slow_statement = '1s'"))
        .start();
    link.delay(Duration::from_millis(700));
    // Some may wait for a connection for too long: that is slow, too.
    let _ = Load::on(node.address(), "/api/v1/posts").connections(6).requests(6).run();
    wait_for(&hook, &[":warning: *Slow Response Time*"]);
    let body: Value = serde_json::from_slice(&hook.requests_to("/slack")[0].body).unwrap_or_default();
    assert_eq!(body["attachments"][0]["fields"][0]["value"], "/api/v1/posts", "{body}");
    let slow = || {
        let lines = node.process.json_lines();
        lines.into_iter().any(|line| {
            let statement = line["db.statement"].as_str().unwrap_or_default();
            line["message"] == "statement was slow" && statement.contains("\"posts\"")
        })
    };
    eventually("the statement is in the log", SOON, slow, |found| *found);
    assert!(node.metrics().value("database_slow_statements_total", &[]) > 0.0);
    link.restore();
    wait_for(&hook, &[":warning: *Slow Response Time*", ":white_check_mark: *Resolved: Slow Response Time*"]);
}

#[test]
fn the_guides_seven_variables_switch_slack_and_discord_on_and_set_thresholds() {
    let hook = Backend::named("hook");
    let server = postgres::Server::start(&[]);
    let toml = format!(
        "alerts = {{ interval = '1s', group_wait = '0s' }}\ncache.max_size = 0\ndatabase.url = '{}'",
        server.url()
    );
    let builder = Node::builder().toml(&toml);
    let (address, file) = (builder.address(), builder.write());
    let mut migrated = cirque_tests::node::run(&["migrate".to_owned()], &file);
    assert_eq!(migrated.expect_exit(Duration::from_secs(60)), 0);
    // A job that nobody takes is more than none.
    let paused = "UPDATE queues SET paused_at = 1 WHERE name = 'default'";
    let waits = "INSERT INTO jobs (queue, kind, payload, state, run_at, created_at) \
                 VALUES ('default', 'quick', '{}', 'waiting', 0, 0)";
    [paused, waits].into_iter().for_each(|sql| postgres::psql(server.address(), "postgres", sql));
    let mut command = std::process::Command::new(cirque_tests::process::cirque_binary());
    command.args(["app", "serve", "--config"]).arg(&file);
    command.env("ALERTING_SLACK_ENABLED", "true").env("ALERTING_DISCORD_ENABLED", "true");
    command.env("SLACK_WEBHOOK_URL", format!("http://{}/slack", hook.address()));
    command.env("DISCORD_WEBHOOK_URL", format!("http://{}/discord", hook.address()));
    command.env("MONITORING_ERROR_RATE_THRESHOLD", "2").env("MONITORING_QUEUE_SIZE_THRESHOLD", "0");
    command.env("MONITORING_RESPONSE_TIME_THRESHOLD", "0.001");
    let node = Process::spawn("node", &mut command);
    wait_until_ready("the node", address, SOON);
    // Three errors are more than two: a table is gone.
    postgres::psql(server.address(), "postgres", "ALTER TABLE posts RENAME TO lost");
    for _ in 0..5 {
        Client::to(address).get("/api/v1/posts").expect_status(500);
    }
    for (title, threshold) in [
        ("High Error Rate Detected", "; 2 are taken as normal"),
        ("Slow Response Time", "; 0.001 ms are taken as normal"),
        ("High Queue Size", "; 0 are taken as normal"),
    ] {
        for path in ["/slack", "/discord"] {
            let bodies = || {
                let requests = hook.requests_to(path);
                let bodies =
                    requests.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned());
                bodies.filter(|body| body.contains(title)).collect::<Vec<_>>()
            };
            let found =
                eventually(&format!("{path} is told of {title}"), SOON, bodies, |told| told.len() == 1);
            assert!(found[0].contains(threshold), "{}", found[0]);
        }
    }
    let said = node.text(cirque_tests::process::Stream::Stderr);
    assert!(!said.contains("/slack") && !said.contains("/discord"), "an address is a secret");
}

#[test]
fn too_many_jobs_are_told_until_they_are_done() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let hook = Backend::named("hook");
    let site = Site::start(None, 2, &telling(&hook, &quick(&folder)));
    site.app(&["queue", "pause", "default"]);
    // Three jobs for each, and one for all.
    for number in 0..345 {
        publish(site.nodes[number % 2].address(), &site.token, &format!("Flood {number}"))
            .expect("published");
    }
    wait_for(&hook, &[":warning: *High Queue Size*"]);
    let body: Value = serde_json::from_slice(&hook.requests_to("/slack")[0].body).unwrap_or_default();
    let size = &body["attachments"][0]["fields"][0]["value"];
    let size: f64 = size.as_str().unwrap_or_default().parse().expect("it says how many wait");
    assert!((1001.0..=1100.0).contains(&size), "{body}");
    nothing_else(&hook, 1, Duration::from_secs(6));
    site.app(&["queue", "resume", "default"]);
    wait_for(&hook, &[":warning: *High Queue Size*", ":white_check_mark: *Resolved: High Queue Size*"]);
    nothing_else(&hook, 2, Duration::from_secs(4));
}
