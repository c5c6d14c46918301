//! Decides how a row is read: by position, in the order in which its columns were asked for.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::Error;

/// One row of an answer.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

impl Row {
    /// Reads the row from its first column on.
    pub fn cells(&self) -> Cells<'_> {
        Cells { row: self, next: 0 }
    }
}

/// A value that every database can hand out: `i64`, `String`, `bool`, `Vec<u8>`, and options of these.
pub trait Cell<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T> Cell<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

/// Hands out the values of a row one after the other.
#[derive(Debug)]
pub struct Cells<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Cells<'r> {
    /// The next value.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`] when there is none left or it is of another type.
    pub fn take<T: Cell<'r>>(&mut self) -> Result<T, Error> {
        let index = self.next;
        self.next += 1;
        match self.row {
            Row::Sqlite(row) => Ok(row.try_get(index)?),
            Row::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}
