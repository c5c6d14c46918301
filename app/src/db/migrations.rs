//! Decides which migrations there are and applies the missing ones, all or none.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType};

use super::writer::Open;
use super::{Db, Dialect, Error, Pools, dialect, sqlite};

/// The statements of one migration, in each database.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Takes the files of one migration from the folders of all databases.
macro_rules! step {
    ($version:literal, $name:literal, $file:literal) => {
        Step {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../../migrations/postgres/", $file)),
        }
    };
}

/// Every migration, oldest first.
const ALL: &[Step] = &[
    step!(1, "content", "0001_content.sql"),
    step!(2, "changes", "0002_changes.sql"),
    step!(3, "identity", "0003_identity.sql"),
    step!(4, "clock", "0004_clock.sql"),
    step!(5, "writing", "0005_writing.sql"),
    step!(6, "search", "0006_search.sql"),
    step!(7, "queue", "0007_queue.sql"),
    step!(8, "listeners", "0008_listeners.sql"),
    step!(10, "view_order", "0010_view_order.sql"),
    step!(11, "catalog", "0011_catalog.sql"),
    step!(30, "alerts", "0030_alerts.sql"),
    step!(50, "timelines", "0050_timelines.sql"),
    step!(60, "causes", "0060_causes.sql"),
    step!(70, "counts", "0070_counts.sql"),
];

/// Where the applied ones are recorded.
const TABLE: &str = "migrations";

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number.
    pub version: i64,
    /// What it brings.
    pub name: String,
}

/// Applies what is missing and says what that was. Nodes that do this at once take turns under a lock.
///
/// # Errors
///
/// [`Error::Migrate`] when one fails (nothing is applied then), or when one that was applied has changed since.
pub async fn apply(db: &Db) -> Result<Vec<Named>, Error> {
    let mut writer = db.write_much().await?;
    let steps = all(db.dialect());
    let applied = match &mut writer.transaction {
        Open::Sqlite(held, _) => apply_missing(&mut **held, steps).await?,
        Open::Postgres(_, _, held) => {
            let connection = held.connection()?;
            sqlx::query(dialect::ONE_MIGRATES).execute(&mut *connection).await?;
            apply_missing(connection, steps).await?
        }
    };
    writer.commit().await?;
    Ok(applied)
}

async fn apply_missing(connection: &mut impl Migrate, steps: Vec<Migration>) -> Result<Vec<Named>, Error> {
    connection.ensure_migrations_table(TABLE).await.map_err(Error::Migrate)?;
    let missing = missing(connection, steps).await.map_err(Error::Migrate)?;
    for migration in &missing {
        connection.apply(TABLE, migration).await.map_err(Error::Migrate)?;
    }
    Ok(named(&missing))
}

/// What is missing in this database. Only reads, so that it works while another process writes.
///
/// # Errors
///
/// [`Error::Migrate`] when an applied migration has changed since; those of the database.
pub async fn pending(db: &Db) -> Result<Vec<Named>, Error> {
    let steps = all(db.dialect());
    let found = match &db.pools {
        Pools::Sqlite { readers, .. } => {
            let mut connection = readers.acquire().await?;
            let _leash = sqlite::Leash::on(&mut connection, db.statement_timeout).await?;
            missing(&mut *connection, steps).await
        }
        Pools::Postgres(servers) => missing(&mut *servers.latest_pool()?.acquire().await?, steps).await,
    };
    match found {
        Ok(missing) => Ok(named(&missing)),
        Err(MigrateError::Execute(error)) if dialect::is_missing_table(&error) => {
            Ok(named(&all(db.dialect())))
        }
        Err(error) => Err(Error::Migrate(error)),
    }
}

/// Those of `steps` that were not applied; fails when one that was is not the same any more.
async fn missing(
    connection: &mut impl Migrate,
    steps: Vec<Migration>,
) -> Result<Vec<Migration>, MigrateError> {
    let applied = connection.list_applied_migrations(TABLE).await?;
    let mut missing = Vec::new();
    for migration in steps {
        match applied.iter().find(|applied| applied.version == migration.version) {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version)),
            None => missing.push(migration),
        }
    }
    Ok(missing)
}

fn all(dialect: Dialect) -> Vec<Migration> {
    let migration = |step: &Step| {
        let sql = match dialect {
            Dialect::Sqlite => step.sqlite,
            Dialect::Postgres => step.postgres,
        };
        // All of them are applied in one transaction, so none has one of its own.
        let has_no_transaction = true;
        let name = step.name.into();
        Migration::new(step.version, name, MigrationType::Simple, sql.into_sql_str(), has_no_transaction)
    };
    ALL.iter().map(migration).collect()
}

/// Every migration, oldest first.
pub fn known() -> Vec<Named> {
    ALL.iter().map(|step| Named { version: step.version, name: step.name.to_owned() }).collect()
}

fn named(migrations: &[Migration]) -> Vec<Named> {
    let named =
        |migration: &Migration| Named { version: migration.version, name: migration.description.to_string() };
    migrations.iter().map(named).collect()
}
