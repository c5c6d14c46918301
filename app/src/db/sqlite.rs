//! Decides how SQLite is opened, WAL, so that readers and one writer do not wait for each other, and what ends a statement.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::time::Instant;

use super::error::is_busy;
use super::{Error, Open};
use crate::config::Database;

/// Prepared statements kept per connection: lists differ by filters, order, fields and number of ids.
const STATEMENTS: usize = 256;

/// Bytes of the file that are read through the page cache of the system instead of copied.
const MMAP_BYTES: &str = "268435456";

/// So many steps of SQLite's machine lie between two looks at whether a statement should go on: well below a millisecond.
const STEPS: i32 = 2000;

/// Ends what a connection does when nobody waits for it any more, or when it takes too long. It holds until the next one
/// for the same connection, so every use of a connection begins with one.
#[derive(Debug)]
pub(super) struct Leash(Arc<AtomicBool>);

impl Leash {
    /// From now on, what `connection` does ends with this value, and after `longest` at the latest; zero is no limit.
    pub(super) async fn on(
        connection: &mut SqliteConnection,
        longest: Duration,
    ) -> Result<Self, sqlx::Error> {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let started = Instant::now();
        let goes_on =
            move || !seen.load(Ordering::Relaxed) && (longest.is_zero() || started.elapsed() < longest);
        connection.lock_handle().await?.set_progress_handler(STEPS, goes_on);
        Ok(Self(is_over))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn connect(
    config: &Database,
    path: &Path,
    open: Open,
) -> Result<(SqlitePool, SqlitePool), Error> {
    match open {
        Open::Existing if !path.is_file() => return Err(Error::Missing(config.location.clone())),
        Open::Existing => {}
        Open::Create => create_folder(path).map_err(|error| cannot_open(config, error))?,
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(open == Open::Create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(config.busy_timeout)
        .statement_cache_capacity(STATEMENTS)
        .pragma("mmap_size", MMAP_BYTES);
    let writer = first_connection(config, &options).await?;
    // A slip in a reader's statement must not be able to write.
    let readers = pool(config, config.max_readers).connect_lazy_with(options.pragma("query_only", "ON"));
    Ok((readers, writer))
}

/// Opens the writer, whose first connection turns WAL on. SQLite does not wait for its own busy timeout while
/// another process does the same, so we do.
async fn first_connection(config: &Database, options: &SqliteConnectOptions) -> Result<SqlitePool, Error> {
    let deadline = Instant::now() + config.busy_timeout;
    loop {
        match pool(config, 1).connect_with(options.clone()).await {
            Ok(pool) => return Ok(pool),
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(cannot_open(config, error)),
        }
    }
}

fn pool(config: &Database, connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        // A local file does not go away between two requests.
        .test_before_acquire(false)
}

fn create_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder),
        _ => Ok(()),
    }
}

fn cannot_open(config: &Database, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Open { location: config.location.clone(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row as _};

    use super::*;

    /// See `.cargo/config.toml`. Without it, each statement that names the moment is planned anew after ANALYZE.
    #[tokio::test]
    async fn plans_do_not_depend_on_the_values_that_are_bound() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let rows = sqlx::query("PRAGMA compile_options").fetch_all(&mut connection).await.unwrap();
        let options: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(options.iter().any(|option| option == "ENABLE_QPSG"), "{options:?}");
    }
}
