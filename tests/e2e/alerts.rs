//! Each problem is told once, by whichever process may tell it, and so is its end; driven by its real cause.

mod fleet;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cirque_tests::chaos::Link;
use cirque_tests::client::wait_until_ready;
use cirque_tests::edge::Builder;
use cirque_tests::process::Signal;
use cirque_tests::{
    Authority, Backend, Client, Edge, Load, Node, Process, Reply, Request, eventually, postgres, throughout,
};
use serde_json::Value;
use tempfile::TempDir;

/// A token and its digest.
const TOKEN: (&str, &str) = ("look", "3c01eba119e00d79c82b6f65d70bc5f1044d568618bf41377e6d1432023fc2b8");

const SOON: Duration = Duration::from_secs(40);

/// The built-in rules with short times: the conditions are the same.
fn quick(folder: &TempDir) -> PathBuf {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring/alerts/rules.toml");
    let mut text = std::fs::read_to_string(rules).expect("the rules are in the repository");
    for (long, short) in [("hold = \"10s\"", "hold = \"1s\""), ("hold = \"5s\"", "hold = \"1s\"")] {
        text = text.replace(long, short);
    }
    for long in ["keep_firing = \"1m\"", "keep_firing = \"30s\""] {
        text = text.replace(long, "keep_firing = \"1s\"");
    }
    // A range of a minute is one of five seconds.
    text = text.replace("[1m]", "[5s]");
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, text).expect("the temporary directory is writable");
    path
}

/// `[alerts]` that tell Slack at this backend, quickly.
fn telling(hook: &Backend, rules: &Path) -> String {
    format!(
        "alerts = {{ interval = '1s', group_wait = '0s', line_wait = '3s', rules = '{}', \
         slack = {{ enabled = true, webhook_url = 'http://{}/slack' }} }}",
        rules.display(),
        hook.address()
    )
}

/// The first lines of what was told so far.
fn told(hook: &Backend) -> Vec<String> {
    let text = |body: &[u8]| serde_json::from_slice::<Value>(body).ok()?["text"].as_str().map(str::to_owned);
    hook.requests_to("/slack").iter().filter_map(|request| text(&request.body)).collect()
}

#[track_caller]
fn wait_for(hook: &Backend, expected: &[&str]) {
    eventually(&format!("told: {expected:?}"), SOON, || told(hook), |told| told.len() >= expected.len());
    assert_eq!(told(hook), expected);
}

#[track_caller]
fn nothing_else(hook: &Backend, n: usize, window: Duration) {
    throughout("nothing else is told", window, || told(hook), |told| told.len() == n);
}

const PROBE: &str = "upstreams.app.probe = { interval = '200ms', timeout = '200ms', fall = 1, rise = 1 }";

fn edge(hook: &Backend, rules: &Path, backends: &[&Backend]) -> Builder {
    let builder = backends.iter().fold(Edge::builder(), |builder, backend| builder.backend(backend));
    builder.toml(&telling(hook, rules)).toml(PROBE)
}

// key: proxy.toml alerts.peers, alerts.peer_token, alerts.place
#[test]
fn two_edges_tell_of_a_backend_that_is_down_once_and_of_its_return_once() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let rules = quick(&folder);
    let (hook, one, two) = (Backend::named("hook"), Backend::named("one"), Backend::named("two"));
    let builders = [0, 1].map(|place| {
        let tokens = format!("server.admin_tokens = ['peer:read:{}']\nalerts.place = {place}", TOKEN.1);
        edge(&hook, &rules, &[&one, &two]).toml(&tokens)
    });
    let admins = [0, 1].map(|n| builders[n].admin());
    let mut edges: Vec<Edge> = Vec::new();
    for (n, builder) in builders.into_iter().enumerate() {
        let peers = format!("alerts.peers = ['{}']\nalerts.peer_token = '{}'", admins[1 - n], TOKEN.0);
        edges.push(builder.toml(&peers).start());
    }
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
    let edge = edge(&hook, &quick(&folder), &[&one, &two]).start();
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
    let mut edge = edge(&hook, &quick(&folder), &[&backend]).start();
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
    let edge = edge(&hook, &quick(&folder), &[&backend]).toml(&listener).launch();
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
    let edge = edge(&hook, &quick(&folder), &[&one, &two])
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
    let edge = edge(&hook, &quick(&folder), &[&one])
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

/// Three nodes of one PostgreSQL, called a, b and c.
struct Fleet {
    nodes: Vec<Node>,
    server: postgres::Server,
}

