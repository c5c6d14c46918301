//! Decides whether a node could start with this configuration, and says what stands in the way.

use std::fmt;
use std::sync::Arc;

use cirque_shared::metrics::Registry;
use cirque_shared::report::chain;

use crate::config::Config;
use crate::db::{Db, Open, Report, migrations};
use crate::metrics::DatabaseMetrics;
use crate::redis::Redis;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// A node would start, and go on without something that it was given.
    Poor,
    /// A node would not start.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `configuration`, `database`, `primary`, `replica`, `migrations` or `redis`.
    pub subject: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// In words; for what is not good, what to do.
    pub detail: String,
}

impl Finding {
    fn good(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Good, detail: detail.into() }
    }

    fn poor(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Poor, detail: detail.into() }
    }

    fn bad(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Bad, detail: detail.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Poor => "WARNING",
            Verdict::Bad => "FAILED",
        };
        write!(f, "{:<14} {word:<7} {}", self.subject, self.detail)
    }
}

/// Looks at everything a node needs, without changing anything. The configuration is valid, else there were none.
pub async fn run(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::good("configuration", format!("node {}", config.server.node_name()))];
    database(config, &mut findings).await;
    if let Some(redis) = &config.redis {
        findings.push(match Redis::try_out(redis).await {
            Ok(None) => Finding::good("redis", redis.layout.to_string()),
            Ok(Some(warning)) => Finding::poor("redis", warning),
            Err(trouble) => {
                let advice =
                    "nodes go on without it; see redis.servers, redis.mode, redis.password and redis.tls";
                Finding::poor("redis", format!("{}: {trouble}: {advice}", redis.layout))
            }
        });
    }
    findings
}

async fn database(config: &Config, findings: &mut Vec<Finding>) {
    let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
    let db = match Db::open(&config.database, Open::Existing, metrics).await {
        Ok(db) => db,
        Err(error) => {
            return findings.push(Finding::bad("database", chain(&error)));
        }
    };
    findings.push(Finding::good("database", config.database.location.to_string()));
    findings.extend(servers(db.report()));
    findings.push(match migrations::pending(&db).await {
        Ok(missing) if missing.is_empty() => Finding::good("migrations", "up to date"),
        Ok(missing) => {
            let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
            Finding::bad("migrations", format!("missing {}: run `cirque app migrate`", names.join(", ")))
        }
        Err(error) => Finding::bad("migrations", chain(&error)),
    });
    db.close().await;
}

/// Where there are several servers: who writes, and which replicas would be read from.
fn servers(report: Option<Report>) -> Vec<Finding> {
    let Some(report) = report else { return Vec::new() };
    let mut findings = vec![match report.primary {
        Some(name) => Finding::good("primary", name),
        None => {
            let none = "none of database.url and database.successors takes writes: they are answered with 503 until one does";
            Finding::poor("primary", none)
        }
    }];
    findings.extend(report.replicas.into_iter().map(|replica| match replica.reason {
        None => Finding::good("replica", replica.name),
        Some(reason) if replica.trouble.is_empty() => {
            Finding::poor("replica", format!("{} would not be read from: {reason}", replica.name))
        }
        Some(reason) => {
            let detail = format!("{} would not be read from ({reason}): {}", replica.name, replica.trouble);
            Finding::poor("replica", detail)
        }
    }));
    findings
}
