//! Lets code raise an alert itself: it fires for as long as it is raised again, and five minutes longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::Found;
use super::{Labels, Millis, fingerprint, millis, now};
use crate::report::chain;

/// How long a problem that is not raised again counts as there.
pub const LASTING: std::time::Duration = std::time::Duration::from_secs(300);

/// Problems that can be raised at once; of more, the later ones are only logged.
const MOST: usize = 100;

/// Where code says that it knows of a problem. Cheap to clone; nothing waits.
#[derive(Clone, Debug, Default)]
pub struct Alerts(Arc<Mutex<BTreeMap<String, Raised>>>);

#[derive(Debug)]
struct Raised {
    found: Found,
    until: Millis,
}

impl Alerts {
    /// So many errors in so many minutes: rule `HighErrorRate`.
    pub fn high_error_rate(&self, errors: u64, minutes: u64) {
        // The rule's threshold is one of errors a minute.
        self.raise("HighErrorRate", Labels::new(), errors as f64 / minutes.max(1) as f64);
    }

    /// An endpoint took so many milliseconds on average: rule `SlowResponses`. `endpoint` is a route's template.
    pub fn slow_response(&self, ms: u64, endpoint: &str) {
        self.raise("SlowResponses", [("route".to_owned(), endpoint.to_owned())].into(), ms as f64);
    }

    /// So many jobs wait: rule `HighQueueSize`.
    pub fn high_queue_size(&self, jobs: u64) {
        self.raise("HighQueueSize", Labels::new(), jobs as f64);
    }

    /// The database does not do as it should: rule `DatabaseUnreachable`. The error goes to the log, not into messages.
    pub fn database_issue(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(error.chain = chain(error), "database issue was raised");
        self.raise("DatabaseUnreachable", Labels::new(), 0.0);
    }

    /// A rule, for these labels and with this value. Labels are from finite sets: each set is an alert of its own.
    /// A rule that there is not raises nothing.
    pub fn raise(&self, rule: &str, labels: Labels, value: f64) {
        self.raise_at(rule, labels, value, now());
    }

    fn raise_at(&self, rule: &str, labels: Labels, value: f64, now: Millis) {
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = fingerprint(rule, &labels);
        if raised.len() >= MOST && !raised.contains_key(&key) {
            tracing::warn!(rule, "too many alerts are raised, this one is only logged");
            return;
        }
        let found = Found { rule: rule.to_owned(), labels, value };
        raised.insert(key, Raised { found, until: now + millis(LASTING) });
    }

    /// What is raised now.
    pub(crate) fn found(&self, now: Millis) -> Vec<Found> {
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        raised.retain(|_, one| one.until > now);
        raised.values().map(|one| one.found.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_raised_lasts_for_five_minutes_from_the_last_time() {
        let alerts = Alerts::default();
        alerts.raise_at("A", Labels::new(), 1.0, 1_000);
        alerts.raise_at("A", Labels::new(), 2.0, 100_000);
        let found = alerts.found(399_999);
        assert_eq!(found, [Found { rule: "A".into(), labels: Labels::new(), value: 2.0 }]);
        assert!(alerts.found(400_000).is_empty());
    }

    #[test]
    fn the_guides_four_raise_their_rules() {
        let alerts = Alerts::default();
        alerts.high_error_rate(150, 5);
        alerts.slow_response(1250, "/api/v1/posts");
        alerts.high_queue_size(1500);
        alerts.database_issue(&std::io::Error::other("gone"));
        let mut found: Vec<(String, f64)> =
            alerts.found(now()).into_iter().map(|found| (found.rule, found.value)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("DatabaseUnreachable", 0.0),
            ("HighErrorRate", 30.0),
            ("HighQueueSize", 1500.0),
            ("SlowResponses", 1250.0),
        ];
        assert_eq!(found, expected.map(|(rule, value)| (rule.to_owned(), value)));
    }

    #[test]
    fn nobody_can_raise_without_end() {
        let alerts = Alerts::default();
        for n in 0..500 {
            alerts.raise_at("A", [("n".to_owned(), n.to_string())].into(), 1.0, 0);
        }
        assert_eq!(alerts.found(1).len(), MOST);
    }
}
