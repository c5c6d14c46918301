//! What a file of rules may say.

use std::collections::BTreeMap;
use std::time::Duration;

crate::raw! {
    /// The whole file.
    pub struct File {
        /// Its rules.
        pub rules: Vec<Rule>,
    }

    /// `[[rules]]`.
    pub struct Rule {
        /// Letters and digits.
        pub name: String,
        /// `app` or `edge`.
        pub tier: String,
        /// How bad it is.
        pub severity: String,
        /// The first words of a message.
        pub title: String,
        /// A sentence with placeholders.
        pub summary: String,
        /// `name: value` with placeholders.
        pub facts: Vec<String>,
        /// The question.
        pub expr: String,
        /// A problem from here on.
        pub above: f64,
        /// A problem below this.
        pub below: f64,
        /// How long before it is told; `for` in Prometheus.
        pub hold: Duration,
        /// How long after; `keep_firing_for` in Prometheus.
        pub keep_firing: Duration,
        /// Further labels.
        pub labels: BTreeMap<String, String>,
        /// Not told while one of these is.
        pub inhibited_by: Vec<String>,
        /// With the same values of these labels.
        pub inhibited_equal: Vec<String>,
        /// Which dashboard shows it.
        pub dashboard: String,
    }
}