impl Fleet {
    fn start(hook: &Backend, rules: &Path, more: &str) -> Fleet {
        let server = postgres::Server::start(&[]);
        let url = server.url();
        let start = |name: &str| {
            Node::builder()
                .toml(&telling(hook, rules))
                .toml(&format!("server.node = '{name}'\ndatabase.url = '{url}'\ncache.max_size = 0"))
                .toml(more)
                .start()
        };
        let nodes = ["a", "b", "c"].map(start).into_iter().collect();
        let fleet = Fleet { nodes, server };
        fleet.leader();
        for node in &fleet.nodes {
            let seen = || node.metrics().value("alert_instances", &[]);
            eventually("the nodes know each other", SOON, seen, |seen| *seen >= 3.0);
        }
        fleet
    }

    /// The number of the node that tells, as soon as there is exactly one.
    #[track_caller]
    fn leader(&self) -> usize {
        let leads = |node: &Node| node.metrics().value("alert_leader", &[]) > 0.0;
        let leaders = || (0..self.nodes.len()).filter(|n| leads(&self.nodes[*n])).collect::<Vec<_>>();
        eventually("one node leads", SOON, leaders, |leaders| leaders.len() == 1)[0]
    }
}

#[test]
fn too_many_errors_of_three_nodes_are_told_once_though_the_leader_is_killed() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let hook = Backend::named("hook");
    let mut fleet = Fleet::start(&hook, &quick(&folder), "");
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
    let mut fleet = Fleet::start(&hook, &quick(&folder), "");
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
    let mut fleet = Fleet::start(&hook, &quick(&folder), &cirque_tests::redis::toml(redis.address()));
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

fn cirque(arguments: &[&str]) -> (i32, String) {
    let mut process = Process::cirque("cirque alerts", arguments);
    let code = process.expect_exit(Duration::from_secs(20));
    let lines: Vec<String> = process.lines().into_iter().map(|line| line.text).collect();
    (code, lines.join("\n"))
}

#[test]
fn an_operator_lists_tests_and_silences_alerts_from_the_command_line() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, one) = (Backend::named("hook"), Backend::named("one"));
    let edge = edge(&hook, &quick(&folder), &[&one]).start();
    let admin = edge.admin().to_string();
    let silence = [
        "alerts",
        "silence",
        "UpstreamUnavailable",
        "--label",
        "upstream=app",
        "--for",
        "1h",
        "--reason",
        "new disk",
        "--author",
        "ada",
        "--admin",
        &admin,
    ];
    let (code, said) = cirque(&silence);
    assert_eq!(code, 0, "{said}");
    one.refuse();
    let list = || cirque(&["alerts", "list", "--admin", &admin]).1;
    let listed = eventually("it is listed as muted", SOON, list, |said| said.contains("muted    critical"));
    assert!(listed.contains("ada: new disk") && listed.contains("channel  slack"), "{listed}");
    nothing_else(&hook, 0, Duration::from_secs(2));
    let id = said.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(cirque(&["alerts", "unsilence", &id, "--admin", &admin]).0, 0);
    wait_for(&hook, &[":rotating_light: *Upstream Unavailable*"]);
    assert_eq!(cirque(&["alerts", "test", "--channel", "slack", "--admin", &admin]).0, 0);
    let (_, history) = cirque(&["alerts", "history", "--admin", &admin]);
    for word in ["silenced", "unsilenced", "firing", "told"] {
        assert!(history.contains(word), "{word} is not in\n{history}");
    }
    hook.answer_on("/slack", Reply::status(404));
    let (code, said) = cirque(&["alerts", "test", "--admin", &admin]);
    assert_eq!((code, said.contains("answered 404")), (1, true), "{said}");
    let (code, said) =
        cirque(&["alerts", "silence", "Nothing", "--for", "1h", "--reason", "x", "--admin", &admin]);
    assert_eq!((code, said.contains("no rule of this name")), (1, true), "{said}");
}

#[test]
fn a_script_can_ask_a_running_node_whether_it_serves() {
    let server = postgres::Server::start(&[]);
    let node =
        Node::builder().toml(&format!("database.url = '{}'\nhealth.timeout = '500ms'", server.url())).start();
    let url = format!("http://{}", node.address());
    let check = || cirque_app_check(&url);
    assert_eq!(check(), (0, true));
    let mut server = server;
    server.process.interrupt();
    eventually("it does not serve", SOON, check, |found| *found == (1, true));
}

