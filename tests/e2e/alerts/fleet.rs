//! Problems of both tiers at once, with leaders killed and channels that hang: each is told once, and so is its end.

use super::*;

#[track_caller]
fn wait_for_one(hook: &Backend, title: &str) {
    eventually(&format!("{title} is told"), SOON, || count(hook, title), |count| *count >= 1);
}

#[test]
fn three_nodes_and_two_edges_tell_each_problem_once_though_those_who_told_are_killed() {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let rules = quick(&folder);
    let (hook, one, two) = (Backend::named("hook"), Backend::named("one"), Backend::named("two"));
    let alerts = telling(&hook, &rules);
    let mut fleet = Fleet::start(&alerts, "");
    let mut edges = two_edges(&alerts, &[&one, &two], "", "");

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
