//! What goes wrong at an edge, driven by its real cause.

use cirque_tests::Authority;
use cirque_tests::process::Signal;

use super::*;

// key: proxy.toml alerts.peers, alerts.peer_token, alerts.place
#[test]
fn two_edges_tell_of_a_backend_that_is_down_once_and_of_its_return_once() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let rules = quick(&folder);
    let (hook, one, two) = (Backend::named("hook"), Backend::named("one"), Backend::named("two"));
    let tokens = format!("server.admin_tokens = ['peer:read:{}']\n", TOKEN.1);
    let peers = format!("alerts.peer_token = '{}'", TOKEN.0);
    let edges = two_edges(&telling(&hook, &rules), &[&one, &two], &tokens, &peers);
    one.refuse();
    wait_for(&hook, &[":warning: *Backend Down*"]);
    // The second in line has waited, asked, and heard that it was told.
    nothing_else(&hook, 1, Duration::from_secs(6));
    edges[1].process.wait_for_line("alert is firing", SOON);
    one.accept();
    wait_for(&hook, &[":warning: *Backend Down*", ":white_check_mark: *Resolved: Backend Down*"]);
    nothing_else(&hook, 2, Duration::from_secs(6));
}

/// What the log says of an alert, beside what was told of it.
#[track_caller]
fn logged(edge: &Edge, rule: &str) {
    let lines = || {
        let lines = edge.process.json_lines();
        lines.into_iter().filter(|line| line["message"] == "alert is firing" && line["rule"] == rule).count()
    };
    eventually(&format!("{rule} is in the log"), SOON, lines, |count| *count > 0);
}

fn sent(edge: &Edge, n: f64) {
    edge.wait_for_metric("alert_notifications_total", &[("channel", "slack"), ("outcome", "sent")], n);
}

#[test]
fn an_upstream_with_nothing_available_is_told_once_and_explains_its_backends() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, one, two) = (Backend::named("hook"), Backend::named("one"), Backend::named("two"));
    let edge = edge(&telling(&hook, &quick(&folder)), &[&one, &two]).start();
    one.refuse();
    two.refuse();
    wait_for(&hook, &[":rotating_light: *Upstream Unavailable*"]);
    logged(&edge, "BackendDown");
    nothing_else(&hook, 1, Duration::from_secs(4));
    one.accept();
    two.accept();
    eventually(
        "its end is told",
        SOON,
        || told(&hook),
        |told| told.iter().any(|text| text.contains("Resolved: Upstream Unavailable")),
    );
    edge.wait_for_metric("alerts_firing", &[("severity", "critical")], 0.0);
}

#[test]
fn a_reload_that_was_refused_is_told_until_one_is_taken() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, backend) = (Backend::named("hook"), Backend::named("one"));
    let mut edge = edge(&telling(&hook, &quick(&folder)), &[&backend]).start();
    edge.rewrite(|builder| builder.toml("server.grace_period = 'for ever'"));
    edge.process.signal(Signal::HUP);
    wait_for(&hook, &[":warning: *Configuration Not Reloaded*"]);
    edge.rewrite(|builder| builder.toml("server.grace_period = '5s'"));
    edge.process.signal(Signal::HUP);
    wait_for(
        &hook,
        &[
            ":warning: *Configuration Not Reloaded*",
            ":white_check_mark: *Resolved: Configuration Not Reloaded*",
        ],
    );
    sent(&edge, 2.0);
}

#[test]
fn a_certificate_near_its_end_is_told_until_it_is_replaced() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, backend, authority) = (Backend::named("hook"), Backend::named("one"), Authority::new());
    let files = authority.issue_for_days("api", &["api.example.com"], 9);
    let listener = format!(
        "listeners = [{{ name = 'https', address = '{}', tls = {{ certificates = [{}] }} }}]",
        cirque_tests::ports::address(),
        files.row()
    );
    let edge = edge(&telling(&hook, &quick(&folder)), &[&backend]).toml(&listener).launch();
    edge.wait_until_ready();
    wait_for(&hook, &[":warning: *Certificate Near Its End*"]);
    let body = String::from_utf8_lossy(&hook.requests_to("/slack")[0].body).into_owned();
    assert!(body.contains("ends in 8.") || body.contains("ends in 9"), "{body}");
    authority.issue_for_days("api", &["api.example.com"], 90);
    wait_for(
        &hook,
        &[":warning: *Certificate Near Its End*", ":white_check_mark: *Resolved: Certificate Near Its End*"],
    );
    sent(&edge, 2.0);
}

#[test]
fn failures_beyond_the_retry_budget_are_told() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, one, two) = (Backend::named("hook"), Backend::named("one"), Backend::named("two"));
    for backend in [&one, &two] {
        backend.answer_on("/x", Reply::status(503));
    }
    let edge = edge(&telling(&hook, &quick(&folder)), &[&one, &two])
        .without_ejection()
        .toml("defaults.route.retry = { budget = '0%', budget_floor = 0 }")
        .start();
    // What is saved up at the start is spent first.
    let _ = Load::on(edge.address(), "/x").connections(4).requests(400).run();
    wait_for(&hook, &[":warning: *Retry Budget Exhausted*"]);
    wait_for(
        &hook,
        &[":warning: *Retry Budget Exhausted*", ":white_check_mark: *Resolved: Retry Budget Exhausted*"],
    );
    logged(&edge, "RetryBudgetExhausted");
}

#[test]
fn errors_of_the_edges_own_are_told() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, one) = (Backend::named("hook"), Backend::named("one"));
    one.answer_on("/slow", Reply::stall());
    let edge = edge(&telling(&hook, &quick(&folder)), &[&one])
        .without_ejection()
        .toml("upstreams.app.read_timeout = '100ms'")
        .toml("defaults.route.retry.attempts = 1")
        .start();
    let _ = Load::on(edge.address(), "/slow").connections(6).requests(30).run();
    wait_for(&hook, &[":rotating_light: *The Edge Answers With Errors*"]);
    wait_for(
        &hook,
        &[
            ":rotating_light: *The Edge Answers With Errors*",
            ":white_check_mark: *Resolved: The Edge Answers With Errors*",
        ],
    );
    logged(&edge, "EdgeErrors");
}
