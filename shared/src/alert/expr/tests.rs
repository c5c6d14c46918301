//! What rules may ask, and what they are answered.

use super::*;
use crate::alert::history::{History, Sample};

fn sample(text: &str, value: f64) -> Sample {
    let (name, labels) = text.split_once('{').unwrap_or((text, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect();
    Sample { name: name.into(), labels, value }
}

/// Two processes over a minute: a snapshot every ten seconds.
fn history() -> History {
    let mut history = History::new(600_000, 30_000);
    for step in 0..=6_u64 {
        let at = 1_000_000 + step * 10_000;
        for (source, per_step) in [("a", 5.0), ("b", 1.0)] {
            let mut samples = vec![
                sample("requests_total{code=200,route=x}", step as f64 * 10.0),
                sample("requests_total{code=500,route=x}", step as f64 * per_step),
                sample("up{backend=one}", 1.0),
                sample("depth", per_step),
            ];
            // A series that appears with its first error.
            if step >= 4 && source == "b" {
                samples.push(sample("requests_total{code=503,route=y}", 3.0));
            }
            history.add(source, at, &samples);
        }
    }
    history
}

const NOW: Millis = 1_060_000;

#[track_caller]
fn check(text: &str, expected: &[(&[(&str, &str)], f64)]) {
    let found = Expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).eval(&history(), NOW);
    let expected: Vector = expected
        .iter()
        .map(|(labels, value)| (labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(), *value))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn questions_are_answered_as_prometheus_would() {
    check("1 + 2 * 3", &[(&[], 7.0)]);
    check("-2 * 3", &[(&[], -6.0)]);
    check("time() - 1000", &[(&[], 60.0)]);
    check("sum(depth)", &[(&[], 6.0)]);
    check("max by (instance) (depth)", &[(&[("instance", "a")], 5.0), (&[("instance", "b")], 1.0)]);
    check("avg(depth) by (nothing)", &[(&[], 3.0)]);
    check("count(requests_total{code!=\"200\"})", &[(&[], 3.0)]);
    check("sum(increase(requests_total{code=~\"5..\"}[1m]))", &[(&[], 39.0)]);
    check(
        "sum by (route) (increase(requests_total{code=~\"5.*\"}[30s]))",
        &[(&[("route", "x")], 18.0), (&[("route", "y")], 3.0)],
    );
    check("sum(rate(requests_total{code=\"200\"}[30s]))", &[(&[], 2.0)]);
    check("depth > 2", &[(&[("instance", "a")], 5.0)]);
    check("2 < depth", &[(&[("instance", "a")], 5.0)]);
    check("depth > 9", &[]);
    check("sum(depth) / count(depth) and sum(depth) >= 6", &[(&[], 3.0)]);
    check("sum(depth) unless sum(depth) >= 6", &[]);
    check(
        "max_over_time(depth[1m]) - min_over_time(depth[1m])",
        &[(&[("instance", "a")], 0.0), (&[("instance", "b")], 0.0)],
    );
    check("sum(nothing) or sum(up{backend=~\"one|two\"})", &[(&[], 2.0)]);
    check("nothing", &[]);
}

#[test]
fn what_is_outside_of_the_language_is_refused_with_what_was_expected() {
    for (text, expected) in [
        ("", "a number, a metric or `(`"),
        ("sum(", "a number, a metric or `(`"),
        ("sum(a", "`)`"),
        ("a b", "an operator or the end"),
        ("a[5m]", "a function around a range"),
        ("rate(a)", "`[`"),
        ("rate(a[0s])", "a time like 5m"),
        ("histogram_quantile(0.9, a)", "one of sum"),
        ("a{b=~\"(x|y)\"}", "a pattern of letters"),
        ("a{b=\"x}", "a closing quote"),
        ("a{b~\"x\"}", "=, !=, =~ or !~"),
    ] {
        let error = Expr::parse(text).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
    assert!(Expr::parse(&"(".repeat(5000)).is_err());
}

#[test]
fn names_and_reach_are_known_beforehand() {
    let expr = Expr::parse("sum(rate(a_total[5m])) / sum(rate(b_total[1m])) > max(c)").unwrap();
    assert_eq!(expr.names(), BTreeSet::from(["a_total", "b_total", "c"]));
    assert_eq!(expr.reach(), 300_000);
}

#[test]
fn a_pattern_is_anchored_at_both_ends() {
    for (pattern, value, expected) in [
        ("5..", "503", true),
        ("5..", "5033", false),
        ("5..", "200", false),
        (".*", "", true),
        (".+", "", false),
        ("a.*z|b", "abcz", true),
        ("a.*z|b", "b", true),
        ("a.*z|b", "ab", false),
    ] {
        let expr = Expr::parse(&format!("x{{l=~\"{pattern}\"}}")).unwrap();
        let Node::Select(selector) = &expr.0 else { panic!("{expr:?}") };
        assert_eq!(selector.takes(&[("l".into(), value.into())].into()), expected, "{pattern} {value}");
    }
}
