//! Channels that refuse, hang and have limits: each is told once of each problem, in what it takes.

use cirque_tests::alertmanager::Alertmanager;
use cirque_tests::channels::Channels;
use cirque_tests::ports;

use super::*;

/// `[alerts]` that tell all channels, and who manages alerts already, quickly.
fn telling_all(channels: &Channels, manager: Option<&Alertmanager>, rules: &Path, wait: &str) -> String {
    let manager = manager.map_or_else(String::new, |manager| {
        format!("alertmanager = {{ enabled = true, url = 'http://{}' }}, ", manager.address())
    });
    format!(
        "alerts = {{ interval = '1s', group_wait = '{wait}', line_wait = '3s', rules = '{}', {manager}{}, \
         runbook_url = 'https://example.com/runbooks', dashboard_url = 'https://example.com/d' }}",
        rules.display(),
        channels.toml()
    )
}

#[test]
fn every_channel_is_told_once_of_each_problem_though_it_refuses_at_first_and_those_who_told_are_killed() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (channels, receiver) = (Channels::open(), Backend::named("receiver"));
    let manager = Alertmanager::start(receiver.address());
    let alerts = telling_all(&channels, Some(&manager), &quick(&folder), "0s");
    let (one, two) = (Backend::named("one"), Backend::named("two"));
    let mut fleet = Fleet::start(&alerts, "");
    let mut edges = two_edges(&alerts, &[&one, &two], "", "");

    let limited = "{\"message\":\"You are being rate limited.\",\"retry_after\":2.5,\"global\":false}";
    channels.plan("slack", [Reply::status(429).header("Retry-After", "3"), Reply::status(500)]);
    channels.plan("discord", [Reply::status(429).body(limited)]);
    channels.plan("pagerduty", [Reply::status(500), Reply::status(503).header("Retry-After", "2")]);
    channels.plan("webhook", [Reply::stall()]);
    // Too few at each node, and too many at all of them; for as long as the table is gone.
    postgres::psql(fleet.server.address(), "postgres", "ALTER TABLE posts RENAME TO lost");
    let ask = |node: &Node| Load::on(node.address(), "/api/v1/posts").connections(1).per_second(2).start();
    let asking: Vec<_> = fleet.nodes.iter().map(ask).collect();
    channels.wait_for(SOON, &["High Error Rate Detected"]);
    let between = |channel: &str, n: usize| {
        let asked = channels.asked(channel);
        asked[n + 1] - asked[n]
    };
    for (channel, n, least) in
        [("slack", 0, 3000), ("slack", 1, 450), ("discord", 0, 2500), ("pagerduty", 1, 2000)]
    {
        assert!(between(channel, n) >= Duration::from_millis(least), "{channel}: {:?}", between(channel, n));
    }
    eventually("Alertmanager knows", SOON, || manager.firing(), |firing| *firing == ["HighErrorRate"]);

    let leader = fleet.leader();
    fleet.nodes.remove(leader).process.kill();
    fleet.leader();
    one.refuse();
    channels.wait_for(SOON, &["High Error Rate Detected", "Backend Down"]);
    // The second edge has waited, asked, and heard that it was told. Nobody could tell it after a death before that.
    let told = || ["slack", "discord", "pagerduty", "webhook"].map(|channel| channels.taken(channel).len());
    throughout("the second edge is silent", Duration::from_secs(6), told, |told| *told == [2, 2, 2, 2]);
    edges.remove(0).process.kill();
    let managed = ["BackendDown", "HighErrorRate"];
    let firing = || {
        let mut firing = manager.firing();
        firing.sort();
        firing
    };
    eventually("Alertmanager knows of both", SOON, firing, |firing| *firing == managed);

    drop(asking);
    postgres::psql(fleet.server.address(), "postgres", "ALTER TABLE lost RENAME TO posts");
    channels.wait_for(SOON, &["High Error Rate Detected", "Backend Down", "!High Error Rate Detected"]);
    one.accept();
    let all = ["High Error Rate Detected", "Backend Down", "!High Error Rate Detected", "!Backend Down"];
    channels.wait_for(SOON, &all);
    eventually("Alertmanager knows of the ends", SOON, firing, Vec::is_empty);

    let names = ["slack", "discord", "pagerduty", "webhook"];
    let asked = || names.map(|channel| channels.asked(channel).len());
    throughout("nothing else is told", Duration::from_secs(8), asked, |asked| *asked == [6, 5, 6, 5]);
    // What Alertmanager made of it: one message of each beginning, one of each end.
    let managed = || {
        let requests = receiver.requests_to("/from-alertmanager");
        let said = requests.iter().filter_map(|request| {
            let body: Value = serde_json::from_slice(&request.body).ok()?;
            Some(format!("{} {}", body["groupLabels"]["alertname"].as_str()?, body["status"].as_str()?))
        });
        let mut said: Vec<String> = said.collect();
        said.sort();
        said
    };
    let expected =
        ["BackendDown firing", "BackendDown resolved", "HighErrorRate firing", "HighErrorRate resolved"];
    eventually("Alertmanager has told it all", SOON, managed, |said| said.len() >= expected.len());
    assert_eq!(managed(), expected);
    assert_eq!(channels.faults(), Vec::<String>::new());
}

