//! Processes that crash, hang or lose their supervisor.

use std::time::Duration;

use cirque_tests::process::{Signal, is_alive, signal_pid};
use cirque_tests::{Client, Edge, Load, Request, eventually};

use super::{LIST, SOON, logged, metric, node, pids, wait_for_metric};

#[test]
fn a_crash_loop_of_one_process_fails_no_request_and_is_told_once() {
    let node = node("workers = 2");
    let edge = Edge::builder().backend_at("app", node.address(), "").without_ejection().start();
    let steady = pids(&node, 2)[0];
    let load = Load::on(edge.address(), LIST).connections(4).per_second(200).start();
    for crash in 1..=5_u32 {
        let other = || node.process.descendants().into_iter().find(|pid| *pid != steady);
        // One that takes part: what dies with requests in its hands is what is to be shown.
        wait_for_serving(&node, 2.0);
        let pid = eventually("another process runs", SOON, other, Option::is_some).unwrap();
        signal_pid(pid, Signal::KILL);
        wait_for_metric(&node, "app_process_exits_total", &[("reason", "crash")], f64::from(crash));
    }
    wait_for_serving(&node, 2.0);
    load.stop().assert_all_ok();
    assert!(is_alive(steady), "the other one was not disturbed");
    let loud = logged(&node, "process failed; the next one starts after a pause");
    assert_eq!(loud.len(), 2, "{loud:?}");
    let failing =
        "process fails again and again; it is started less and less often, and only counted from now on";
    assert_eq!(logged(&node, failing).len(), 1);
    assert_eq!(metric(&node, "app_process_exits_total", &[("reason", "crash")]), Some(5.0));
}

#[track_caller]
fn wait_for_serving(node: &cirque_tests::Node, count: f64) {
    let serving = || metric(node, "app_processes", &[("state", "serving")]);
    eventually("all serve", SOON, serving, |value| *value == Some(count));
}

// key: app.toml processes.silence
#[test]
fn a_frozen_process_is_killed_and_replaced() {
    let node = node("workers = 2, silence = '1s'");
    let frozen = pids(&node, 2)[0];
    signal_pid(frozen, Signal::STOP);
    eventually("it is killed", Duration::from_secs(10), || is_alive(frozen), |alive| !alive);
    wait_for_metric(&node, "app_process_exits_total", &[("reason", "silent")], 1.0);
    wait_for_serving(&node, 2.0);
    let killed = logged(&node, "process was killed");
    assert_eq!((killed.len(), &killed[0]["reason"]), (1, &"silent".into()), "{killed:?}");
    Load::on(node.address(), LIST).connections(4).requests(100).run().assert_all_ok();
}

#[test]
fn processes_end_when_their_supervisor_is_killed() {
    let mut node = node("workers = 3");
    let orphans = pids(&node, 3);
    node.process.kill();
    let alive = || orphans.iter().filter(|pid| is_alive(**pid)).count();
    eventually("they end", Duration::from_secs(10), alive, |alive| *alive == 0);
    let refused = Client::to(node.address()).try_send(&Request::get("/livez"));
    assert!(refused.is_err(), "the address is free again: {refused:?}");
}
