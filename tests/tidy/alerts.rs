//! Decides that every alert can be looked up: it has a runbook, a dashboard that exists, and a test for Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;
use toml::Table;

use crate::report;
use crate::source::{files, read, root};

fn rules() -> Vec<Table> {
    let file: Table = read("monitoring/alerts/rules.toml").parse().expect("the rules are TOML");
    file["rules"].as_array().into_iter().flatten().filter_map(|rule| rule.as_table().cloned()).collect()
}

fn dashboards() -> Vec<(String, Value)> {
    let paths = files("monitoring/dashboards", "json");
    paths
        .into_iter()
        .map(|path| (path.clone(), serde_json::from_str(&read(&path)).expect("it is JSON")))
        .collect()
}

#[test]
fn every_alert_has_a_runbook_a_dashboard_and_a_test_and_nothing_else_has_a_runbook() {
    let uids: BTreeSet<String> =
        dashboards().iter().filter_map(|(_, board)| board["uid"].as_str().map(str::to_owned)).collect();
    let tests: String = files("monitoring/alerts/tests", "yml").iter().map(|path| read(path)).collect();
    let mut findings = Vec::new();
    let mut names = BTreeSet::new();
    for rule in rules() {
        let word = |key: &str| rule.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let (name, dashboard) = (word("name"), word("dashboard"));
        if !root().join(format!("docs/runbooks/{name}.md")).exists() {
            findings.push(format!("{name}: no docs/runbooks/{name}.md"));
        }
        if !uids.contains(&dashboard) {
            findings.push(format!("{name}: no dashboard {dashboard:?}"));
        }
        let is_shown = |expected: &str| {
            tests
                .split("- eval_time")
                .any(|check| check.contains(&format!("alertname: {name}\n")) && check.contains(expected))
        };
        if !is_shown("exp_annotations") || !is_shown("exp_alerts: []") {
            findings.push(format!("{name}: monitoring/alerts/tests must show when it fires and when not"));
        }
        names.insert(name);
    }
    for path in files("docs/runbooks", "md") {
        let name = path.trim_start_matches("docs/runbooks/").trim_end_matches(".md");
        if !names.contains(name) {
            findings.push(format!("{path}: there is no such alert"));
        }
    }
    report("write what is missing", &findings);
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_stands_alone() {
    let mut findings = Vec::new();
    let mut uids = BTreeSet::new();
    for (path, board) in dashboards() {
        if !uids.insert(board["uid"].as_str().unwrap_or_default().to_owned()) {
            findings.push(format!("{path}: another has this uid"));
        }
        let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().unwrap_or_default();
            let mut wrong = |what: &str| findings.push(format!("{path}: {title:?}: {what}"));
            if !ids.insert(panel["id"].as_u64()) {
                wrong("another has this id");
            }
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_default();
            let cells =
                (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)));
            if at("x") + at("w") > 24 || cells.into_iter().any(|cell| !taken.insert(cell)) {
                wrong("it lies over another, or outside");
            }
            if panel["type"] == "row" {
                continue;
            }
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            if title.is_empty()
                || panel["description"].as_str().unwrap_or_default().is_empty()
                || unit.is_empty()
            {
                wrong("title, description and unit are needed");
            }
            if targets.is_empty()
                || targets.iter().any(|target| target["datasource"]["uid"] != "${datasource}")
            {
                wrong("it must ask the data source that is chosen");
            }
        }
    }
    report("repair these panels", &findings);
}