#[test]
fn a_message_about_many_says_how_many_more_and_is_within_what_each_channel_takes() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (channels, one) = (Channels::open(), Backend::named("one"));
    let mut builder = edge(&telling_all(&channels, None, &quick(&folder), "5s"), &[&one]);
    for n in 0..29 {
        // Nobody listens there.
        builder = builder.backend_at(&format!("gone-{n}-{}", "x".repeat(50)), ports::address(), "");
    }
    let edge = builder.start();
    channels.wait_for(SOON, &["Backend Down"]);
    for (channel, pointer) in [
        ("slack", "/attachments/0/text"),
        ("discord", "/embeds/0/description"),
        ("pagerduty", "/payload/custom_details/text"),
    ] {
        let body = channels.bodies(channel).remove(0);
        let text = body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!(text.contains("… and 19 more."), "{channel}: {body}");
    }
    let alerts = channels.bodies("webhook").remove(0)["alerts"].as_array().map_or(0, Vec::len);
    assert_eq!(alerts, 29);
    assert_eq!(channels.faults(), Vec::<String>::new());
    edge.wait_for_metric("alerts_firing", &[("severity", "warning")], 29.0);
}

#[test]
fn a_channel_that_hangs_holds_up_no_other_and_is_not_hammered() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, other, one) = (Backend::named("hook"), Backend::named("other"), Backend::named("one"));
    hook.answer_on("/slack", Reply::stall());
    let discord =
        format!("alerts.discord = {{ enabled = true, webhook_url = 'http://{}/discord' }}", other.address());
    let edge = edge(&telling(&hook, &quick(&folder)), &[&one]).toml(&discord).start();
    one.refuse();
    let heard = || other.requests_to("/discord").len();
    eventually("the other channel is told", Duration::from_secs(8), heard, |heard| *heard == 1);
    edge.wait_for_metric("alert_notifications_total", &[("channel", "slack"), ("outcome", "later")], 1.0);
    let asked = hook.requests_to("/slack").len();
    assert!(asked <= 2, "it was asked {asked} times while it hung");
    // Its end finds the channel still hanging; then it answers, and hears of both or of neither.
    hook.answer_on("/slack", Reply::status(200));
    eventually(
        "it is told at last",
        Duration::from_secs(60),
        || hook.requests_to("/slack").len(),
        |n| *n > asked,
    );
    one.accept();
    eventually(
        "and of the end",
        SOON,
        || count(&hook, "Resolved: Upstream Unavailable"),
        |count| *count == 1,
    );
    assert_eq!(heard(), 2, "the other channel heard of the beginning and the end");
    let asked = hook.requests_to("/slack").len();
    throughout("nothing more", Duration::from_secs(4), || hook.requests_to("/slack").len(), |n| *n == asked);
    assert!(asked <= 5, "it was asked {asked} times in all");
}

#[test]
fn discord_is_left_alone_for_as_long_as_the_head_of_its_answer_says() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (channels, one) = (Channels::open(), Backend::named("one"));
    channels.bucket(Duration::from_secs(2));
    let rules = folder.path().join("rules.toml");
    // Three problems at once, which a burst would be allowed for.
    let rule = |name: &&str| {
        format!(
            "[[rules]]\nname = '{name}'\ntier = 'edge'\nseverity = 'warning'\ntitle = '{name}'\n\
             summary = 'Time goes by.'\nexpr = 'time()'\nabove = 0\n"
        )
    };
    std::fs::write(&rules, ["One", "Two", "Three"].iter().map(rule).collect::<String>())
        .expect("it is writable");
    let edge = edge(&telling_all(&channels, None, &rules, "0s"), &[&one]).start();
    let told = || channels.taken("discord").len();
    eventually("Discord is told of all", SOON, told, |told| *told == 3);
    let asked = channels.asked("discord");
    for pair in asked.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(2), "{asked:?}");
    }
    assert_eq!((asked.len(), channels.faults()), (3, Vec::new()));
    let later =
        edge.metrics().value("alert_notifications_total", &[("channel", "discord"), ("outcome", "later")]);
    assert!(later == 0.0, "{later}");
}
