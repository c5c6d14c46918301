//! Decides how a test asks a database directly, beside the processes under test, whichever kind it is.

use std::process::{Command, Stdio};

/// Reads the first column of a statement over SQLite and prints it, a row per line.
const SQLITE: &str = "import sqlite3, sys\n\
    connection = sqlite3.connect(sys.argv[1], timeout=30)\n\
    rows = connection.execute(sys.argv[2]).fetchall()\n\
    connection.commit()\n\
    print('\\n'.join(str(row[0]) for row in rows))";

/// Carries out one statement in the database of a `database.url` and hands out the first column of what it finds.
///
/// # Panics
///
/// When the statement fails.
#[track_caller]
pub fn column(url: &str, sql: &str) -> Vec<String> {
    let mut command = if let Some(path) = url.strip_prefix("sqlite:") {
        let mut command = Command::new("python3");
        command.args(["-c", SQLITE, path, sql]);
        command
    } else {
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        command.args(["--dbname", url, "--command", sql]);
        command
    };
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The number that a statement finds.
///
/// # Panics
///
/// When it finds no number.
#[track_caller]
pub fn number(url: &str, sql: &str) -> i64 {
    let found = column(url, sql);
    found.first().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{sql}: {found:?}"))
}
