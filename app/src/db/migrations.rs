//! Decides which migrations there are and applies the missing ones, all or none.

use sqlx::migrate::{Migrate as _, MigrateError, Migration, MigrationType};
use sqlx::{SqlSafeStr as _, SqliteConnection};

use super::{Db, Error, dialect};

/// Every migration, oldest first: number, name, statements.
const ALL: &[(i64, &str, &str)] = &[(1, "content", include_str!("../../migrations/sqlite/0001_content.sql"))];

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

/// Applies what is missing and says what that was. Nodes that do this at once take turns under the write lock.
///
/// # Errors
///
/// [`Error::Migrate`] when one fails (nothing is applied then), or when one that was applied has changed since.
pub async fn apply(db: &Db) -> Result<Vec<Named>, Error> {
    let mut writer = db.write().await?;
    let connection = writer.connection();
    connection.ensure_migrations_table(TABLE).await.map_err(Error::Migrate)?;
    let missing = missing(connection).await.map_err(Error::Migrate)?;
    for migration in &missing {
        connection.apply(TABLE, migration).await.map_err(Error::Migrate)?;
    }
    writer.commit().await?;
    Ok(named(&missing))
}

/// What is missing in this database. Only reads, so that it works while another process writes.
///
/// # Errors
///
/// [`Error::Migrate`] when an applied migration has changed since; those of the database.
pub async fn pending(db: &Db) -> Result<Vec<Named>, Error> {
    let mut connection = db.readers.acquire().await?;
    match missing(&mut connection).await {
        Ok(missing) => Ok(named(&missing)),
        Err(MigrateError::Execute(error)) if dialect::is_missing_table(&error) => Ok(named(&all())),
        Err(error) => Err(Error::Migrate(error)),
    }
}

/// Those that were not applied; fails when one that was is not the same any more.
async fn missing(connection: &mut SqliteConnection) -> Result<Vec<Migration>, MigrateError> {
    let applied = connection.list_applied_migrations(TABLE).await?;
    let mut missing = Vec::new();
    for migration in all() {
        match applied.iter().find(|applied| applied.version == migration.version) {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version)),
            None => missing.push(migration),
        }
    }
    Ok(missing)
}

fn all() -> Vec<Migration> {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    ALL.iter().map(migration).collect()
}

fn named(migrations: &[Migration]) -> Vec<Named> {
    let named =
        |migration: &Migration| Named { version: migration.version, name: migration.description.to_string() };
    migrations.iter().map(named).collect()
}