/// The exit code, and whether the services are told.
fn cirque_app_check(url: &str) -> (i32, bool) {
    let mut process = Process::cirque("cirque app check", &["app", "check", "--live", url]);
    let code = process.expect_exit(Duration::from_secs(20));
    (code, process.lines().iter().any(|line| line.text.starts_with("database ")))
}

#[test]
fn a_nodes_alerts_are_for_admins_and_what_it_told_is_for_nodes_alone() {
    let node = Node::builder().start();
    node.get("/api/alerts").expect_status(401);
    node.get("/api/alerts/word").expect_status(401);
    let file = node.folder().join("app.toml");
    let token = |name: &str, role: &str| {
        let email = format!("{name}@example.com");
        let user = [
            "user".to_owned(),
            "create".to_owned(),
            name.to_owned(),
            format!("--email={email}"),
            format!("--role={role}"),
        ];
        let token = ["token", "create", name, "--ability=posts:read", "--expires=1h"].map(str::to_owned);
        let made = [user.to_vec(), token.to_vec()].map(|arguments| {
            let mut all = vec!["app".to_owned()];
            all.extend(arguments);
            all.push(format!("--config={}", file.display()));
            let mut process = Process::cirque("cirque app", &all);
            assert_eq!(process.expect_exit(Duration::from_secs(30)), 0, "{:#?}", process.lines());
            process.text(cirque_tests::process::Stream::Stdout)
        });
        made[1].split_whitespace().find(|word| word.len() > 30).unwrap_or_default().to_owned()
    };
    let ask = |method: &str, path: &str, body: &str, token: &str| {
        let request = Request::new(method, path).header("Authorization", &format!("Bearer {token}"));
        node.client().send(&request.header("Content-Type", "application/json").body(body))
    };
    let (admin, editor) = (token("ada", "admin"), token("eve", "editor"));
    ask("GET", "/api/alerts", "", &editor).expect_status(403);
    let view = ask("GET", "/api/alerts", "", &admin).expect_status(200).json();
    let rules = view["rules"].as_array().map_or(0, Vec::len);
    assert_eq!((rules, &view["alerts"]), (4, &serde_json::json!([])), "{view}");
    let wanted = r#"{"rule":"HighErrorRate","reason":"load test","seconds":60}"#;
    let silence = ask("POST", "/api/alerts/silences", wanted, &admin).expect_status(201).json();
    let id = silence["id"].as_str().unwrap_or_default();
    ask("DELETE", &format!("/api/alerts/silences/{id}"), "", &admin).expect_status(204);
    ask("DELETE", &format!("/api/alerts/silences/{id}"), "", &admin).expect_status(404);
    ask("POST", "/api/alerts/silences", r#"{"rule":"HighErrorRate","reason":"","seconds":60}"#, &admin)
        .expect_status(422);
    let history = ask("GET", "/api/alerts/history", "", &admin).expect_status(200).json();
    assert_eq!(history["history"][0]["what"], "unsilenced", "{history}");
}

#[test]
fn the_guides_variables_switch_slack_on_and_set_thresholds() {
    let hook = Backend::named("hook");
    let server = postgres::Server::start(&[]);
    let toml = format!("alerts.interval = '1s'\ncache.max_size = 0\ndatabase.url = '{}'", server.url());
    let builder = Node::builder().toml(&toml);
    let (address, file) = (builder.address(), builder.write());
    let mut migrated = cirque_tests::node::run(&["migrate".to_owned()], &file);
    assert_eq!(migrated.expect_exit(Duration::from_secs(60)), 0);
    let mut command = std::process::Command::new(cirque_tests::process::cirque_binary());
    command.args(["app", "serve", "--config"]).arg(&file);
    command.env("ALERTING_SLACK_ENABLED", "true").env("MONITORING_ERROR_RATE_THRESHOLD", "2");
    command.env("SLACK_WEBHOOK_URL", format!("http://{}/slack", hook.address()));
    let node = Process::spawn("node", &mut command);
    wait_until_ready("the node", address, SOON);
    // Three errors are more than two: a table is gone.
    postgres::psql(server.address(), "postgres", "ALTER TABLE posts RENAME TO lost");
    for _ in 0..3 {
        Client::to(address).get("/api/v1/posts").expect_status(500);
    }
    wait_for(&hook, &[":rotating_light: *High Error Rate Detected*"]);
    let text = String::from_utf8_lossy(&hook.requests_to("/slack")[0].body).into_owned();
    assert!(text.contains("; 2 are taken as normal"), "{text}");
    assert!(!node.text(cirque_tests::process::Stream::Stderr).contains("/slack"), "an address is a secret");
}
