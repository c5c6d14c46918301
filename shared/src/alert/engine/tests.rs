//! Alerts over time.

use super::*;
use crate::alert::Severity;
use crate::alert::expr::Expr;
use crate::alert::rule::{Bound, Tier};

fn rule(hold: Millis, keep: Millis) -> Rule {
    Rule {
        name: "Deep".into(),
        tier: Tier::App,
        severity: Severity::Warning,
        title: "Deep".into(),
        summary: "{value} > {threshold}".into(),
        facts: vec![("depth".into(), "{value}".into())],
        expr: Expr::parse("max by (queue) (depth)").unwrap(),
        text: String::new(),
        bound: Bound::Above(10.0),
        hold,
        keep,
        labels: Labels::new(),
        inhibited_by: vec![],
        inhibited_equal: vec![],
        dashboard: String::new(),
    }
}

/// One character per second: `x` the rule holds, `.` it does not. What was told, and when in seconds.
fn told(rule: &Rule, course: &str) -> Vec<(usize, &'static str)> {
    let mut state = State::default();
    let mut told = Vec::new();
    for (second, what) in course.chars().enumerate() {
        let found = if what == 'x' {
            vec![Found { rule: "Deep".into(), labels: Labels::new(), value: 20.0 }]
        } else {
            vec![]
        };
        let (next, changes) =
            step(state, std::slice::from_ref(rule), &found, 1_000_000 + second as u64 * 1000);
        state = next;
        told.extend(changes.iter().map(|change| match change {
            Change::Pending(_) => (second, "pending"),
            Change::Firing(_) => (second, "firing"),
            Change::Resolved(_) => (second, "resolved"),
        }));
    }
    told
}

#[test]
fn a_rule_fires_after_its_time_and_is_over_after_its_time() {
    let check = |hold: Millis, keep: Millis, course: &str, expected: &[(usize, &'static str)]| {
        assert_eq!(told(&rule(hold * 1000, keep * 1000), course), expected, "{hold} {keep} {course}");
    };
    check(0, 0, "..xx..", &[(2, "firing"), (4, "resolved")]);
    check(2, 0, "xxxx.", &[(0, "pending"), (2, "firing"), (4, "resolved")]);
    check(2, 0, "xx.xxx", &[(0, "pending"), (3, "pending"), (5, "firing")]);
    check(0, 3, "x.x....", &[(0, "firing"), (6, "resolved")]);
    check(0, 3, "x...x", &[(0, "firing")]);
    check(0, 0, "......", &[]);
}

#[test]
fn what_comes_and_goes_is_told_ever_less_often() {
    let course = "x.".repeat(1800);
    let told = told(&rule(0, 0), &course);
    let fired = told.iter().filter(|(_, what)| *what == "firing").count();
    assert_eq!(fired, 2, "an hour of flapping: {told:?}");
    let calm = format!("{course}{}", ".".repeat(70));
    let last = super::tests::told(&rule(0, 0), &calm).last().copied();
    assert_eq!(last, Some((3659, "resolved")), "a minute after the last time");
}

#[test]
fn an_alert_carries_its_value_and_since_when_it_holds() {
    let rule = rule(2000, 0);
    let mut state = State::default();
    for (at, value) in [(1_000, 11.0), (2_000, 12.0), (3_000, 13.0), (4_000, 14.0)] {
        let found = [Found { rule: "Deep".into(), labels: Labels::new(), value }];
        state = step(state, std::slice::from_ref(&rule), &found, at).0;
    }
    let alerts = state.firing();
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].since, alerts[0].summary.as_str()), (1_000, "14 > 10"));
    assert_eq!(alerts[0].facts, [("depth".to_owned(), "14".to_owned())]);
}

#[test]
fn an_alert_that_another_has_told_is_over_after_its_time_and_not_at_once() {
    let rule = rule(0, 3000);
    let mut state = State::default();
    let found = [Found { rule: "Deep".into(), labels: Labels::new(), value: 20.0 }];
    let told = step(State::default(), std::slice::from_ref(&rule), &found, 500).0.firing();
    state.adopt(&told[0], 3000, 1_000);
    for (at, expected) in [(2_000, 0), (3_999, 0), (4_000, 1), (5_000, 0)] {
        let (next, changes) = step(state, std::slice::from_ref(&rule), &[], at);
        assert_eq!(changes.len(), expected, "{at}");
        state = next;
    }
    assert_eq!(state.ended().len(), 1);
}

#[test]
fn rules_are_asked_of_what_was_seen() {
    let mut history = History::new(60_000, 30_000);
    let sample = |queue: &str, value| crate::alert::history::Sample {
        name: "depth".into(),
        labels: [("queue".to_owned(), queue.to_owned())].into(),
        value,
    };
    history.add("a", 1_000, &[sample("mail", 11.0), sample("web", 3.0)]);
    let found = find(&[rule(0, 0)], &history, 1_000);
    let labels = [("queue".to_owned(), "mail".to_owned())].into();
    assert_eq!(found, [Found { rule: "Deep".into(), labels, value: 11.0 }]);
}

#[test]
fn more_alerts_than_can_be_followed_are_counted() {
    let found: Vec<Found> = (0..MOST + 7)
        .map(|n| Found { rule: "Deep".into(), labels: [("n".to_owned(), n.to_string())].into(), value: 20.0 })
        .collect();
    let (state, changes) = step(State::default(), &[rule(0, 0)], &found, 1_000);
    assert_eq!((state.firing().len(), state.dropped(), changes.len()), (MOST, 7, MOST));
}
