//! Decides what kind of failure a database error is.

use crate::config::Location;

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no database at this place.
    #[error("there is no database at {0}: {how_to_create}", how_to_create = how_to_create(.0))]
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
    /// A statement took longer than `statement_timeout`.
    #[error("the database gave up a statement that took too long")]
    TooSlow(#[source] sqlx::Error),
    /// It would have broken a rule of the schema: two of what there may be one of, or a reference to nothing.
    #[error("the database refused a change that breaks {0}")]
    Refused(Rule, #[source] sqlx::Error),
    /// None of the servers takes writes.
    #[error("no database server takes writes: see database.url and database.successors, and `/api/health`")]
    NoPrimary,
    /// The server does not take writes any more.
    #[error("the database server does not take writes any more")]
    ReadOnly(#[source] sqlx::Error),
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

/// A rule of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// There is one of these already.
    Unique,
    /// What is referred to is not there.
    Reference,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unique => "a rule of uniqueness",
            Self::Reference => "a reference",
        })
    }
}

fn how_to_create(location: &Location) -> &'static str {
    match location {
        Location::Sqlite(_) => "run `cirque app migrate` to create it",
        Location::Postgres(_) => "create it with PostgreSQL's `createdb`, then run `cirque app migrate`",
    }
}

/// What a code of the database means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Busy,
    TooSlow,
    Saturated,
    Unreachable,
    ReadOnly,
    Other,
}

/// SQLite's codes are numbers, whose low byte is the primary one. PostgreSQL's are five letters and digits, and
/// those without a letter are numbers as well: but no such SQLSTATE below is taken for a busy SQLite.
fn meaning(code: &str) -> Meaning {
    match code {
        // lock_not_available, deadlock_detected, serialization_failure.
        "55P03" | "40P01" | "40001" => Meaning::Busy,
        // query_canceled, idle_in_transaction_session_timeout.
        "57014" | "25P03" => Meaning::TooSlow,
        // read_only_sql_transaction.
        "25006" => Meaning::ReadOnly,
        // too_many_connections.
        "53300" => Meaning::Saturated,
        // admin_shutdown, crash_shutdown, cannot_connect_now; connection exceptions.
        "57P01" | "57P02" | "57P03" => Meaning::Unreachable,
        code if code.len() == 5 && code.starts_with("08") => Meaning::Unreachable,
        code => match code.parse::<i64>() {
            // SQLITE_BUSY and SQLITE_LOCKED: someone else holds the lock.
            Ok(number) if code.len() < 5 && matches!(number & 0xff, 5 | 6) => Meaning::Busy,
            // SQLITE_INTERRUPT: it was told to give up.
            Ok(number) if code.len() < 5 && number & 0xff == 9 => Meaning::TooSlow,
            Ok(_) | Err(_) => Meaning::Other,
        },
    }
}

fn meaning_of(error: &sqlx::Error) -> Meaning {
    let code = error.as_database_error().and_then(|error| error.code());
    code.map_or(Meaning::Other, |code| meaning(&code))
}

/// Whether the error says that someone else holds the lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    meaning_of(error) == Meaning::Busy
}

/// Whether a server says that it does not have such a database.
pub(super) fn is_missing_database(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("3D000"))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind::{ForeignKeyViolation, UniqueViolation};
        match &error {
            sqlx::Error::PoolTimedOut => return Self::Saturated,
            sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => return Self::Unreachable(error),
            _ => {}
        }
        match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
            Some(UniqueViolation) => return Self::Refused(Rule::Unique, error),
            Some(ForeignKeyViolation) => return Self::Refused(Rule::Reference, error),
            _ => {}
        }
        match meaning_of(&error) {
            Meaning::Busy => Self::Busy(error),
            Meaning::TooSlow => Self::TooSlow(error),
            Meaning::Saturated => Self::Saturated,
            Meaning::Unreachable => Self::Unreachable(error),
            Meaning::ReadOnly => Self::ReadOnly(error),
            Meaning::Other => Self::Statement(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_meaning_in_each_database() {
        for (code, expected) in [
            ("5", Meaning::Busy),
            ("517", Meaning::Busy),
            ("1", Meaning::Other),
            ("55P03", Meaning::Busy),
            ("57014", Meaning::TooSlow),
            ("9", Meaning::TooSlow),
            ("25006", Meaning::ReadOnly),
            ("08006", Meaning::Unreachable),
            ("22021", Meaning::Other),
            ("23505", Meaning::Other),
        ] {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }
}
