//! Checks of the code base itself, without running it: sizes, names, layers, documents, keys, metrics, log fields, alerts, wording.
//!
//! Each rule collects every finding before it fails, so that one run shows all of them.

mod alerts;
mod conf;
mod defects;
mod docs;
mod layering;
mod log_fields;
mod metrics;
mod pingora;
mod rooms;
mod source;
mod wording;

/// Fails with one line per finding.
#[track_caller]
fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
