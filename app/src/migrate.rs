//! Brings a database up to date: creates it, its schema and its secrets, each only where it is missing.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use cirque_shared::metrics::Registry;

use crate::config::Config;
use crate::db::migrations::{self, Named};
use crate::db::{self, Db, Open};
use crate::metrics::DatabaseMetrics;
use crate::settings;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which database, as in the configuration.
    pub database: String,
    /// The migrations that were applied, oldest first; empty when it was up to date.
    pub applied: Vec<Named>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.applied.is_empty() {
            return write!(f, "{} is up to date", self.database);
        }
        write!(f, "{}: applied", self.database)?;
        for migration in &self.applied {
            write!(f, " {migration}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}_{}", self.version, self.name)
    }
}

/// How a database stands, without changing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which database, as in the configuration.
    pub database: String,
    /// Every migration, oldest first, and whether it was applied.
    pub migrations: Vec<(Named, bool)>,
}

impl Standing {
    /// What would be applied now.
    pub fn missing(&self) -> impl Iterator<Item = &Named> {
        self.migrations.iter().filter(|(_, is_applied)| !is_applied).map(|(migration, _)| migration)
    }
}

/// What a migration would do now.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing().next().is_none() {
            return write!(f, "{} is up to date", self.database);
        }
        write!(f, "{}: would apply", self.database)?;
        self.missing().try_for_each(|migration| write!(f, " {migration}"))
    }
}

/// Looks at what is missing; a database that is not there misses everything.
///
/// # Errors
///
/// When the database cannot be read, or a migration that was applied has changed since.
pub async fn standing(config: &Config) -> anyhow::Result<Standing> {
    let database = config.database.location.to_string();
    let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
    let all = migrations::known();
    let missing = match Db::open(&config.database, Open::Existing, metrics).await {
        Ok(db) => {
            let missing = migrations::pending(&db).await;
            db.close().await;
            missing.with_context(|| format!("could not read the migrations of {database}"))?
        }
        Err(db::Error::Missing(_)) => all.clone(),
        Err(error) => return Err(error.into()),
    };
    let migrations = all.into_iter().map(|named| (named.clone(), !missing.contains(&named))).collect();
    Ok(Standing { database, migrations })
}

/// Applies what is missing. Safe when several nodes do it at once: one applies, the others find nothing to do.
///
/// # Errors
///
/// When the database cannot be created or a migration fails; nothing is applied then.
pub async fn run(config: &Config) -> anyhow::Result<Outcome> {
    let database = config.database.location.to_string();
    let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
    let db = Db::open(&config.database, Open::Create, metrics).await?;
    let applied = migrations::apply(&db).await.with_context(|| format!("could not migrate {database}"))?;
    settings::make_secrets(&db).await.with_context(|| format!("could not make the secrets of {database}"))?;
    db.close().await;
    Ok(Outcome { database, applied })
}
