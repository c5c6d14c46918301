//! Configurations that are read again, and binaries that are exchanged, while a node of several processes serves.

use std::fs;
use std::process::Command;
use std::time::Duration;

use cirque_tests::client::wait_until_ready;
use cirque_tests::node;
use cirque_tests::process::{Process, Signal, cirque_binary};
use cirque_tests::{Client, Load, Node, eventually};

use super::{LIST, SOON, logged, metric, pids, rewrite, wait_for_metric};

fn named(name: &str) -> Node {
    Node::builder().posts(20).toml(&format!("server.node = '{name}'\nprocesses.workers = 2")).start()
}

fn rename(node: &Node, from: &str, to: &str) {
    let (from, to) = (format!("node = \"{from}\""), format!("node = \"{to}\""));
    rewrite(node, |text| text.replace(&from, &to));
}

#[test]
fn a_hangup_puts_another_configuration_to_work_and_fails_no_request() {
    let mut node = named("blue");
    let before = pids(&node, 2);
    let load = Load::on(node.address(), LIST).connections(4).per_second(200).start();
    load.wait_for(50);
    rename(&node, "blue", "green");
    node.process.signal(Signal::HUP);
    wait_for_metric(&node, "app_reloads_total", &[("result", "ok")], 1.0);
    load.wait_for(20);
    let _mixed = load.take_report();
    load.wait_for(100);
    let after = load.stop();
    after.assert_all_ok();
    assert_eq!(after.served_by.keys().collect::<Vec<_>>(), ["green"]);
    eventually(
        "the old ones are gone",
        SOON,
        || node.process.descendants(),
        |pids| pids.len() == 2 && !pids.iter().any(|pid| before.contains(pid)),
    );
    assert_eq!(logged(&node, "configuration is at work in all processes").len(), 1);
}

#[test]
fn a_configuration_that_cannot_work_changes_nothing_and_says_why() {
    let mut node = named("blue");
    let before = pids(&node, 2);
    let good = fs::read_to_string(node.folder().join("app.toml")).unwrap();
    let load = Load::on(node.address(), LIST).connections(4).per_second(200).start();
    // One that is not valid; one that is, and whose database is not there.
    rename(&node, "blue", "not a name");
    node.process.signal(Signal::HUP);
    wait_for_metric(&node, "app_reloads_total", &[("result", "refused")], 1.0);
    fs::write(node.folder().join("app.toml"), &good).unwrap();
    rewrite(&node, |text| text.replace("app.db", "nowhere.db"));
    node.process.signal(Signal::HUP);
    wait_for_metric(&node, "app_reloads_total", &[("result", "refused")], 2.0);
    load.wait_for(50);
    let report = load.stop();
    report.assert_all_ok();
    assert_eq!(report.served_by.keys().collect::<Vec<_>>(), ["blue"]);
    assert_eq!(pids(&node, 2), before);
    let refused = logged(&node, "configuration was not reloaded, nothing changed");
    assert!(refused[0]["problems"].as_str().unwrap().contains("server.node"), "{refused:?}");
    let withdrawn = logged(&node, "configuration was not put to work, the processes before it serve on");
    assert!(withdrawn[0]["why"].as_str().unwrap().contains("nowhere.db"), "{withdrawn:?}");
    assert_eq!(metric(&node, "app_reloads_total", &[("result", "ok")]), Some(0.0));
}

// key: app.toml processes.watch
#[test]
fn who_watches_starts_anew_with_another_configuration_and_another_binary() {
    let builder = Node::builder().toml("server.node = 'blue'\nprocesses.watch = true");
    let (address, file) = (builder.address(), builder.write());
    let mut migrate = node::run(&["migrate".to_owned()], &file);
    assert_eq!(migrate.expect_exit(SOON), 0, "{:#?}", migrate.lines());
    let binary = builder.folder().join("cirque");
    fs::copy(cirque_binary(), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["app", "serve", "-c"]).arg(&file).env_remove("DATABASE_URL");
    let process = Process::spawn("watching", &mut command);
    wait_until_ready("the node", address, SOON);
    let served_by = || Client::to(address).get("/livez").header("x-served-by").map(str::to_owned);
    assert_eq!(served_by().as_deref(), Some("blue"));
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("blue", "green")).unwrap();
    eventually("the other configuration is at work", SOON, served_by, |name| {
        name.as_deref() == Some("green")
    });
    let before = eventually("one process", SOON, || process.descendants(), |pids| pids.len() == 1);
    let other = builder.folder().join("other");
    fs::copy(cirque_binary(), &other).unwrap();
    fs::rename(&other, &binary).unwrap();
    eventually(
        "another process serves",
        SOON,
        || process.descendants(),
        |pids| pids.len() == 1 && *pids != before,
    );
    process.wait_for_line("file has changed", Duration::from_secs(1));
    assert_eq!(served_by().as_deref(), Some("green"));
}
