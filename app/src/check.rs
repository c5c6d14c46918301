//! Decides whether a node could start with this configuration, and says what stands in the way.

use std::fmt;
use std::sync::Arc;

use cirque_shared::metrics::Registry;
use cirque_shared::report::chain;

use crate::config::Config;
use crate::db::{Db, Open, migrations};
use crate::metrics::DatabaseMetrics;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// A node would not start.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `configuration`, `database` or `migrations`.
    pub subject: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// In words; for a bad one, what to do.
    pub detail: String,
}

impl Finding {
    fn good(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Good, detail: detail.into() }
    }

    fn bad(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Bad, detail: detail.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Bad => "FAILED",
        };
        write!(f, "{:<14} {word:<7} {}", self.subject, self.detail)
    }
}

/// Looks at everything a node needs, without changing anything. The configuration is valid, else there were none.
pub async fn run(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::good("configuration", format!("node {}", config.server.node_name()))];
    let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
    let db = match Db::open(&config.database, Open::Existing, metrics).await {
        Ok(db) => db,
        Err(error) => {
            findings.push(Finding::bad("database", chain(&error)));
            return findings;
        }
    };
    findings.push(Finding::good("database", config.database.location.to_string()));
    findings.push(match migrations::pending(&db).await {
        Ok(missing) if missing.is_empty() => Finding::good("migrations", "up to date"),
        Ok(missing) => {
            let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
            Finding::bad("migrations", format!("missing {}: run `cirque app migrate`", names.join(", ")))
        }
        Err(error) => Finding::bad("migrations", chain(&error)),
    });
    db.close().await;
    findings
}
