//! Decides what kind of failure a database error is.

use crate::config::Location;

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no database at this place.
    #[error("there is no database at {0}: run `cirque app migrate` to create it")]
    Missing(Location),
    /// It could not be opened or created.
    #[error("could not open database {location}")]
    Open {
        /// Which one.
        location: Location,
        /// What stood in the way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection became free in time.
    #[error("no database connection became free in time")]
    Saturated,
    /// Another writer kept the lock for longer than we wait.
    #[error("the database was locked by another writer for too long")]
    Busy(#[source] sqlx::Error),
    /// It cannot be reached any more.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// It refused the statement, or answered what we cannot read.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("could not migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// SQLite's primary result codes for "someone else holds the lock".
const SQLITE_BUSY: i64 = 5;
const SQLITE_LOCKED: i64 = 6;

/// Whether the error says that another process holds the lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<i64>().ok());
    // Extended codes keep the primary one in their low byte.
    matches!(code.map(|code| code & 0xff), Some(SQLITE_BUSY | SQLITE_LOCKED))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Saturated,
            sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Self::Unreachable(error)
            }
            error if is_busy(&error) => Self::Busy(error),
            error => Self::Statement(error),
        }
    }
}
