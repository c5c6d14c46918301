//! Decides which migrations there are and applies the missing ones, all or none.

use sqlx::migrate::{Migrate as _, MigrateError, Migration, MigrationType, Migrator};
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
    writer.connection().ensure_migrations_table(TABLE).await.map_err(Error::Migrate)?;
    let missing = missing(&applied(writer.connection()).await.map_err(Error::Migrate)?);
    migrator().run(writer.connection()).await.map_err(Error::Migrate)?;
    writer.commit().await?;
    Ok(missing)
}

/// What is missing in this database. Only reads, so that it works while another process writes.
///
/// # Errors
///
/// See [`Error`].
pub async fn pending(db: &Db) -> Result<Vec<Named>, Error> {
    let mut connection = db.readers.acquire().await?;
    match applied(&mut connection).await {
        Ok(applied) => Ok(missing(&applied)),
        Err(MigrateError::Execute(error)) if dialect::is_missing_table(&error) => Ok(missing(&[])),
        Err(error) => Err(Error::Migrate(error)),
    }
}

async fn applied(connection: &mut SqliteConnection) -> Result<Vec<i64>, MigrateError> {
    let applied = connection.list_applied_migrations(TABLE).await?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}

fn missing(applied: &[i64]) -> Vec<Named> {
    let is_missing = |version: &i64| !applied.contains(version);
    ALL.iter()
        .filter(|(version, ..)| is_missing(version))
        .map(|(version, name, _)| Named { version: *version, name: (*name).to_owned() })
        .collect()
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(ALL.iter().map(migration).collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}
