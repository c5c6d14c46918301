//! Writes rules as Prometheus reads them: one source, so that both mean the same.

use std::fmt::Write as _;

use super::{Bound, Rule, Tier, number};
use crate::alert::Millis;

/// A file of alerting rules for one tier.
pub fn file(rules: &[Rule], tier: Tier) -> String {
    let mut out = format!(
        "# Written by `cirque alerts rules {tier}` from monitoring/alerts/rules.toml: change them there.\n\
         groups:\n  - name: {tier}\n    rules:\n",
        tier = tier.word()
    );
    for rule in rules.iter().filter(|rule| rule.tier == tier) {
        one(&mut out, rule);
    }
    out
}

fn one(out: &mut String, rule: &Rule) {
    let comparison = match rule.bound {
        Bound::Above(_) => ">",
        Bound::Below(_) => "<",
    };
    let _ = writeln!(out, "      - alert: {}", rule.name);
    let _ = writeln!(out, "        expr: ({}) {comparison} {}", rule.text, rule.bound.threshold());
    if rule.hold > 0 {
        let _ = writeln!(out, "        for: {}", seconds(rule.hold));
    }
    // `keep_firing_for` came with Prometheus 2.42.
    if rule.keep > 0 {
        let _ = writeln!(out, "        keep_firing_for: {}", seconds(rule.keep));
    }
    let _ = writeln!(out, "        labels:\n          severity: {}", rule.severity.word());
    for (name, value) in &rule.labels {
        let _ = writeln!(out, "          {name}: {}", quoted(value));
    }
    let _ = writeln!(out, "        annotations:\n          title: {}", quoted(&rule.title));
    let _ = writeln!(out, "          summary: {}", quoted(&template(rule, &rule.summary)));
    let _ = writeln!(out, "          runbook: docs/runbooks/{}.md", rule.name);
    if !rule.dashboard.is_empty() {
        let _ = writeln!(out, "          dashboard: {}", quoted(&rule.dashboard));
    }
}

fn seconds(time: Millis) -> String {
    format!("{}s", time / 1000)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Our placeholders in Prometheus's words.
fn template(rule: &Rule, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        match name {
            "value" => out.push_str("{{ $value | humanize }}"),
            "threshold" => out.push_str(&number(rule.bound.threshold())),
            name => {
                let _ = write!(out, "{{{{ $labels.{name} }}}}");
            }
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::rule::built_in;

    #[test]
    fn the_files_for_prometheus_are_those_of_the_rules() {
        for (tier, kept) in [
            (Tier::App, include_str!("../../../../monitoring/alerts/app.yml")),
            (Tier::Edge, include_str!("../../../../monitoring/alerts/edge.yml")),
        ] {
            assert_eq!(file(&built_in(), tier), kept, "write it with `cirque alerts rules {}`", tier.word());
        }
    }

    #[test]
    fn a_rule_says_the_same_in_prometheus() {
        let rules = built_in();
        let text = file(&rules, Tier::Edge);
        assert!(
            text.contains("      - alert: BackendDown\n        expr: (max by (upstream, backend)"),
            "{text}"
        );
        assert!(text.contains("is out: {{ $labels.upstream }}"), "{text}");
        assert!(!text.contains("HighErrorRate"), "{text}");
    }
}
