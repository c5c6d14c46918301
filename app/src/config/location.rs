//! Decides which addresses name a database, and how they are shown: never with a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;

/// Which database, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// One file, shared by the nodes of one machine.
    Sqlite(PathBuf),
    /// A PostgreSQL server, shared by the nodes of many machines.
    Postgres(PostgresUrl),
}

/// The address of a PostgreSQL database, with its password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: String,
    host: String,
    shown: String,
}

/// Why a database address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// Not one of the databases this version speaks to.
    #[error("must start with `sqlite:` or `postgres://`")]
    UnknownScheme,
    /// `sqlite:` and nothing behind it.
    #[error("must name a file, like `sqlite:var/app.db`")]
    NoFile,
    /// The nodes of a site could not share it.
    #[error("must be a file: a database in memory cannot be shared between nodes")]
    InMemory,
    /// Something else where only a server makes sense.
    #[error("must be the address of a PostgreSQL server, like `postgres://user@db2.example.com/cirque`")]
    NoServer,
    /// Options are keys of the file, not of the address.
    #[error("must not have options behind `?`")]
    Options,
    /// A server without a database.
    #[error("must name a database, like `postgres://user@db.example.com/cirque`")]
    NoDatabase,
    /// Not an address.
    #[error("must be an address like `postgres://user@db.example.com:5432/cirque?sslmode=verify-full`")]
    Malformed,
    /// An option that would be ignored.
    #[error("must not have other options than {known} behind `?`", known = POSTGRES_OPTIONS.join(", "))]
    PostgresOption,
}

/// What may stand behind `?` in the address of a PostgreSQL database; the meanings are libpq's.
const POSTGRES_OPTIONS: [&str; 6] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name"];

impl Location {
    /// Reads `sqlite:PATH` (also `sqlite://PATH`) or `postgres://[USER[:PASSWORD]@]HOST[:PORT]/NAME[?OPTIONS]`.
    ///
    /// # Errors
    ///
    /// [`BadLocation`] says what is wrong with the address.
    pub fn parse(url: &str) -> Result<Self, BadLocation> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return PostgresUrl::parse(url).map(Self::Postgres);
        }
        let path = url.strip_prefix("sqlite:").ok_or(BadLocation::UnknownScheme)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        match path {
            "" | "/" => Err(BadLocation::NoFile),
            path if path.contains(":memory:") => Err(BadLocation::InMemory),
            path if path.contains('?') => Err(BadLocation::Options),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl PostgresUrl {
    /// Reads `postgres://…`, as [`Location::parse`].
    ///
    /// # Errors
    ///
    /// [`BadLocation`] says what is wrong with the address.
    pub fn parse(url: &str) -> Result<Self, BadLocation> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(BadLocation::NoServer);
        }
        let options = url.split_once('?').map_or("", |(_, options)| options);
        let names = options.split('&').filter(|pair| !pair.is_empty());
        let names = names.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        if names.into_iter().any(|name| !POSTGRES_OPTIONS.contains(&name)) {
            return Err(BadLocation::PostgresOption);
        }
        let parsed = PgConnectOptions::from_str(url).map_err(|_| BadLocation::Malformed)?;
        let name = parsed.get_database().filter(|name| !name.is_empty()).ok_or(BadLocation::NoDatabase)?;
        let host = match parsed.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", parsed.get_host(), parsed.get_port()),
        };
        let shown = format!("postgres://{}@{host}/{name}", parsed.get_username());
        Ok(Self { url: url.to_owned(), host, shown })
    }

    /// `host:port`, or the folder of a socket: what tells servers apart in logs and metrics.
    pub(crate) fn host(&self) -> String {
        self.host.clone()
    }

    /// What the driver needs to connect; holds the password.
    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.url).expect("the address was read before")
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&url.shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_database_is_a_file() {
        for (url, expected) in [
            ("sqlite:var/x.db", Ok("var/x.db")),
            ("sqlite:///tmp/x.db", Ok("/tmp/x.db")),
            ("sqlite::memory:", Err(BadLocation::InMemory)),
            ("sqlite:", Err(BadLocation::NoFile)),
            ("sqlite:x.db?mode=ro", Err(BadLocation::Options)),
            ("mysql://x", Err(BadLocation::UnknownScheme)),
        ] {
            assert_eq!(Location::parse(url), expected.map(|path| Location::Sqlite(path.into())), "{url}");
        }
    }

    #[test]
    fn a_server_is_shown_without_its_password() {
        let url = "postgres://ada:s3cret@db.example.com:6432/site?sslmode=verify-full";
        let location = Location::parse(url).unwrap();
        assert_eq!(location.to_string(), "postgres://ada@db.example.com:6432/site");
        assert_eq!(format!("{location:?}"), "Postgres(postgres://ada@db.example.com:6432/site)");
    }

    #[test]
    fn an_option_that_would_be_ignored_is_refused() {
        for (url, expected) in [
            ("postgres://ada@x/site?sslmod=require", BadLocation::PostgresOption),
            ("postgres://ada@x:port/site", BadLocation::Malformed),
            ("postgres://ada@x/site?sslmode=perhaps", BadLocation::Malformed),
        ] {
            assert_eq!(Location::parse(url), Err(expected), "{url}");
        }
    }
}
