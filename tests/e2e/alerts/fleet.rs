//! Problems of both tiers at once, with leaders killed and channels that hang: each is told once, and so is its end.

use super::*;
use crate::queue::{Site, publish};

/// How often each first line was told.
fn count(hook: &Backend, title: &str) -> usize {
    told(hook).iter().filter(|text| text.ends_with(&format!("*{title}*"))).count()
}

#[track_caller]
fn wait_for_one(hook: &Backend, title: &str) {
    eventually(&format!("{title} is told"), SOON, || count(hook, title), |count| *count >= 1);
}

#[test]
fn three_nodes_and_two_edges_tell_each_problem_once_though_those_who_told_are_killed() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let rules = quick(&folder);
    let (hook, one, two) = (Backend::named("hook"), Backend::named("one"), Backend::named("two"));
    let mut fleet = Fleet::start(&hook, &rules, "");
    let builders =
        [0, 1].map(|place| edge(&hook, &rules, &[&one, &two]).toml(&format!("alerts.place = {place}")));
    let admins = [0, 1].map(|n| builders[n].admin());
    let mut edges: Vec<Edge> = Vec::new();
    for (n, builder) in builders.into_iter().enumerate() {
        edges.push(builder.toml(&format!("alerts.peers = ['{}']", admins[1 - n])).start());
    }

    // Two problems at the same time: a backend is gone, and so is a table.
    one.refuse();
    postgres::psql(fleet.server.address(), "postgres", "ALTER TABLE posts RENAME TO lost");
    // Too few at each node, and too many at all of them; for as long as the table is gone.
    let asking: Vec<_> = fleet
        .nodes
        .iter()
        .map(|node| Load::on(node.address(), "/api/v1/posts").connections(1).per_second(2).start())
        .collect();
    wait_for_one(&hook, "Backend Down");
    wait_for_one(&hook, "High Error Rate Detected");
    // The second edge has heard that it was told.
    nothing_else(&hook, 2, Duration::from_secs(6));

    // Whoever told is killed, in both tiers.
    let leader = fleet.leader();
    fleet.nodes.remove(leader).process.kill();
    edges.remove(0).process.kill();
    fleet.leader();
    nothing_else(&hook, 2, Duration::from_secs(8));

    one.accept();
    drop(asking);
    postgres::psql(fleet.server.address(), "postgres", "ALTER TABLE lost RENAME TO posts");
    wait_for_one(&hook, "Resolved: Backend Down");
    wait_for_one(&hook, "Resolved: High Error Rate Detected");
    nothing_else(&hook, 4, Duration::from_secs(8));
    for title in [
        "Backend Down",
        "High Error Rate Detected",
        "Resolved: Backend Down",
        "Resolved: High Error Rate Detected",
    ] {
        assert_eq!(count(&hook, title), 1, "{:?}", told(&hook));
    }
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

#[test]
fn a_channel_that_hangs_holds_up_no_other_and_is_not_hammered() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let (hook, other, one) = (Backend::named("hook"), Backend::named("other"), Backend::named("one"));
    hook.answer_on("/slack", Reply::stall());
    let discord =
        format!("alerts.discord = {{ enabled = true, webhook_url = 'http://{}/discord' }}", other.address());
    let edge = edge(&hook, &quick(&folder), &[&one]).toml(&discord).start();
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
